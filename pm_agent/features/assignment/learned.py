"""A score from what a model expects: accepted work for the time, money and rare skills it takes.

The model forecasts how an attempt would go; everything after that is arithmetic, and stands here. A
score is the logarithm of a product of factors, each with an exponent, so what all agents or all
tasks have in common cancels out of any comparison. A record keeps the factors, forecasts among
them: the score can be computed again with the model, and all but the forecasts without it.
"""

import numpy as np
from numpy.typing import NDArray

from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.forecast_facts import FORECAST_FACTS
from pm_agent.ports import Forecaster, Scores

POLICY = "learned"
ARITHMETIC = "learned-1"  # names facts, factors and exponents: a new one when any of them changes

# The exponent of each factor. Reward for time is the cµ rule: expected worth a minute, the order
# that keeps the mean of weighted waits least. Chosen by simulations whose seeds no test shares.
EXPONENTS: dict[str, float] = {
    "accepted": 2.0,  # probability that the work will be accepted
    "minutes_p50": -0.5,  # of work: the median
    "minutes_p90": -0.5,  # and what nine of ten stay below, so that a doubtful task costs more
    "cost_usd": -0.5,
    # How much more a dollar's worth of this agent's work gets done here than a typical agent's.
    "advantage": 2.0,
    "scarcity": 1.0,  # how few of the agents could do it: 1 if all can
    "worth": 0.5,  # from priority, waiting time, and the work that waits for it
}
FACTOR_NAMES = tuple(EXPONENTS)
N_FORECASTS = FACTOR_NAMES.index("advantage") + 1  # the leading factors, which a model says
_WEIGHTS = np.array(list(EXPONENTS.values()), dtype=np.float32)
FACT_NAMES = (*FACTS, *FORECAST_FACTS)
_F = {name: i for i, name in enumerate(FACT_NAMES)}
_PRIORITY, _AGE, _UNBLOCKS = _F["priority"], _F["age_h"], _F["n_unblocks"]
_CRITICAL, _RARITY = _F["critical_path_h"], _F["rarity"]

PRIORITY_WORTH = 4.0  # of one priority class: with its exponent, twice as much a class
AGE_H = 24.0  # a task is worth as much again after waiting so long
UNBLOCKS = 4.0  # the same for so many tasks that wait for it
CRITICAL_H = 8.0  # and for so long a chain of work behind it
LEAST = np.float32(1e-6)  # no factor is 0: its logarithm is taken


class LearnedScorer:
    """Scores by the forecasts of a model.

    Parameters
    ----------
    forecaster : Forecaster
        What the model says of attempts.
    """

    policy = POLICY
    fact_names: tuple[str, ...] = FACT_NAMES
    factor_names: tuple[str, ...] = FACTOR_NAMES
    weights: tuple[float, ...] = tuple(EXPONENTS.values())

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster
        self.version = f"{ARITHMETIC}.{forecaster.version}"

    def score(self, facts: NDArray[np.float32]) -> Scores:
        factors = np.empty((len(facts), len(FACTOR_NAMES)), dtype=np.float32)
        factors[:, :N_FORECASTS] = self.forecaster.forecast(facts)
        factors[:, N_FORECASTS] = facts[:, _RARITY]
        factors[:, N_FORECASTS + 1] = _worth(facts)
        np.maximum(factors, LEAST, out=factors)
        return Scores(np.log2(factors).dot(_WEIGHTS), factors)


def _worth(facts: NDArray[np.float32]) -> NDArray[np.float32]:
    """What having the work done is worth, 1 for a new task of low priority, (n_tasks,)."""
    worth = 1.0 + facts[:, _AGE] * (1 / AGE_H)
    worth += facts[:, _UNBLOCKS] * (1 / UNBLOCKS)
    worth += facts[:, _CRITICAL] * (1 / CRITICAL_H)
    worth *= PRIORITY_WORTH ** facts[:, _PRIORITY]
    return np.asarray(worth, dtype=np.float32)


class StoredForecasts:
    """A forecaster that repeats what a record says, where the model itself is not at hand."""

    def __init__(self, version: str, rows: NDArray[np.float32]) -> None:
        self.version = version
        self.rows = rows  # (n_explained, n_forecasts)

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        assert len(facts) == len(self.rows), (len(facts), len(self.rows))
        return self.rows


def of_record(version: str, factors: NDArray[np.float32]) -> LearnedScorer | None:
    """Scorer that takes its forecasts from a record; None when the record is no learned one.

    Parameters
    ----------
    version : str
        Of the record's scorer.
    factors : array, shape (n_explained, n_factors)
        Of the record.
    """
    arithmetic, _, model = version.partition(".")
    if arithmetic != ARITHMETIC or factors.shape[1] != len(FACTOR_NAMES):
        return None
    return LearnedScorer(StoredForecasts(model, factors[:, :N_FORECASTS]))
