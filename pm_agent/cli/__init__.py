"""The command line: ``pm-agent up | demo | status | tasks | agents | why | verify | …``.

The composition root: above every package, so the only place in ``pm_agent`` that may import
``actors``. Ray is imported only by the commands that need it.
"""

from pm_agent.cli.main import main

__all__ = ["main"]
