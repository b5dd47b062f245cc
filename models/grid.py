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
    "team_success",
    "team_outcomes",
    "team_pace_min",
)
FORECAST_FACTS = (*_FACTS_1, *MORE_FACTS)
_BEFORE_TEAM = FORECAST_FACTS[:-3]
FAILED_FACTS = ("failed_success", "failed_outcomes")  # read by the score, and by no model
FACT_NAMES: dict[str, tuple[str, ...]] = {
    "priority-1": _FACTS_1,
    "factors-1": _FACTS_1,
    # The full version of a learned one goes on after a dot with that of the model.
    "learned-1": _BEFORE_TEAM,
    "learned-2": (*_BEFORE_TEAM, *FAILED_FACTS),
    "learned-3": (*FORECAST_FACTS, *FAILED_FACTS),
}
_F = {name: i for i, name in enumerate(FORECAST_FACTS)}


_SUCCESS, _KIND_N = _F["success"], _F["kind_outcomes"]


def _both(name: str) -> slice:
    """Two columns, of the agent and of the team."""
    of_agent, of_team = _F[f"agent_{name}"], _F[f"team_{name}"]
    return slice(of_agent, of_team + 1, of_team - of_agent)


_SUCCESSES, _KNOWN, _PACES = _both("success"), _both("outcomes"), _both("pace_min")
_COUNTED = slice(
    _F["n_dependencies"],
    _F["estimate_min"] + 1,
    _F["estimate_min"] - _F["n_dependencies"],
)
_FITS = slice(_F["skill_use"], _F["agent_level"] + 1)
_TASK = slice(_F["level"], _F["failures"] + 1)

Codes = NDArray[np.float32]  # (n_candidates, n_columns) of whole steps


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
    "kind_ease": Step(1.0, -7, 7),  # log2 of the odds that anybody's is accepted at this kind
    "kind_pace": Step(1.0, -4, 12),  # log2 of their minutes for one
}
N_OF_AGENT = 5  # the leading columns, which follow from agent and required skills
ABILITY, PACE = 0, 1  # the columns that tell one agent from another of the same skills
EASE = list(GRID).index("kind_ease")
_SIZES = np.array([step.size for step in GRID.values()])
_LOWS = np.array([step.low for step in GRID.values()])
_HIGHS = np.array([step.high for step in GRID.values()])
_PER_STEP = (1 / _SIZES).astype(np.float32)[:, None]
_LOWS_32, _HIGHS_32 = (ends.astype(np.float32)[:, None] for ends in (_LOWS, _HIGHS))
_RADIX = np.concatenate([[1.0], np.cumprod(_HIGHS - _LOWS + 1)[:-1]])  # all below 2**53
# Outcomes that the wider group counts for: an agent is taken for the mean of all until it has shown
# as many, and its record at one kind of work for its record at all kinds.
AGENT_PRIOR, KIND_PRIOR = 4.0, 8.0
_PRIORS = np.array([[AGENT_PRIOR], [KIND_PRIOR]], dtype=np.float32)


def grid_codes(facts: NDArray[np.float32], prior: Prior) -> Codes:
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
    # What means nothing must not stop a decision: it becomes NaN, and then the least step.
    with np.errstate(all="ignore"):
        return _codes(np.ascontiguousarray(facts.T), prior)


def _codes(column: NDArray[np.float32], prior: Prior) -> Codes:
    # Of the agent at all kinds, and of the team at this one, (2, n_candidates).
    known, success, pace = column[_KNOWN], column[_SUCCESSES], column[_PACES]
    # Laplace's rule undone: what the smoothed shares were computed from.
    accepted = success * (known + 2) - 1
    odds = _odds((accepted + _PRIORS * prior.success) / (known + _PRIORS))
    # At a kind the agent is taken for as much better than the team as it is in all its work.
    expected = odds[0] * odds[1] * ((1 - prior.success) / prior.success)
    kind_n = column[_KIND_N]
    at_kind = column[_SUCCESS] * (kind_n + 2) - 1
    logs = np.empty((6, column.shape[1]), dtype=np.float32)
    logs[0] = _odds((KIND_PRIOR * expected / (1 + expected) + at_kind) / (kind_n + KIND_PRIOR))
    logs[1:3] = np.maximum(pace, 0.01)
    logs[3:5] = column[_COUNTED]
    logs[3:5] += 1
    logs[5] = odds[1]
    np.log2(logs, out=logs)
    shown = np.maximum(accepted, 0)  # but for rounding
    paces = (shown * logs[1:3] + AGENT_PRIOR * log2(prior.pace_min)) / (shown + AGENT_PRIOR)
    parts = logs[:1], paces[:1], column[_FITS], logs[4:5], column[_TASK], logs[3:6:2], paces[1:]
    values = np.concatenate(parts)
    values *= _PER_STEP
    np.rint(values, out=values)
    np.fmax(values, _LOWS_32, out=values)  # NaN counts as the other one
    np.fmin(values, _HIGHS_32, out=values)
    return values.T


def _odds(share: NDArray[np.float32]) -> NDArray[np.float32]:
    share = np.minimum(np.maximum(share, 0.01), 0.99)
    return share / (1 - share)


def typical_codes(codes: Codes, prior: Prior) -> Codes:
    """The same candidates with an agent of which nothing is known but its skills."""
    typical = codes.copy()
    typical[:, ABILITY] = codes[:, EASE] * (_SIZES[EASE] / _SIZES[ABILITY])
    typical[:, PACE] = round(log2(prior.pace_min) / _SIZES[PACE])
    return np.asarray(np.clip(typical, _LOWS, _HIGHS), dtype=np.float32)


def likely_codes(sample: NDArray[np.float64], n_agents: int, n_tasks: int) -> Codes:
    """Places that decisions will ask for: the commonest agents of a sample at its commonest tasks.

    Parameters
    ----------
    sample : array, shape (n_rows, n_columns)
        As from `grid_values`.

    Returns
    -------
    array, shape (at most n_agents x n_tasks, n_columns)
    """
    codes = np.rint(sample / _SIZES).astype(np.float32)
    agents = _commonest(codes[:, :N_OF_AGENT], n_agents)
    tasks = _commonest(codes[:, N_OF_AGENT:], n_tasks)
    return np.hstack([np.repeat(agents, len(tasks), axis=0), np.tile(tasks, (len(agents), 1))])


def _commonest(rows: Codes, n: int) -> Codes:
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return np.asarray(found[(-counts).argsort(kind="stable")[:n]])


def grid_keys(codes: Codes) -> NDArray[np.float64]:
    """One whole number for each place on the grid, (n_candidates,)."""
    return np.asarray(codes @ _RADIX)


def grid_values(codes: Codes) -> NDArray[np.float64]:
    """Columns that the model reads, (n_candidates, n_columns)."""
    return np.asarray(codes * _SIZES)
