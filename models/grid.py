"""What an assignment model reads: facts of a decision, placed on a coarse grid.

The same functions serve training and scoring, so what was learned is what is asked.
"""

from functools import lru_cache
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
    "skill_use": Step(0.25, 0, 4),
    "skill_margin": Step(0.25, 0, 4),
    "agent_level": Step(1.0, 0, 5),
    "pace": Step(0.5, -8, 24),  # log2 of the agent's minutes for an attempt that is accepted
    "kind_pace": Step(1.0, -4, 12),  # the same of all agents at this kind
    "ability": Step(0.5, -14, 14),  # log2 of the odds that an attempt of the agent is accepted
    "kind_ease": Step(1.0, -7, 7),  # the same of all agents at this kind
    "dependencies": Step(1.0, 0, 5),  # log2 of 1 + accepted ones
    "estimate": Step(0.5, 0, 28),  # log2 of 1 + the minutes it was said to take
    "level": Step(1.0, 0, 5),
    "failures": Step(1.0, 0, 5),
}
_AT = {name: i for i, name in enumerate(GRID)}
PACE, ABILITY, EASE = _AT["pace"], _AT["ability"], _AT["kind_ease"]
_PACES, _ODDS = slice(PACE, PACE + 2), slice(ABILITY, EASE + 1)  # of the agent, and of the team
_COUNTS = slice(_AT["dependencies"], _AT["estimate"] + 1)
_LOGS = slice(PACE, _COUNTS.stop)
# What follows from agent and required skills, and from the task.
OF_AGENT = [_AT[n] for n in ("skill_use", "skill_margin", "agent_level", "pace", "ability")]
OF_TASK = [i for i in range(len(GRID)) if i not in OF_AGENT]
# Facts in the order in which they are read: what has become of attempts at this kind, of the agent
# at all kinds and of the team at this kind; then what the columns of the grid are made of, so that
# most of them are worked out in place. An operation on a hundred numbers costs about as much as
# one on one, so there are as few of them as can be.
_SHARES = ("success", "agent_success", "team_success")
_KNOWN = ("kind_outcomes", "agent_outcomes", "team_outcomes")
_MADE_OF = {
    "pace": "agent_pace_min",
    "kind_pace": "team_pace_min",
    "ability": "agent_success",  # written over, as the next
    "kind_ease": "team_success",
    "dependencies": "n_dependencies",
    "estimate": "estimate_min",
}
_READ = np.array(
    [
        FORECAST_FACTS.index(name)
        for name in (*_SHARES, *_KNOWN, *(_MADE_OF.get(column, column) for column in GRID))
    ]
)
_N_SHARES = len(_SHARES)
_SIZES = np.array([step.size for step in GRID.values()])
_LOWS = np.array([step.low for step in GRID.values()])
_HIGHS = np.array([step.high for step in GRID.values()])
_RADIX = np.concatenate([[1.0], np.cumprod(_HIGHS - _LOWS + 1)[:-1]])  # all below 2**53
# Outcomes that the wider group counts for: an agent is taken for the mean of all until it has shown
# as many, and its record at one kind of work for its record at all kinds.
AGENT_PRIOR, KIND_PRIOR = 4.0, 8.0
# A number that is an array already joins an operation in half the time that one of Python takes.
_0, _1, _2, _LEAST_MIN, _OF_AGENT, _OF_KIND = (
    np.array(x, dtype=np.float32) for x in (0.0, 1.0, 2.0, 0.01, AGENT_PRIOR, KIND_PRIOR)
)
SPREAD = 256  # candidates


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
    return _codes(facts.T.take(_READ, axis=0), prior)


# What means nothing must not stop a decision: it becomes NaN, and then the least step.
@np.errstate(all="ignore")
def _codes(read: NDArray[np.float32], prior: Prior) -> Codes:
    """Codes from facts in the order of `_READ`, (n_facts, n_candidates), which are written over."""
    n = read.shape[1]
    by = _constants(prior, n if n <= SPREAD else 1)
    shares, known, values = read[:_N_SHARES], read[_N_SHARES : 2 * _N_SHARES], read[2 * _N_SHARES :]
    # Laplace's rule undone: what the smoothed shares were computed from.
    accepted = known + _2
    accepted *= shares
    accepted -= _1
    failed = known - accepted
    odds = values[_ODDS]  # of the agent, and of the team at this kind
    np.add(accepted[1:], by.accepted, out=odds)
    odds /= failed[1:] + by.failed
    # At a kind the agent is taken for as much better than the team as it is in all its work.
    at_kind = odds[0] * odds[1]
    at_kind *= by.odds_against
    missed = _OF_KIND / (at_kind + _1)
    at_kind *= missed  # from odds to as many outcomes as they count for, and then its own
    at_kind += accepted[0]
    missed += failed[0]
    np.divide(at_kind, missed, out=odds[0])
    paces = values[_PACES]
    np.maximum(paces, _LEAST_MIN, out=paces)
    values[_COUNTS] += _1
    logs = values[_LOGS]
    np.log2(logs, out=logs)
    shown = np.maximum(accepted[1:], _0)  # but for rounding
    paces *= shown
    paces += by.log_pace
    shown += _OF_AGENT
    paces /= shown
    values *= by.per_step
    np.rint(values, out=values)
    np.fmax(values, by.low, out=values)  # NaN counts as the other one
    np.fmin(values, by.high, out=values)
    return values.T


class _Constants(NamedTuple):
    """What `_codes` computes with."""

    accepted: NDArray[np.float32]  # (2, n), outcomes that agent and team are lent
    failed: NDArray[np.float32]  # (2, n)
    odds_against: NDArray[np.float32]  # (), of all attempts
    log_pace: NDArray[np.float32]  # (), of all, as often as it is lent
    per_step: NDArray[np.float32]  # (n_columns, n)
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@lru_cache(maxsize=64)
def _constants(prior: Prior, n: int) -> _Constants:
    """Constants as wide as what they meet: one column that is spread costs more than twice."""
    lent = np.array([AGENT_PRIOR, KIND_PRIOR])
    columns = lent * prior.success, lent * (1 - prior.success), 1 / _SIZES, _LOWS, _HIGHS
    accepted, failed, per_step, low, high = (
        np.repeat(column[:, None], n, axis=1).astype(np.float32) for column in columns
    )
    odds_against = np.array((1 - prior.success) / prior.success, dtype=np.float32)
    log_pace = np.array(AGENT_PRIOR * log2(prior.pace_min), dtype=np.float32)
    return _Constants(accepted, failed, odds_against, log_pace, per_step, low, high)


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
    agents = _commonest(codes[:, OF_AGENT], n_agents)
    tasks = _commonest(codes[:, OF_TASK], n_tasks)
    pairs = np.empty((len(agents) * len(tasks), len(GRID)), dtype=np.float32)
    pairs[:, OF_AGENT] = np.repeat(agents, len(tasks), axis=0)
    pairs[:, OF_TASK] = np.tile(tasks, (len(agents), 1))
    return pairs


def _commonest(rows: Codes, n: int) -> Codes:
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return np.asarray(found[(-counts).argsort(kind="stable")[:n]])


def grid_keys(codes: Codes) -> NDArray[np.float64]:
    """One whole number for each place on the grid, (n_candidates,)."""
    return np.asarray(codes @ _RADIX)


def grid_values(codes: Codes) -> NDArray[np.float64]:
    """Columns that the model reads, (n_candidates, n_columns)."""
    return np.asarray(codes * _SIZES)
