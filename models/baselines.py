"""What a model must beat: constants and counts, as estimators of the same kind.

In our trials such simple things won more often than not: a rolling median over story points beats
all published networks, and recent counts beat trained rankers where people come and go.
"""

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from models.design import Column, check_target
from models.errors import ColumnsMissing

Floats = NDArray[np.float64]


class MedianBaseline(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """The median of the last rows, with their quantiles as interval.

    Parameters
    ----------
    window : int, optional
        How many of the last rows count; all when None. 50 is a good choice where projects drift.
    coverage : float
        Share that `predict_interval` should cover.

    Examples
    --------
    >>> MedianBaseline(window=3).fit([[0]] * 5, [9, 9, 1, 2, 3]).predict([[0]]).tolist()
    [2.0]
    """

    def __init__(self, window: int | None = None, *, coverage: float = 0.8) -> None:
        self.window = window
        self.coverage = coverage

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Keep the last targets; rows are in time order."""
        facts = validate_data(self, X)
        self.recent_: Floats = check_target(y)
        check_consistent_length(facts, self.recent_)
        return self._trim()

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Add rows that have become known."""
        if not hasattr(self, "recent_"):
            return self.fit(X, y)
        validate_data(self, X, reset=False)
        self.recent_ = np.concatenate([self.recent_, check_target(y)])
        return self._trim()

    def predict(self, X: ArrayLike) -> Floats:
        """The median for each row, shape (n_rows,)."""
        return self._quantiles(X, [0.5])[:, 0]

    def predict_interval(self, X: ArrayLike) -> Floats:
        """Bounds for each row, shape (n_rows, 2)."""
        miss = (1 - self.coverage) / 2
        return self._quantiles(X, [miss, 1 - miss])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # it looks at no column
        return tags

    def _quantiles(self, X: ArrayLike, levels: list[float]) -> Floats:
        check_is_fitted(self)
        n_rows = len(validate_data(self, X, reset=False))
        return np.tile(np.quantile(self.recent_, levels), (n_rows, 1))

    def _trim(self) -> Self:
        if self.window is not None:
            self.recent_ = self.recent_[-self.window :]
        return self


class CategoryMean(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """The mean of a category, such as an agent, drawn to the mean of all while rows are few.

    For outcomes of 0 and 1 it is a probability.

    Parameters
    ----------
    column : column
        Name (position, for arrays) of the category. Unknown ones get the mean of all.
    prior_rows : float
        As many rows with the mean of all are imagined for each category.
    decay : float
        Each new row of a category multiplies what its older rows count; 1 forgets nothing. 0.967
        lets about the last 30 rows matter.

    Attributes
    ----------
    mean_ : float
        Of all rows.
    means_ : dict of str to float
    """

    def __init__(self, column: Column = 0, *, prior_rows: float = 2.0, decay: float = 1.0) -> None:
        self.column = column
        self.prior_rows = prior_rows
        self.decay = decay

    def fit(self, X: ArrayLike | pd.DataFrame, y: ArrayLike) -> Self:
        """Learn from rows in time order."""
        categories = self._categories(X, reset=True)
        target = check_target(y)
        check_consistent_length(categories, target)
        self.mean_ = float(target.mean())
        self.means_: dict[str, float] = {}
        for category, places in pd.Series(categories).groupby(categories).indices.items():
            weight = self.decay ** np.arange(len(places))[::-1]
            total = weight @ target[places] + self.prior_rows * self.mean_
            self.means_[str(category)] = float(total / (weight.sum() + self.prior_rows))
        return self

    def predict(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """The mean for each row, shape (n_rows,)."""
        check_is_fitted(self)
        found = (self.means_.get(c, self.mean_) for c in self._categories(X, reset=False))
        return np.fromiter(found, dtype=float)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = True
        tags.regressor_tags.poor_score = True  # it looks at one column
        return tags

    def _categories(self, X: ArrayLike | pd.DataFrame, *, reset: bool) -> NDArray[Any]:
        if isinstance(X, pd.DataFrame):
            if self.column not in X.columns:
                raise ColumnsMissing(f"The facts lack {self.column!r}.")
            validate_data(self, X, reset=reset, skip_check_array=True)
            return np.asarray(X[self.column].astype(str))
        facts = validate_data(self, X, reset=reset, dtype=None)
        return np.asarray(facts[:, self.column], dtype=str)


def baselines() -> dict[str, BaseEstimator]:
    """Baselines by name, unfitted: what each report shows beside a model.

    ``agent_mean`` and ``decay_counts`` read the category in the first column.
    """
    return {
        "median": MedianBaseline(),
        "rolling_median": MedianBaseline(window=50),
        "agent_mean": CategoryMean(),
        "decay_counts": CategoryMean(decay=0.967),
    }
