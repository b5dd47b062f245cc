"""A score from what a model expects: accepted work for the time, money and rare skills it takes.

The model forecasts how an attempt would go; everything after that is arithmetic, and stands here. A
score is the logarithm of a product of factors, each with an exponent, so what all agents or all
tasks have in common cancels out of any comparison. A record keeps the factors, forecasts among
them: the score can be computed again with the model, and all but the forecasts without it.

Cheap first: a dollar buys more accepted work from a cheaper agent, and `accepted`, `cost_usd` and
`advantage` say how much. Escalation: what an agent has failed at says more about the task than its
estimate does, so an agent that is no better leaves it to one that is.
"""

from math import exp, log, log2
from statistics import NormalDist
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.decision_record import DecisionRecord
from pm_agent.domain.team_record import TEAM_FACTS
from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.forecast_facts import FAILED_FACTS, FORECAST_FACTS
from pm_agent.ports import Forecaster, Scorer, Scores

POLICY = "learned"


class Arithmetic(NamedTuple):
    """How factors become a score. Records name it, so one that was in use never changes."""

    name: str
    fact_names: tuple[str, ...]
    exponents: dict[str, float]  # of each factor


FORECAST_FACT_NAMES = (*FACTS, *FORECAST_FACTS)  # what the model reads
FACT_NAMES = (*FORECAST_FACT_NAMES, *FAILED_FACTS)
N_READ = len(FORECAST_FACT_NAMES)
_BEFORE_TEAM = tuple(name for name in FORECAST_FACT_NAMES if name not in TEAM_FACTS)

# Reward for time is the cµ rule: expected worth a minute, the order that keeps the mean of weighted
# waits least. Chosen by simulations whose seeds no test shares.
_FIRST = Arithmetic(
    "learned-1",
    _BEFORE_TEAM,
    {
        "accepted": 2.0,  # probability that the work will be accepted
        "minutes_p50": -0.5,  # of work: the median
        "minutes_p90": -0.5,  # and what nine of ten stay below, so that a doubtful task costs more
        "cost_usd": -0.5,
        # How much more a dollar's worth of this agent's work gets done here than a typical agent's.
        "advantage": 2.0,
        "scarcity": 1.0,  # how few of the agents could do it: 1 if all can
        "worth": 0.5,  # from priority, waiting time, and the work that waits for it
    },
)
_SECOND = Arithmetic(
    "learned-2",
    (*_BEFORE_TEAM, *FAILED_FACTS),
    # The agent's odds to those of the one that failed last, at most 1; 1 if nobody has failed.
    _FIRST.exponents | {"escalation": 1.0},
)
# The same, for models that are told how the team does at a kind of task.
ARITHMETIC = Arithmetic("learned-3", FACT_NAMES, _SECOND.exponents)
ARITHMETICS = {one.name: one for one in (_FIRST, _SECOND, ARITHMETIC)}

EXPONENTS = ARITHMETIC.exponents
FACTOR_NAMES = tuple(EXPONENTS)
N_FORECASTS = FACTOR_NAMES.index("advantage") + 1  # the leading factors, which a model says
_EXPECTED = Struct("<4f")  # the first of them, of the chosen, as records keep them
_SCARCITY, _WORTH, _ESCALATION = range(N_FORECASTS, N_FORECASTS + 3)
_F = {name: i for i, name in enumerate(FACT_NAMES)}
_PRIORITY, _RARITY = _F["priority"], _F["rarity"]
_STATE = slice(_F["age_h"], _F["critical_path_h"] + 1)  # with what waits for it between the two
_OWN = [_F["agent_success"], _F["agent_outcomes"]]
_FAILED = slice(-len(FAILED_FACTS), None)  # the last in every arithmetic that has them

PRIORITY_WORTH = 4.0  # of one priority class: with its exponent, twice as much a class
AGE_H = 24.0  # a task is worth as much again after waiting so long
UNBLOCKS = 4.0  # the same for so many tasks that wait for it
CRITICAL_H = 8.0  # and for so long a chain of work behind it
_WORTH_OF_STATE = np.array([1 / AGE_H, 1 / UNBLOCKS, 1 / CRITICAL_H], dtype=np.float32)
# An agent's odds are drawn to even ones as if it had these outcomes besides its own.
PRIOR_OUTCOMES = 8.0
NO_PRICE = 1.0  # dollars that a model says which has seen no price: a factor without weight
_Z90, _Z95 = NormalDist().inv_cdf(0.90), NormalDist().inv_cdf(0.95)
LEAST = 1e-6  # no factor is 0: its logarithm is taken
# As arrays, which join an operation in half the time that a number of Python takes.
_LEAST, _LOG_WORTH, _1 = (np.array(x, dtype=np.float32) for x in (LEAST, log2(PRIORITY_WORTH), 1.0))


