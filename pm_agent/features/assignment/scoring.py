"""Two scorers behind one port: plain priority, and weighted factors that explain themselves.

Both are pure arithmetic over the facts matrix, so a stored record can be scored again later. Each
factor is a weighted sum of shaped facts, so a whole shortlist takes one small matrix product.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pm_agent.features.assignment.facts import FACTS
from pm_agent.ports import Scorer, Scores

_F = {name: i for i, name in enumerate(FACTS)}

# Facts without an upper bound, and the value at which each counts one half: x / (x + scale).
SATURATING = {
    "load": 1.0,
    "age_h": 24.0,  # ageing is linear and unbounded in rank; here it saturates over a day
    "n_unblocks": 3.0,
    "critical_path_h": 8.0,
    "n_dependencies": 2.0,
}
_LEVEL, _AGENT_LEVEL = _F["level"], _F["agent_level"]
# Equal rows for as many tasks as a shortlist has: one row that is repeated costs several times as
# much, since so little is computed for each.
_N_ROWS = 128


def _rows(row: list[float]) -> NDArray[np.float32]:
    return np.tile(np.array(row, dtype=np.float32), (_N_ROWS, 1))


# Every fact is divided by ``saturates * fact + scale``: those that do not saturate by 1.
_SATURATES = _rows([float(name in SATURATING) for name in FACTS])
_SCALES = _rows([SATURATING.get(name, 1.0) for name in FACTS])


class PriorityScorer:
    """The plain baseline: priority first, then age. One priority class is worth four hours."""

    policy = "priority"
    version = "priority-1"
    fact_names: tuple[str, ...] = FACTS
    factor_names: tuple[str, ...] = ("priority", "age_h")
    weights: tuple[float, ...] = (4.0, 1.0)
    compares_agents = False
    sees_shortest = False
    shadow: Scorer | None = None

    def score(self, facts: NDArray[np.float32]) -> Scores:
        factors = facts[:, [_F["priority"], _F["age_h"]]]
        return Scores(factors.dot(_PRIORITY_WEIGHTS), factors)


class FactorsScorer:
    """Six factors between 0 and 1 and their weighted sum.

    Weights are judgement, to be replaced by learned ones: fit of agent and task counts half, the
    state of the board the other half.
    """

    policy = "factors"
    version = "factors-1"
    fact_names: tuple[str, ...] = FACTS
    factor_names: tuple[str, ...] = (
        "skill_match",
        "workload",
        "past_performance",
        "dependencies",
        "urgency",
        "complexity",
    )
    weights: tuple[float, ...] = (0.22, 0.08, 0.15, 0.20, 0.25, 0.10)
    compares_agents = False
    sees_shortest = False
    shadow: Scorer | None = None

    # What each factor is made of: a constant, and shares of the facts. Of the saturating facts the
    # saturated value counts, of "level" its distance to the agent's level.
    recipes: ClassVar[dict[str, tuple[float, dict[str, float]]]] = {
        # A specialist should do what only a specialist can; a large margin is a waste of level.
        "skill_match": (0.4, {"skill_use": 0.6, "skill_margin": -0.4}),
        "workload": (1.0, {"load": -1.0}),
        "past_performance": (0.0, {"success": 1.0}),
        # Results it can build on, tasks that wait for it, and the length of the chain behind it.
        "dependencies": (
            0.0,
            {"n_dependencies": 0.2, "n_unblocks": 0.4, "critical_path_h": 0.4},
        ),
        "urgency": (0.0, {"priority": 0.7 / 3, "age_h": 0.3}),
        "complexity": (1.0, {"level": -1 / 4}),
    }

    def score(self, facts: NDArray[np.float32]) -> Scores:
        n = len(facts)
        divisors = facts * _spread(_SATURATES, n)  # (n_tasks, n_facts)
        divisors += _spread(_SCALES, n)
        shaped = facts / divisors
        level = facts[:, _LEVEL] - facts[:, _AGENT_LEVEL]
        shaped[:, _LEVEL] = np.abs(level, out=level)
        factors = shaped.dot(_SHARES)  # (n_tasks, n_factors)
        factors += _spread(_CONSTANTS, n)
        return Scores(factors.dot(_WEIGHTS), factors)


def _spread(rows: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Rows for so many tasks; for very many one row, which arithmetic repeats by itself."""
    return rows[:n] if n <= len(rows) else rows[0]


# All in the width of the facts, else every product would first widen the whole matrix.
_PRIORITY_WEIGHTS = np.array(PriorityScorer.weights, dtype=np.float32)
_WEIGHTS = np.array(FactorsScorer.weights, dtype=np.float32)
_RECIPES = [FactorsScorer.recipes[name] for name in FactorsScorer.factor_names]
_CONSTANTS = _rows([constant for constant, _ in _RECIPES])
_SHARES = np.array(
    [[shares.get(f, 0.0) for _, shares in _RECIPES] for f in FACTS], dtype=np.float32
)

SCORERS: dict[str, type[PriorityScorer] | type[FactorsScorer]] = {
    "priority": PriorityScorer,
    "factors": FactorsScorer,
}


def scorer_for(version: str) -> Scorer | None:
    """Rule-based scorer that made a record, by its version; None for a learned or unknown one."""
    return next((kind() for kind in SCORERS.values() if kind.version == version), None)
