"""How long a task takes: a median and an interval, learned from finished and unfinished work."""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GroupKFold, KFold
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from models.calibration import STEP, AdaptiveLevels, SurvivalQuantiles
from models.design import Column, Design, check_facts, check_target, check_weight, codes
from models.errors import TooLittleHistory, ValuesInvalid
from models.tobit import (
    MAX_LOG_SCALE,
    MIN_LOG_SCALE,
    Boosted,
    Linear,
    constants,
    fit_boosted,
    fit_linear,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SPREAD_SCALE = 0.5  # a factor of 1.6 between the spreads of two agents is usual
ROWS_OF_OWN = 100  # a quantile of 10 % then has ten errors beyond it
PRIOR_ROWS = 5  # few rows say little of the spread: as many more are imagined, a factor e apart


class DurationModel(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Log-normal times with censoring, and intervals that adapt.

    A row that has not finished (lost agent, time limit, still open) is censored: it took longer
    than the time seen. Location and scale are learned by the Tobit likelihood; the shape of the
    errors is measured on rows held out in turn, so the intervals do not trust the normal
    distribution or the fit.

    Parameters
    ----------
    method : {"lightgbm", "linear"}
        Boosted trees, or penalised linear functions; the latter win on a few thousand rows.
    categorical : sequence of columns
        Names (positions, for arrays) of the columns that hold categories.
    products : sequence of pairs of columns
        Interactions for ``linear``; trees find their own.
    scales : mapping of column or pair to float, optional
        Standard deviations a priori for ``linear``, see `models.design.Design`.
    spread_columns : sequence of columns
        On which of the categories the spread depends in ``linear``; trees use all columns.
    errors_by : column, optional
        Category, such as the agent, whose rows have errors of a shape of their own. Those with
        fewer than 100 rows share one.
    coverage : float
        Share of outcomes that `predict_interval` should cover.
    step : float
        How fast `recalibrate` moves the interval's levels.
    n_rounds, learning_rate, num_leaves, min_child_samples
        Of LightGBM.
    folds : int
        In how many turns rows are held out to measure the errors.
    min_rows : int
        With less, the model warns (`TooLittleHistory`) and answers with one median for all.
    n_threads : int
        For training; scoring uses one.
    random_state : int

    Attributes
    ----------
    is_baseline_ : bool
        Whether there were too few rows.
    errors_ : SurvivalQuantiles
        Of ``(log y - location) / scale`` on held-out rows.
    errors_of_ : dict of category to SurvivalQuantiles
        The same for each category of ``errors_by`` with rows enough.
    levels_ : AdaptiveLevels
        Of the next interval and median.

    Examples
    --------
    >>> model = DurationModel(min_rows=2, folds=2).fit([[1.0], [2.0]] * 20, [10.0, 40.0] * 20)
    >>> bool(model.predict([[2.0]])[0] > model.predict([[1.0]])[0])
    True
    """

    def __init__(
        self,
        method: str = "lightgbm",
        *,
        categorical: Sequence[Column] = (),
        products: Sequence[tuple[Column, Column]] = (),
        scales: Mapping[Hashable, float] | None = None,
        spread_columns: Sequence[Column] = (),
        errors_by: Column | None = None,
        coverage: float = 0.8,
        step: float = STEP,
        n_rounds: int = 150,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        folds: int = 5,
        min_rows: int = 30,
        n_threads: int = 1,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.categorical = categorical
        self.products = products
        self.scales = scales
        self.spread_columns = spread_columns
        self.errors_by = errors_by
        self.coverage = coverage
        self.step = step
        self.n_rounds = n_rounds
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.folds = folds
        self.min_rows = min_rows
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        *,
        censored: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from rows in time order.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n_rows, n_columns)
            Facts known before the work began.
        y : array-like, shape (n_rows,)
            Time seen, above 0, in any unit.
        censored : array-like of bool, shape (n_rows,), optional
            True where the work had not finished after ``y``.
        groups : array-like, shape (n_rows,), optional
            Rows of a group are held out together, such as attempts of one task.
        sample_weight : array-like, shape (n_rows,), optional

        Raises
        ------
        ValuesInvalid
        """
        if self.method not in {"lightgbm", "linear"}:
            raise ValuesInvalid(f"There is no method {self.method!r}.", "Use lightgbm or linear.")
        table = check_facts(self, X, self.categorical, reset=True)
        rows = _rows(table, y, censored, groups, sample_weight)
        self.is_baseline_ = len(table) < max(self.min_rows, 2) or np.ptp(rows.log_y) == 0
        if len(table) < self.min_rows:
            warnings.warn(
                TooLittleHistory(type(self).__name__, len(table), self.min_rows), stacklevel=2
            )
        self.levels_ = AdaptiveLevels(self.coverage, self.step)
        self.constants_ = _shrunk_constants(rows)
        self.fit_ = None if self.is_baseline_ else self._learn(rows)
        self.errors_ = SurvivalQuantiles([], [])
        self.errors_of_: dict[str, SurvivalQuantiles] = {}
        if self.fit_ is not None:
            errors = self._held_out_errors(rows)
            self.errors_ = SurvivalQuantiles(errors, rows.is_censored, rows.weight)
            self._measure_categories(rows, errors)
        return self

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Median time of each row at the level of now, shape (n_rows,)."""
        check_is_fitted(self)
        return self.predict_quantiles(X, [self.levels_.middle_])[:, 0]

    def predict_quantiles(self, X: ArrayLike | pd.DataFrame, levels: Sequence[float]) -> Floats:
        """Time that each row stays below with the given probabilities.

        Returns
        -------
        array, shape (n_rows, n_levels)
        """
        check_is_fitted(self)
        table = check_facts(self, X, self.categorical, reset=False)
        location, log_scale = self._predict(table)
        errors = self._errors(table, levels)
        found: Floats = np.exp(location[:, None] + np.exp(log_scale)[:, None] * errors)
        return found

    def predict_interval(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Lower and upper bound at the levels of now, shape (n_rows, 2)."""
        check_is_fitted(self)
        return self.predict_quantiles(X, [self.levels_.low_, self.levels_.high_])

    def recalibrate(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Move the levels of interval and median by outcomes that have become known."""
        observed = check_target(y)
        table = check_facts(self, X, self.categorical, reset=False)
        location, log_scale = self._predict(table)
        errors = (np.log(observed) - location) / np.exp(log_scale)
        # The interval that these outcomes were promised: its levels change after all are judged.
        levels = [self.levels_.low_, self.levels_.middle_, self.levels_.high_]
        low, middle, high = self._errors(table, levels).T
        weights = check_weight(sample_weight, len(table))
        for row, weight in enumerate(weights):
            self.levels_.update(
                below=bool(errors[row] < low[row]),
                above=bool(errors[row] > high[row]),
                under_median=bool(errors[row] < middle[row]),
                weight=float(weight),
            )
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.input_tags.allow_nan = False
        return tags

    def _learn(self, rows: "_Rows") -> "_Fit":
        design = Design(self.categorical, self.products, self.scales).fit(rows.table)
        if self.method == "linear":
            facts = rows.table[list(self.spread_columns)]
            spread = Design(self.spread_columns, scales=dict.fromkeys(facts, SPREAD_SCALE))
            linear = fit_linear(
                design.transform(rows.table),
                spread.fit(facts).transform(facts),
                rows.log_y,
                rows.is_censored,
                rows.weight,
            )
            return _Fit(design, spread, linear)
        parameters: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": min(self.min_child_samples, max(1, len(rows.table) // 5)),
            "num_threads": self.n_threads,
            "seed": self.random_state,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            "max_cat_to_onehot": 8,
            "cat_smooth": 10.0,
        }
        places = [design.columns_.index(column) for column in self.categorical]
        boosted = fit_boosted(
            codes(rows.table, design),
            places,
            rows.log_y,
            rows.is_censored,
            rows.weight,
            parameters=parameters,
            n_rounds=self.n_rounds,
        )
        return _Fit(design, None, boosted)

    def _predict(self, table: pd.DataFrame, fit: "_Fit | None" = None) -> tuple[Floats, Floats]:
        """Location and log scale, each (n_rows,)."""
        fit = fit or self.fit_
        if fit is None:
            location, log_scale = self.constants_
            return np.full(len(table), location), np.full(len(table), log_scale)
        if isinstance(fit.model, Boosted):
            return fit.model.predict(codes(table, fit.design))
        assert fit.spread is not None, fit
        log_scale = fit.spread.transform(table) @ fit.model.log_scale + fit.model.log_scale_0
        location = fit.design.transform(table) @ fit.model.location + fit.model.location_0
        return location, np.clip(log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE)

    def _errors(self, table: pd.DataFrame, levels: Sequence[float]) -> Floats:
        """Quantiles of each row's error, (n_rows, n_levels)."""
        errors = np.tile([self.errors_(level) for level in levels], (len(table), 1))
        if self.errors_by is not None:
            categories = table[self.errors_by].astype(str).to_numpy()
            for category, shape in self.errors_of_.items():
                errors[categories == category] = [shape(level) for level in levels]
        return errors

    def _measure_categories(self, rows: "_Rows", errors: Floats) -> None:
        if self.errors_by is None:
            return
        categories = rows.table[self.errors_by].astype(str).to_numpy()
        for category in np.unique(categories):
            own = categories == category
            if own.sum() >= ROWS_OF_OWN:
                self.errors_of_[category] = SurvivalQuantiles(
                    errors[own], rows.is_censored[own], rows.weight[own]
                )

    def _held_out_errors(self, rows: "_Rows") -> Floats:
        errors = np.empty(len(rows.table))
        folds = min(self.folds, len(np.unique(rows.groups)))
        if folds < 2:  # noqa: PLR2004 - one group cannot be held out from itself
            location, log_scale = self._predict(rows.table)
            return (rows.log_y - location) / np.exp(log_scale)
        groups = None if rows.is_ungrouped else rows.groups
        splitter = KFold(folds) if groups is None else GroupKFold(folds)
        for train, test in splitter.split(rows.log_y, groups=groups):
            fit = self._learn(rows.take(train))
            location, log_scale = self._predict(rows.table.iloc[test], fit)
            errors[test] = (rows.log_y[test] - location) / np.exp(log_scale)
        return errors


class _Fit(NamedTuple):
    design: Design
    spread: Design | None  # of a linear model
    model: Linear | Boosted


class _Rows(NamedTuple):
    table: pd.DataFrame
    log_y: Floats
    is_censored: Bools
    weight: Floats
    groups: NDArray[Any]
    is_ungrouped: bool

    def take(self, places: NDArray[np.int_]) -> "_Rows":
        return _Rows(
            self.table.iloc[places],
            self.log_y[places],
            self.is_censored[places],
            self.weight[places],
            self.groups[places],
            self.is_ungrouped,
        )


def _rows(
    table: pd.DataFrame,
    y: ArrayLike,
    censored: ArrayLike | None,
    groups: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> _Rows:
    times = check_target(y)
    n = len(table)
    is_censored = np.zeros(n, bool) if censored is None else np.asarray(censored, dtype=bool)
    weight = check_weight(sample_weight, n)
    ids = np.arange(n) if groups is None else np.asarray(groups)
    check_consistent_length(table, times, is_censored, weight, ids)
    if (wrong := int((times <= 0).sum())) > 0:
        raise ValuesInvalid(f"{wrong} times are not above 0.", "Correct them or drop these rows.")
    if is_censored.all():
        raise ValuesInvalid(
            "No row has finished: all are censored.", "Wait for the first work to finish."
        )
    return _Rows(table, np.log(times), is_censored, weight, ids, groups is None)


def _shrunk_constants(rows: _Rows) -> tuple[float, float]:
    location, log_scale = constants(rows.log_y, rows.is_censored)
    n = len(rows.log_y)
    variance = (n * np.exp(2 * log_scale) + PRIOR_ROWS) / (n + PRIOR_ROWS)
    return float(location), float(0.5 * np.log(variance))
