"""Whether an attempt will be accepted: the probability, before it begins."""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.linalg import inv
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from models.design import Column, Design, check_facts, check_weight, codes
from models.errors import TooLittleHistory, ValuesInvalid

Floats = NDArray[np.float64]

MAX_CLASSES = 2

# Gauss-Hermite nodes for the mean over a standard normal number, and the logs of their weights.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
NODES: Floats = _NODES
LOG_WEIGHTS: Floats = np.log(_WEIGHTS / _WEIGHTS.sum())


class OutcomeModel(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """P(accepted) of an attempt, by a logit of skill and difficulty or by boosted trees.

    ``logit`` is the champion: with a few thousand rows it won against trees on all agents' runs
    that we measured. Its effects are drawn to the mean of all (see `models.design.Design`), so a
    new agent begins as the mean agent and leaves it as outcomes come in. Probabilities are means
    over what the rows seen leave open, so they are less sure of things never seen.

    Parameters
    ----------
    method : {"logit", "lightgbm"}
    categorical, products, scales
        As in `models.design.Design`.
    n_rounds, learning_rate, num_leaves, min_child_samples
        Of LightGBM.
    min_rows : int
        With less, the model warns (`TooLittleHistory`) and answers with the smoothed share of
        accepted rows. So it does when all outcomes are the same.
    n_threads : int
        For training; scoring uses one.
    random_state : int

    Attributes
    ----------
    classes_ : array, shape (2,)
        The second is what `predict_proba` gives the probability of in its second column.
    is_baseline_ : bool
    group_scale_ : float
        With ``groups`` in `fit`: how much rows of one group differ in what the facts do not tell,
        as a standard deviation in logits.

    Examples
    --------
    >>> model = OutcomeModel(min_rows=2).fit([[0.0], [1.0], [2.0], [3.0]] * 5, [0, 0, 1, 1] * 5)
    >>> model.predict([[0.0], [3.0]]).tolist()
    [0, 1]
    """

    def __init__(
        self,
        method: str = "logit",
        *,
        categorical: Sequence[Column] = (),
        products: Sequence[tuple[Column, Column]] = (),
        scales: Mapping[Hashable, float] | None = None,
        n_rounds: int = 100,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        min_rows: int = 30,
        n_threads: int = 1,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.categorical = categorical
        self.products = products
        self.scales = scales
        self.n_rounds = n_rounds
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.min_rows = min_rows
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from outcomes.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n_rows, n_columns)
            Facts known before the work began.
        y : array-like, shape (n_rows,)
            Two classes; the greater one is "accepted".
        groups : array-like, shape (n_rows,), optional
            Rows of a group share what the facts do not tell, such as attempts of one task.
        sample_weight : array-like, shape (n_rows,), optional

        Raises
        ------
        ValuesInvalid
        """
        if self.method not in {"logit", "lightgbm"}:
            raise ValuesInvalid(f"There is no method {self.method!r}.", "Use logit or lightgbm.")
        table = check_facts(self, X, self.categorical, reset=True)
        accepted = self._check_outcomes(y)
        weight = check_weight(sample_weight, len(table))
        check_consistent_length(table, accepted)
        if len(table) < self.min_rows:
            name = type(self).__name__
            warnings.warn(TooLittleHistory(name, len(table), self.min_rows), stacklevel=2)
        self.is_baseline_ = len(table) < self.min_rows or np.ptp(accepted) == 0
        share = (weight @ accepted + 1) / (weight.sum() + 2)  # Laplace's rule
        self.share_ = float(share)
        self.group_scale_ = 0.0
        if not self.is_baseline_:
            self.design_ = Design(self.categorical, self.products, self.scales).fit(table)
            self._learn(table, accepted, weight)
            if groups is not None:
                logits = self._logits(table)
                self.group_scale_ = _group_scale(logits, accepted, np.asarray(groups))
        return self

    def decision_function(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Log odds of acceptance, shape (n_rows,)."""
        check_is_fitted(self)
        return self._logits(check_facts(self, X, self.categorical, reset=False))

    def predict_proba(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Probabilities of refusal and acceptance, shape (n_rows, 2)."""
        accepted = expit(self.decision_function(X))
        return np.column_stack([1 - accepted, accepted])

    def predict(self, X: ArrayLike | pd.DataFrame) -> NDArray[Any]:
        """The likelier class, shape (n_rows,)."""
        is_likely = self.decision_function(X) > 0
        return np.asarray(self.classes_[is_likely.astype(int)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _check_outcomes(self, y: ArrayLike) -> Floats:
        """Accepted or not as 1 and 0; sets ``classes_``."""
        if y is None:
            raise ValuesInvalid("This model requires y to be passed, but the target y is None.")
        outcomes = column_or_1d(y, warn=True)
        try:
            check_classification_targets(outcomes)
        except ValueError as error:
            raise ValuesInvalid(str(error)) from error
        classes = np.unique(outcomes)
        if len(classes) > MAX_CLASSES:
            raise ValuesInvalid(
                "Only binary classification is supported. The type of the target is multiclass, "
                f"with {len(classes)} classes."
            )
        if len(classes) == 1:  # all the same so far: the other class is named for what it is not
            other = type(classes[0])(not classes[0]) if classes[0] in {0, 1} else classes[0]
            classes = np.sort(np.array([classes[0], other]))
        self.classes_ = classes
        return np.asarray(outcomes == classes[1], dtype=float)

    def _learn(self, table: pd.DataFrame, accepted: Floats, weight: Floats) -> None:
        if self.method == "logit":
            effects = self.design_.transform(table)
            logit = LogisticRegression(C=1.0, max_iter=1000)  # effects ~ N(0, scale²)
            self.logit_ = logit.fit(effects, accepted, weight)
            self.covariance_ = _covariance(effects, weight, logit.decision_function(effects))
            return
        parameters = {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": min(self.min_child_samples, max(1, len(table) // 5)),
            "num_threads": self.n_threads,
            "seed": self.random_state,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        places = [self.design_.columns_.index(column) for column in self.categorical]
        data = lgb.Dataset(
            codes(table, self.design_), accepted, weight=weight, categorical_feature=places
        )
        self.booster_ = lgb.train(parameters, data, self.n_rounds)

    def _logits(self, table: pd.DataFrame) -> Floats:
        if self.is_baseline_:
            return np.full(len(table), np.log(self.share_ / (1 - self.share_)))
        if self.method == "logit":
            effects = self.design_.transform(table)
            known = np.asarray((effects @ self.covariance_ * effects.toarray()).sum(axis=1))
            variance = known + self.design_.unknown_variance(table)
            # The mean over what is not known well; the logits themselves would be too sure.
            found = self.logit_.decision_function(effects) / np.sqrt(1 + np.pi / 8 * variance)
        else:  # one thread: scoring runs inside a decision, beside everything else
            facts = codes(table, self.design_)
            found = self.booster_.predict(facts, raw_score=True, num_threads=1)
        return np.asarray(found, dtype=float)


def _covariance(effects: sparse.csr_array, weight: Floats, logits: Floats) -> Floats:
    """Of the effects, by Laplace's approximation, (n_effects, n_effects)."""
    chance = expit(logits)
    curvature = (effects.T @ (effects * (weight * chance * (1 - chance))[:, None])).toarray()
    return np.asarray(inv(curvature + np.eye(len(curvature)), overwrite_a=True))


def given_group(logits: ArrayLike, group_scale: float) -> Floats:
    """Log odds for each of `NODES` deviations of a group from what its facts tell.

    The mean of their probabilities over `LOG_WEIGHTS` is again about ``expit(logits)``.

    Returns
    -------
    array, shape (*logits.shape, n_nodes)
    """
    # A logistic curve averaged over a normal deviation is flatter by this factor (MacKay, 1992).
    steeper = np.sqrt(1 + np.pi / 8 * group_scale**2)
    found: Floats = steeper * np.asarray(logits)[..., None] + group_scale * NODES
    return found


def group_log_weights(
    logits: Floats, accepted: Floats, groups: NDArray[Any], group_scale: float
) -> tuple[NDArray[Any], Floats]:
    """What the outcomes seen in each group say of its deviation.

    Returns
    -------
    names : array, shape (n_groups,)
    log_weights : array, shape (n_groups, n_nodes)
        Log probabilities of `NODES`, not normalised: their sums tell the likelihood.
    """
    names, group = np.unique(groups, return_inverse=True)
    sign = np.where(accepted > 0, 1.0, -1.0)[:, None]
    together = np.zeros((len(names), len(NODES)))
    np.add.at(together, group, log_expit(sign * given_group(logits, group_scale)))
    return names, together + LOG_WEIGHTS


def warm_start(
    logits: Floats,
    accepted: Floats,
    log_weights: Floats,
    group_scale: float,
    prior_scale: float = 1.0,
) -> tuple[float, float]:
    """How much better a new agent is than the mean agent, from its first outcomes.

    A task that others have done tells more than a fresh one: what it deviates is known.

    Parameters
    ----------
    logits : array, shape (n_rows,)
        Log odds of the mean agent on the tasks done.
    accepted : array, shape (n_rows,)
    log_weights : array, shape (n_rows, n_nodes)
        Of each task's deviation: `LOG_WEIGHTS` for a fresh one, else from `group_log_weights`.
    group_scale : float
    prior_scale : float
        Standard deviation of agents' skills, in logits.

    Returns
    -------
    shift, deviation : float
        To be added to the log odds of the mean agent, and its standard deviation.
    """
    shifts = prior_scale * np.linspace(-4, 4, 161)
    sign = np.where(accepted > 0, 1.0, -1.0)[:, None]
    weights = log_weights - logsumexp(log_weights, axis=1, keepdims=True)
    steeper = np.sqrt(1 + np.pi / 8 * group_scale**2)
    log_posterior = -0.5 * (shifts / prior_scale) ** 2
    for k, shift in enumerate(shifts):
        each = log_expit(sign * (given_group(logits, group_scale) + steeper * shift))
        log_posterior[k] += logsumexp(each + weights, axis=1).sum()
    posterior = np.exp(log_posterior - logsumexp(log_posterior))
    mean = float(posterior @ shifts)
    return mean, float(np.sqrt(posterior @ (shifts - mean) ** 2))


def _group_scale(logits: Floats, accepted: Floats, groups: NDArray[Any]) -> float:
    """Standard deviation of the groups of largest likelihood."""

    def cost(scale: float) -> float:
        _, log_weights = group_log_weights(logits, accepted, groups, scale)
        return -float(logsumexp(log_weights, axis=1).sum())

    return float(minimize_scalar(cost, bounds=(0.0, 6.0), method="bounded").x)
