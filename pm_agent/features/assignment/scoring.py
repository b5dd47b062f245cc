"""Two scorers behind one port: plain priority, and weighted factors that explain themselves.

Both are pure arithmetic over the facts matrix, so a stored record can be scored again later.
"""

import numpy as np
from numpy.typing import NDArray

from pm_agent.features.assignment.facts import FACTS
from pm_agent.ports import Scorer, Scores

_F = {name: i for i, name in enumerate(FACTS)}


class PriorityScorer:
    """The plain baseline: priority first, then age. One priority class is worth four hours."""

    policy = "priority"
    version = "priority-1"
    factor_names = ("priority", "age_h")
    weights = (4.0, 1.0)

    def score(self, facts: NDArray[np.float32]) -> Scores:
        factors = facts[:, [_F["priority"], _F["age_h"]]]
        return Scores(_weighted(factors, self.weights), factors)


class FactorsScorer:
    """Six factors between 0 and 1 and their weighted sum.

    Weights are judgement, to be replaced by learned ones: fit of agent and task counts half, the
    state of the board the other half.
    """

    policy = "factors"
    version = "factors-1"
    factor_names = (
        "skill_match",
        "workload",
        "past_performance",
        "dependencies",
        "urgency",
        "complexity",
    )
    weights = (0.22, 0.08, 0.15, 0.20, 0.25, 0.10)

    def score(self, facts: NDArray[np.float32]) -> Scores:
        f = facts.T  # (n_facts, n_tasks)
        factors = np.empty((len(facts), len(self.factor_names)), dtype=np.float32)
        # A specialist should do what only a specialist can; a large margin is a waste of level.
        factors[:, 0] = 0.6 * f[_F["skill_use"]] + 0.4 * (1.0 - f[_F["skill_margin"]])
        factors[:, 1] = 1.0 / (1.0 + f[_F["load"]])
        factors[:, 2] = f[_F["success"]]
        # Results it can build on, tasks that wait for it, and the length of the chain behind it.
        factors[:, 3] = (
            0.2 * _saturating(f[_F["n_dependencies"]], 2.0)
            + 0.4 * _saturating(f[_F["n_unblocks"]], 3.0)
            + 0.4 * _saturating(f[_F["critical_path_h"]], 8.0)
        )
        # Ageing is linear and unbounded in rank; here it saturates over a day.
        factors[:, 4] = f[_F["priority"]] / 3.0 * 0.7 + 0.3 * _saturating(f[_F["age_h"]], 24.0)
        factors[:, 5] = 1.0 - np.abs(f[_F["level"]] - f[_F["agent_level"]]) / 4.0
        return Scores(_weighted(factors, self.weights), factors)


SCORERS: dict[str, type[PriorityScorer] | type[FactorsScorer]] = {
    "priority": PriorityScorer,
    "factors": FactorsScorer,
}


def scorer_for(version: str) -> Scorer | None:
    """Rule-based scorer that made a record, by its version; None for a learned or unknown one."""
    return next((kind() for kind in SCORERS.values() if kind.version == version), None)


def _saturating(values: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """From 0 towards 1; at ``scale`` it is one half."""
    return values / (values + np.float32(scale))


def _weighted(factors: NDArray[np.float32], weights: tuple[float, ...]) -> NDArray[np.float32]:
    return factors @ np.array(weights, dtype=np.float32)