class LearnedScorer:
    """Scores by the forecasts of a model.

    Parameters
    ----------
    forecaster : Forecaster
        What the model says of attempts.
    arithmetic : Arithmetic
        An older one, to compute a record of its time again.
    """

    policy = POLICY
    compares_agents = True
    sees_shortest = True
    shadow: Scorer | None = None

    def __init__(self, forecaster: Forecaster, arithmetic: Arithmetic = ARITHMETIC) -> None:
        self.forecaster = forecaster
        self.version = f"{arithmetic.name}.{forecaster.version}"
        self.fact_names: tuple[str, ...] = arithmetic.fact_names
        self.factor_names: tuple[str, ...] = tuple(arithmetic.exponents)
        self.weights: tuple[float, ...] = tuple(arithmetic.exponents.values())
        self._weights = np.array(self.weights, dtype=np.float32)

    def score(self, facts: NDArray[np.float32]) -> Scores:
        factors = np.empty((len(self.weights), len(facts)), dtype=np.float32).T
        factors[:, :N_FORECASTS] = self.forecaster.forecast(facts[:, :N_READ])
        factors[:, _SCARCITY] = facts[:, _RARITY]
        factors[:, _WORTH] = _worth(facts)
        if len(self.weights) > _ESCALATION:
            factors[:, _ESCALATION] = _escalation(facts)
        np.maximum(factors, _LEAST, out=factors)
        return Scores(np.log2(factors).dot(self._weights), factors)


def _worth(facts: NDArray[np.float32]) -> NDArray[np.float32]:
    """What having the work done is worth, 1 for a new task of low priority, (n_tasks,)."""
    worth = facts[:, _STATE].dot(_WORTH_OF_STATE)
    worth += _1
    worth *= np.exp2(facts[:, _PRIORITY] * _LOG_WORTH)
    return np.asarray(worth, dtype=np.float32)


def _escalation(facts: NDArray[np.float32]) -> NDArray[np.float32] | float:
    """The agent's odds to those of whoever failed last, at most 1, (n_tasks,)."""
    failed = facts[:, _FAILED]
    has_failed = failed[:, 0] > 0
    if not np.count_nonzero(has_failed):
        return 1.0
    ratio = _odds(facts[:, _OWN]) / _odds(failed)
    return np.where(has_failed, np.minimum(ratio, 1.0), 1.0).astype(np.float32)


def _odds(known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Odds that work is accepted, from a smoothed share and its number of outcomes, (n_tasks,)."""
    share, n = known[:, 0], known[:, 1]
    accepted = share * (n + 2) - 1  # Laplace's rule undone
    share = (accepted + PRIOR_OUTCOMES / 2) / (n + PRIOR_OUTCOMES)
    return np.asarray(share / (1 - share), dtype=np.float32)


class Expected(NamedTuple):
    """What a model expects of an attempt: its leading factors.

    Amounts are taken as log-normal: median and 90th percentile tell the rest. Of money only the
    median is known; use goes with time, so it is taken to spread as much.
    """

    accepted: float  # probability
    p50_min: float
    p90_min: float
    p50_usd: float  # or `NO_PRICE`

    @property
    def ratio(self) -> float:
        """What nine of ten attempts stay below, in medians."""
        return max(self.p90_min / max(self.p50_min, LEAST), 1.0)

    @property
    def longest_min(self) -> float:
        """What 95 of 100 such attempts stay below."""
        return float(self.p50_min * self.ratio ** (_Z95 / _Z90))

    @property
    def mean_usd(self) -> float | None:
        """None: the model has never seen a price."""
        if self.p50_usd == NO_PRICE:
            return None
        spread = log(self.ratio) / _Z90
        # Three decades between short and long were measured: beyond nine of ten a mean says little.
        return self.p50_usd * min(exp(spread * spread / 2), self.ratio)


def expected_of(record: DecisionRecord) -> Expected | None:
    """What the scorer of a record was told of the chosen candidate; None when rules scored."""
    if record.policy != POLICY:
        return None
    return Expected(*_EXPECTED.unpack_from(record.factors))


class StoredForecasts:
    """A forecaster that repeats what a record says, where the model itself is not at hand."""

    def __init__(self, version: str, rows: NDArray[np.float32]) -> None:
        self.version = version
        self.rows = rows  # (n_explained, n_forecasts)

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        assert len(facts) == len(self.rows), (len(facts), len(self.rows))
        return self.rows


def arithmetic_of(version: str) -> tuple[Arithmetic | None, str]:
    """Arithmetic and model that a record's version names; no arithmetic when it is another's."""
    name, _, model = version.partition(".")
    return ARITHMETICS.get(name), model


def of_record(version: str, factors: NDArray[np.float32]) -> LearnedScorer | None:
    """Scorer that takes its forecasts from a record; None when the record is no learned one.

    Parameters
    ----------
    version : str
        Of the record's scorer.
    factors : array, shape (n_explained, n_factors)
        Of the record.
    """
    arithmetic, model = arithmetic_of(version)
    if arithmetic is None or factors.shape[1] != len(arithmetic.exponents):
        return None
    return LearnedScorer(StoredForecasts(model, factors[:, :N_FORECASTS]), arithmetic)
