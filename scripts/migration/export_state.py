"""Export the workspace that the environment names: ``pm-agent export`` for a migration plan.

    python scripts/migration/export_state.py state.jsonl

Run it again with the same name after an interruption. See README.md, "On PostgreSQL".
"""

import typer

from pm_agent.cli.transfer import export

if __name__ == "__main__":
    typer.run(export)
