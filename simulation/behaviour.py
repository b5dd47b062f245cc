"""How simulated agents work: whether an attempt succeeds, how long it takes, what it uses.

Success is logistic in the agent's ability and the logarithm of the minutes that a person would
need; durations are spread over three decades. Both were fitted to METR's runs (`fitted/`); see
docs/what_if.md for the formulas and what they were checked against. Nothing in `pm_agent` or
`models` may read these numbers of an agent or a task: they are what has to be found out.
"""

import tomllib
from collections.abc import Mapping
from math import exp, log, log2
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

from pm_agent.domain.time import MINUTE_US

FITTED = Path(__file__).parent / "fitted"


class Fitted(NamedTuple):
    """One agent of the fitted table."""

    ability: float  # logits of success at a task of one human minute
    pace: float  # log2 of the seconds for such a task


_runs = tomllib.loads((FITTED / "metr_runs.toml").read_text())
AGENTS: Mapping[str, Fitted] = {name: Fitted(**row) for name, row in _runs["agents"].items()}
SUCCESS_SLOPE: float = _runs["success_slope"]
DURATION_SLOPE: float = _runs["duration_slope"]
# Tasks of families of work: human minutes, and those of a usual task that is as hard.
FAMILIES: Mapping[str, list[tuple[float, float]]] = tomllib.loads(
    (FITTED / "metr_families.toml").read_text()
)["families"]
RESIDUALS: tuple[float, ...] = tuple(_runs["residuals"])
LOWEST, HIGHEST = 0.005, 0.995  # shares at which the first and the last residual stand


def ability_of(model: str, horizon_min: float | None = None) -> float:
    """Ability of an agent: as fitted, or such that it solves half of the work of a given length.

    Parameters
    ----------
    model
        Name in the fitted table.
    horizon_min
        Human minutes of the tasks of which it solves half; None: as fitted.
    """
    if horizon_min is None:
        return AGENTS[model].ability
    return SUCCESS_SLOPE * log2(horizon_min)


def p_success(ability: float, human_min: float) -> float:
    """Probability that an attempt is right.

    Examples
    --------
    >>> p_success(ability_of("o1", horizon_min=60), 60)
    0.5
    """
    return 1 / (1 + exp(SUCCESS_SLOPE * log2(human_min) - ability))


def duration_s(pace: float, human_min: float, share: float) -> float:
    """Seconds of work of an attempt.

    Parameters
    ----------
    pace
        log2 of the median seconds for a task of one human minute.
    human_min
        Minutes that a person would need.
    share
        Uniform in [0, 1): which quantile of the spread this attempt meets.
    """
    return float(2 ** (pace + DURATION_SLOPE * log2(human_min) + residual(share)))


def residual(share: float) -> float:
    """Quantile of the fitted residuals of log2 seconds; the outermost half percents are cut off."""
    place = (share - LOWEST) / (HIGHEST - LOWEST) * (len(RESIDUALS) - 1)
    place = min(max(place, 0.0), len(RESIDUALS) - 1.000001)
    low = int(place)
    return RESIDUALS[low] + (place - low) * (RESIDUALS[low + 1] - RESIDUALS[low])


def exponential(mean: float, share: float) -> float:
    """Quantile of the exponential distribution."""
    return -mean * log(1 - share)


def lognormal_us(median_min: float, spread: float, share: float) -> int:
    """Quantile of a log-normal span, in microseconds.

    Parameters
    ----------
    median_min, spread
        Median in minutes, and standard deviation of the natural logarithm.
    share
        Uniform in [0, 1).
    """
    normal = _NORMAL.inv_cdf(min(max(share, 1e-6), 1 - 1e-6))
    return round(median_min * MINUTE_US * exp(spread * normal))


_NORMAL = NormalDist()
