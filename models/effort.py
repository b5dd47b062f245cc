"""What an attempt will take: model calls, tokens, dollars."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from models.calibration import STEP
from models.design import Column, check_facts
from models.duration import DurationModel
from models.errors import ValuesInvalid

Floats = NDArray[np.float64]

SMALLEST_SHARE = 0.01  # of the median: what a use of nothing is taken for, since logs need more


class EffortModel(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Several uses of one attempt, each with a median and an interval.

    Every column of ``y`` gets a `DurationModel`: uses are spread as durations are, over decades,
    and an attempt that was cut short is a lower bound here as well.

    Parameters
    ----------
    targets : sequence of str
        Names of the columns of ``y``.
    method, categorical, products, scales, spread_columns, coverage, step, min_rows
        As in `models.duration.DurationModel`.

    Attributes
    ----------
    models_ : dict of str to DurationModel
    """

    def __init__(
        self,
        targets: Sequence[str] = ("calls", "tokens", "cost_usd"),
        *,
        method: str = "linear",
        categorical: Sequence[Column] = (),
        products: Sequence[tuple[Column, Column]] = (),
        scales: Mapping[Hashable, float] | None = None,
        spread_columns: Sequence[Column] = (),
        coverage: float = 0.8,
        step: float = STEP,
        min_rows: int = 30,
    ) -> None:
        self.targets = targets
        self.method = method
        self.categorical = categorical
        self.products = products
        self.scales = scales
        self.spread_columns = spread_columns
        self.coverage = coverage
        self.step = step
        self.min_rows = min_rows

    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike,
        *,
        censored: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Learn from attempts in time order.

        Parameters
        ----------
        X : array-like or DataFrame, shape (n_rows, n_columns)
        y : array-like, shape (n_rows, n_targets) or (n_rows,)
            Uses, from 0 up.
        censored : array-like of bool, shape (n_rows,), optional
            True where the attempt was cut short.
        groups : array-like, shape (n_rows,), optional

        Raises
        ------
        ValuesInvalid
        """
        if y is None:
            raise ValuesInvalid("This model requires y to be passed, but the target y is None.")
        check_facts(self, X, self.categorical, reset=True)
        try:
            uses = check_array(y, ensure_2d=False, dtype=float, input_name="y")
        except ValueError as error:
            raise ValuesInvalid(str(error)) from error
        if uses.ndim > 1 and uses.shape[1] == 1:
            uses = column_or_1d(uses, warn=True)
        self.is_single_ = uses.ndim == 1
        uses = uses.reshape(len(uses), -1)
        names = self._names(uses.shape[1])
        if (uses < 0).any():
            raise ValuesInvalid("Some uses are below 0.", "Correct them or drop these rows.")
        self.models_ = {
            name: self._model().fit(X, _above_zero(use), censored=censored, groups=groups)
            for name, use in zip(names, uses.T, strict=True)
        }
        return self

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Median uses, shape (n_rows, n_targets), or (n_rows,) when ``y`` was so."""
        check_is_fitted(self)
        check_facts(self, X, self.categorical, reset=False)
        found = np.column_stack([model.predict(X) for model in self.models_.values()])
        return found[:, 0] if self.is_single_ else found

    def predict_interval(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Bounds of each use, shape (n_rows, n_targets, 2), or (n_rows, 2)."""
        check_is_fitted(self)
        found = np.stack([model.predict_interval(X) for model in self.models_.values()], axis=1)
        return found[:, 0] if self.is_single_ else found

    def recalibrate(self, X: ArrayLike | pd.DataFrame, y: ArrayLike) -> Self:
        """Move the intervals' levels by uses that have become known."""
        check_is_fitted(self)
        uses = np.asarray(y, dtype=float).reshape(-1, len(self.models_))
        for model, use in zip(self.models_.values(), uses.T, strict=True):
            model.recalibrate(X, _above_zero(use))
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags

    def _names(self, n_targets: int) -> list[str]:
        if self.is_single_:
            return ["use"]
        if n_targets != len(self.targets):
            raise ValuesInvalid(
                f"y has {n_targets} columns; the targets are {', '.join(self.targets)}."
            )
        return list(self.targets)

    def _model(self) -> DurationModel:
        return DurationModel(
            self.method,
            categorical=self.categorical,
            products=self.products,
            scales=self.scales,
            spread_columns=self.spread_columns,
            coverage=self.coverage,
            step=self.step,
            min_rows=self.min_rows,
        )


def _above_zero(use: Floats) -> Floats:
    above = use[use > 0]
    smallest = float(np.median(above)) * SMALLEST_SHARE if len(above) else 1.0
    return np.maximum(use, smallest)
