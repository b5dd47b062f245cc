"""Is a model better, would a policy have been, and has the world changed? Always with intervals.

Rows are in time order everywhere: a model is judged on rows later than all it learned from.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone

from models.calibration import coverage
from models.errors import NothingToLearn, ValuesInvalid

Floats = NDArray[np.float64]
Places = NDArray[np.int_]
Loss = Callable[[Floats, Floats], Floats]  # truth, prediction → loss of each row

MIN_COMPLETIONS = 300  # below, no claim is made
MIN_EFFECTIVE_ROWS = 200  # below, a few heavy rows decide an off-policy estimate
PSI_ALARM = 0.25  # the usual rule: under 0.1 nothing, over 0.25 a different population
COVERAGE_ALARM = 0.06  # 80 % intervals then cover less than 74 % or more than 86 %


class Estimate(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Champion against challenger on the same later rows."""

    champion: float  # mean loss
    challenger: float
    gain: Estimate  # champion's loss less challenger's: above 0 the challenger is better
    n_rows: int

    @property
    def is_better(self) -> bool:
        """Whether the challenger won, beyond chance and on rows enough."""
        return self.gain.low > 0 and self.n_rows >= MIN_COMPLETIONS


def forward_folds(n_rows: int, n_folds: int = 5) -> Iterator[tuple[Places, Places]]:
    """Places to learn from, and the block right after them, ``n_folds`` times.

    Raises
    ------
    NothingToLearn
    """
    if n_rows <= n_folds:
        raise NothingToLearn(
            f"{n_rows} rows do not make {n_folds} folds.",
            f"Wait for {n_folds + 1 - n_rows} rows more, or take fewer folds.",
        )
    edges = np.linspace(0, n_rows, n_folds + 2).astype(int)[1:]
    for start, stop in pairwise(edges):
        yield np.arange(start), np.arange(start, stop)


