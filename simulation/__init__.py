"""The rules of pm_agent in virtual time: what-if questions, and promises under faults.

The rules are the very ones that serve real agents; only the clock and the agents differ. Never
imports Ray.

Examples
--------
>>> from simulation import Scenario, compare, run
>>> round(run(Scenario.read("mm1"), seed=7).figures.utilisation, 1)
0.7
"""

from simulation.comparison import compare
from simulation.experiment import Result, run
from simulation.scenario import Scenario

__all__ = ["Result", "Scenario", "compare", "run"]
