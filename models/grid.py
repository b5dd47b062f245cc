"""What an assignment model reads: facts of a decision, placed on a coarse grid.

The same functions serve training and scoring, so what was learned is what is asked.
"""

from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Which facts a decision record holds, by the version of the scorer that wrote it. A version's names
# never change; a new scorer gets a new line.
_FACTS_1 = (
    "skill_use",
    "skill_margin",
    "agent_level",
    "success",
    "load",
    "age_h",
    "n_unblocks",
    "critical_path_h",
    "n_dependencies",
    "priority",
    "level",
    "failures",
)
# What a forecasting scorer gets beside them; for other decisions `models.dataset` works them out.
MORE_FACTS = (
    "estimate_min",
    "kind_outcomes",
    "agent_success",
    "agent_outcomes",
    "agent_pace_min",
    "rarity",
)
FORECAST_FACTS = (*_FACTS_1, *MORE_FACTS)
FAILED_FACTS = ("failed_success", "failed_outcomes")  # read by the score, and by no model
FACT_NAMES: dict[str, tuple[str, ...]] = {
    "priority-1": _FACTS_1,
    "factors-1": _FACTS_1,
    # The full version of a learned one goes on after a dot with that of the model.
    "learned-1": FORECAST_FACTS,
    "learned-2": (*FORECAST_FACTS, *FAILED_FACTS),
}
_F = {name: i for i, name in enumerate(FORECAST_FACTS)}


_SUCCESS, _AGENT_SUCCESS, _PACE = _F["success"], _F["agent_success"], _F["agent_pace_min"]
_KIND_N, _AGENT_N = _F["kind_outcomes"], _F["agent_outcomes"]
_COUNTED = [_F["estimate_min"], _F["n_dependencies"]]
_FITS = [_F["skill_use"], _F["skill_margin"], _F["agent_level"]]
_TASK = [_F["level"], _F["failures"]]


class Prior(NamedTuple):
    """What is believed of an agent that nobody knows: what held for all agents together."""

    success: float  # share of accepted attempts
    pace_min: float  # time of an accepted one, geometric mean


class Step(NamedTuple):
    """A column's grid: its values are whole multiples of ``size``, between two of them."""

    size: float
    low: int
    high: int


# What the assignment model reads. Coarse on purpose: a forecast that differs by less than a step
# says nothing, and agents and tasks that look alike share one, so that it is computed once.
GRID: dict[str, Step] = {
    "ability": Step(0.5, -14, 14),  # log2 of the odds that an attempt of the agent is accepted
    "pace": Step(0.5, -8, 24),  # log2 of its minutes for one
    "skill_use": Step(0.25, 0, 4),
    "skill_margin": Step(0.25, 0, 4),
    "agent_level": Step(1.0, 0, 5),
    "estimate": Step(0.5, 0, 28),  # log2 of 1 + the minutes it was said to take
    "level": Step(1.0, 0, 5),
    "failures": Step(1.0, 0, 5),
    "dependencies": Step(1.0, 0, 5),  # log2 of 1 + accepted ones
}
N_OF_AGENT = 5  # the leading columns, which follow from agent and required skills
ABILITY, PACE = 0, 1  # the columns that tell one agent from another of the same skills
_SIZES = np.array([step.size for step in GRID.values()])
_LOWS = np.array([step.low for step in GRID.values()])
_HIGHS = np.array([step.high for step in GRID.values()])
_PER_STEP = (1 / _SIZES).astype(np.float32)[:, None]
_RADIX = np.concatenate([[1], np.cumprod(_HIGHS - _LOWS + 1)[:-1]])
# Outcomes that the wider group counts for: an agent is taken for the mean of all until it has shown
# as many, and its record at one kind of work for its record at all kinds.
AGENT_PRIOR, KIND_PRIOR = 4.0, 8.0


def grid_codes(facts: NDArray[np.float32], prior: Prior) -> NDArray[np.int64]:
    """Place of each candidate on the grid: the same function in training and in scoring.

    Parameters
    ----------
    facts : array, shape (n_candidates, n_facts)
        Columns as in `FORECAST_FACTS`.
    prior : Prior

    Returns
    -------
    array, shape (n_candidates, n_columns)
        Columns as in `GRID`, in steps.
    """
    if facts.ndim != 2 or facts.shape[1] != len(FORECAST_FACTS):  # noqa: PLR2004 - rows and columns
        raise ValueError(f"Facts of shape {facts.shape} do not fit {len(FORECAST_FACTS)} names.")
    # What means nothing must not stop a decision: `fmax` takes NaN for 0.
    column = np.fmin(np.fmax(facts.T, 0.0), 1e6)  # (n_facts, n_candidates)
    agent_n, kind_n = column[_AGENT_N], column[_KIND_N]
    # Laplace's rule undone: what the smoothed shares were computed from.
    accepted = column[_AGENT_SUCCESS] * (agent_n + 2) - 1
    share = (accepted + AGENT_PRIOR * prior.success) / (agent_n + AGENT_PRIOR)
    share *= KIND_PRIOR
    share += column[_SUCCESS] * (kind_n + 2) - 1
    share /= kind_n + KIND_PRIOR
    share = np.fmin(np.fmax(share, 0.01), 0.99)
    logs = np.empty((4, len(facts)), dtype=np.float32)
    logs[0] = share / (1 - share)
    logs[1] = np.fmax(column[_PACE], 0.01)
    logs[2:] = column[_COUNTED] + 1
    np.log2(logs, out=logs)
    known = np.fmax(accepted, 0)  # but for rounding
    logs[1] = (known * logs[1] + AGENT_PRIOR * log2(prior.pace_min)) / (known + AGENT_PRIOR)
    values = np.concatenate([logs[:2], column[_FITS], logs[2:3], column[_TASK], logs[3:]])
    values *= _PER_STEP
    np.rint(values, out=values)
    return np.asarray(np.minimum(np.maximum(values.T, _LOWS), _HIGHS), dtype=np.int64)


def typical_codes(codes: NDArray[np.int64], prior: Prior) -> NDArray[np.int64]:
    """The same candidates with an agent of which nothing is known but its skills."""
    typical = codes.copy()
    typical[:, ABILITY] = round(log2(prior.success / (1 - prior.success)) / _SIZES[ABILITY])
    typical[:, PACE] = round(log2(prior.pace_min) / _SIZES[PACE])
    return np.asarray(np.clip(typical, _LOWS, _HIGHS))


def likely_codes(sample: NDArray[np.float64], n_agents: int, n_tasks: int) -> NDArray[np.int64]:
    """Places that decisions will ask for: the commonest agents of a sample at its commonest tasks.

    Parameters
    ----------
    sample : array, shape (n_rows, n_columns)
        As from `grid_values`.

    Returns
    -------
    array, shape (at most n_agents x n_tasks, n_columns)
    """
    codes = np.rint(sample / _SIZES).astype(np.int64)
    agents = _commonest(codes[:, :N_OF_AGENT], n_agents)
    tasks = _commonest(codes[:, N_OF_AGENT:], n_tasks)
    return np.hstack([np.repeat(agents, len(tasks), axis=0), np.tile(tasks, (len(agents), 1))])


def _commonest(rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return np.asarray(found[(-counts).argsort(kind="stable")[:n]])


def grid_keys(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each place on the grid, (n_candidates,)."""
    return np.asarray((codes - _LOWS) @ _RADIX)


def grid_values(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Columns that the model reads, (n_candidates, n_columns)."""
    return np.asarray(codes * _SIZES)