def compare(
    champion: BaseEstimator,
    challenger: BaseEstimator,
    X: pd.DataFrame,
    y: ArrayLike,
    *,
    loss: Loss,
    method: str = "predict",
    n_folds: int = 5,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Comparison:
    """Fit both on the rows before each fold and judge them on the fold.

    Parameters
    ----------
    X, y
        Rows in time order.
    loss : callable
        Truth and prediction, each of shape (n_rows,), to losses of that shape.
    method : {"predict", "predict_proba"}
        The latter takes the second column.
    groups : array-like, shape (n_rows,), optional
        Rows that stand or fall together, such as attempts of one task.
    """
    target = np.asarray(y)
    losses: list[list[Floats]] = [[], []]
    judged = []
    for train, test in forward_folds(len(target), n_folds):
        judged.append(test)
        for model, found in zip((champion, challenger), losses, strict=True):
            fitted = clone(model).fit(X.iloc[train], target[train])
            answer = np.asarray(getattr(fitted, method)(X.iloc[test]))
            answer = answer[:, 1] if answer.ndim > 1 else answer
            found.append(loss(target[test], answer))
    first, second = (np.concatenate(found) for found in losses)
    ids = None if groups is None else np.asarray(groups)[np.concatenate(judged)]
    gain = paired_bootstrap(first, second, groups=ids, seed=seed)
    return Comparison(float(first.mean()), float(second.mean()), gain, len(first))


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean of ``first - second``, with an interval from drawing groups of rows anew.

    Parameters
    ----------
    first, second : array-like, shape (n_rows,)
        Losses of two models on the same rows.
    groups : array-like, shape (n_rows,), optional
        Drawn whole; each row by itself when None.
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    ids = np.arange(len(difference)) if groups is None else np.asarray(groups)
    _, group = np.unique(ids, return_inverse=True)
    totals = np.bincount(group, weights=difference)
    sizes = np.bincount(group)
    draws = np.random.default_rng(seed).integers(len(sizes), size=(n_draws, len(sizes)))
    means = totals[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(difference.mean()), float(low), float(high))


class OffPolicy(NamedTuple):
    """What another policy would have earned on the decisions that were logged."""

    snips: Estimate
    doubly_robust: Estimate | None  # without a reward model there is none
    effective_rows: float

    def may_promote(self, incumbent: float) -> bool:
        """Whether its lower bound beats what the present policy earns, on weight enough."""
        estimate = self.doubly_robust or self.snips
        return estimate.low > incumbent and self.effective_rows >= MIN_EFFECTIVE_ROWS


def off_policy(
    reward: ArrayLike,
    propensity: ArrayLike,
    target_probability: ArrayLike,
    *,
    predicted_chosen: ArrayLike | None = None,
    predicted_target: ArrayLike | None = None,
) -> OffPolicy:
    """Judge a policy by the choices of another one, whose probabilities were logged.

    Parameters
    ----------
    reward : array-like, shape (n_decisions,)
        Of the choice made, such as 1 for work that passed its gate.
    propensity : array-like, shape (n_decisions,)
        Probability with which the choice was made, above 0.
    target_probability : array-like, shape (n_decisions,)
        Probability with which the judged policy makes the same choice.
    predicted_chosen : array-like, shape (n_decisions,), optional
        A model's reward of the choice made; it must not have learned from these rewards.
    predicted_target : array-like, shape (n_decisions,), optional
        The model's mean reward of the judged policy's choices.

    Raises
    ------
    ValuesInvalid

    References
    ----------
    A. Swaminathan and T. Joachims, The self-normalized estimator (2015); M. Dudík, J. Langford and
    L. Li, Doubly robust policy evaluation and learning (2011).
    """
    rewards, logged, target = (
        np.asarray(values, dtype=float) for values in (reward, propensity, target_probability)
    )
    if not ((logged > 0) & (logged <= 1) & (target >= 0) & (target <= 1)).all():
        raise ValuesInvalid(
            "Propensities must lie in (0, 1], target probabilities in [0, 1].",
            "Log the probability of every choice; a choice that could not happen tells nothing.",
        )
    weight = target / logged
    if weight.sum() == 0:
        raise ValuesInvalid(
            "The judged policy never makes a logged choice.", "Log a policy that explores."
        )
    value = float(weight @ rewards / weight.sum())
    # Delta method for a ratio of means.
    error = float(np.sqrt((weight**2 * (rewards - value) ** 2).sum()) / weight.sum())
    robust = None
    if predicted_chosen is not None and predicted_target is not None:
        correction = weight * (rewards - np.asarray(predicted_chosen, dtype=float))
        terms = np.asarray(predicted_target, dtype=float) + correction
        robust = _around(float(terms.mean()), float(terms.std(ddof=1) / np.sqrt(len(terms))))
    return OffPolicy(_around(value, error), robust, float(weight.sum() ** 2 / (weight @ weight)))


class Drift(NamedTuple):
    """How far the present is from what a model learned from."""

    coverage: float  # of its 80 % intervals
    psi: dict[Any, float]  # population stability index of each number among the facts

    @property
    def has_drifted(self) -> bool:
        """Whether rules should take over until the model was fitted anew."""
        miss = abs(self.coverage - 0.8)
        return miss > COVERAGE_ALARM or max(self.psi.values(), default=0.0) > PSI_ALARM


def drift(before: pd.DataFrame, now: pd.DataFrame, y: ArrayLike, interval: ArrayLike) -> Drift:
    """Compare facts then and now, and look whether intervals still hold.

    Parameters
    ----------
    before, now : DataFrame
        Facts that the model learned from, and recent ones; numbers are compared.
    y, interval : array-like, shape (n_rows,), (n_rows, 2)
        Recent outcomes and the 80 % intervals they were promised.
    """
    numbers = before.select_dtypes("number").columns
    return Drift(
        coverage=coverage(y, interval),
        psi={column: psi(before[column], now[column]) for column in numbers},
    )


def psi(before: ArrayLike, now: ArrayLike, n_bins: int = 10) -> float:
    """Population stability index: 0 for the same distribution.

    Sum over bins of ``(q - p) log(q / p)``; bins hold equal shares of ``before``, and each has
    half a row added so that an empty one stays finite.
    """
    old, new = np.asarray(before, dtype=float), np.asarray(now, dtype=float)
    edges = np.unique(np.quantile(old, np.linspace(0, 1, n_bins + 1)[1:-1]))
    shares = []
    for values in (old, new):
        counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    p, q = shares
    return float(((q - p) * np.log(q / p)).sum())


def _around(value: float, error: float) -> Estimate:
    reach = float(norm.ppf(0.975)) * error
    return Estimate(value, value - reach, value + reach)
