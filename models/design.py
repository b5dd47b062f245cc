"""A table of facts as a matrix: categories as indicator columns, numbers standardised.

Each block of columns gets a scale. Under a ridge penalty the scale is the standard deviation that
its effects have a priori, so a category seen often keeps its own effect, a rare one is drawn to
the mean of all, and an unknown one has effect zero: it is treated like the mean. That is the
hierarchical fallback for agents, projects and kinds of task that are new.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from models.errors import ColumnsMissing, ValuesInvalid

# Deviations. Far beyond all that was seen a straight line says nothing, and its exponential less.
FURTHEST = 5.0

Column = Hashable  # a DataFrame's column name, or the position in an array
Floats = NDArray[np.float64]


class Design:
    """Turn facts into a sparse matrix.

    Parameters
    ----------
    categorical : sequence of columns
        One indicator a category. All others are numbers.
    products : sequence of pairs of columns
        Interactions: each indicator or number of the first times each of the second.
    scales : mapping of column or pair to float
        Standard deviation of the effects a priori; 1 where absent. 0 leaves the column out.
    """

    def __init__(
        self,
        categorical: Sequence[Column] = (),
        products: Sequence[tuple[Column, Column]] = (),
        scales: Mapping[Hashable, float] | None = None,
    ) -> None:
        self.categorical = tuple(categorical)
        self.products = tuple(products)
        self.scales = dict(scales or {})

    def fit(self, X: pd.DataFrame) -> "Design":
        """Learn categories, means and standard deviations."""
        self.columns_: list[Column] = list(X.columns)
        needed = [*self.categorical, *(column for pair in self.products for column in pair)]
        if missing := [column for column in needed if column not in self.columns_]:
            raise ColumnsMissing(f"The facts lack {missing}.")
        self.categories_ = {
            column: pd.Index(X[column].astype(str).unique()).sort_values()
            for column in self.categorical
        }
        numbers = [column for column in self.columns_ if column not in self.categories_]
        self.means_: dict[Column, float] = {c: float(X[c].mean()) for c in numbers}
        self.deviations_: dict[Column, float] = {c: float(X[c].std(ddof=0)) for c in numbers}
        return self

    def transform(self, X: pd.DataFrame) -> sparse.csr_array:
        """Matrix of the same columns whatever the rows; unknown categories are zero rows.

        Returns
        -------
        csr_array, shape (n_rows, n_effects)
        """
        if missing := [column for column in self.columns_ if column not in X.columns]:
            raise ColumnsMissing(f"The facts lack {missing}.")
        numbers = list(self.means_)
        # One block for all numbers: a table may have dozens, and a block costs as much as its rows.
        scales = np.array([self.scales.get(column, 1.0) for column in numbers])
        scaled = [sparse.csr_array(self._standardised(X, numbers) * scales)]
        scaled += [self._block(X, c) * self.scales.get(c, 1.0) for c in self.categories_]
        scaled += [
            _product(self._block(X, first), self._block(X, second))
            * self.scales.get((first, second), 1.0)
            for first, second in self.products
        ]
        return sparse.hstack(scaled, format="csr")

    def unknown_variance(self, X: pd.DataFrame) -> Floats:
        """Variance, a priori, of the effects of categories not seen in `fit`, (n_rows,)."""
        unknown = {
            column: categories.get_indexer(X[column].astype(str)) < 0
            for column, categories in self.categories_.items()
        }
        variance = np.zeros(len(X))
        for column, is_unknown in unknown.items():
            variance += is_unknown * self.scales.get(column, 1.0) ** 2
        for first, second in self.products:
            either = unknown.get(first, False) | unknown.get(second, np.zeros(len(X), bool))
            variance += either * self.scales.get((first, second), 1.0) ** 2
        return variance

    def _block(self, X: pd.DataFrame, column: Column) -> sparse.csr_array:
        if column in self.categories_:
            codes = self.categories_[column].get_indexer(X[column].astype(str))
            known = np.flatnonzero(codes >= 0)
            shape = (len(X), len(self.categories_[column]))
            return sparse.csr_array((np.ones(len(known)), (known, codes[known])), shape=shape)
        return sparse.csr_array(self._standardised(X, [column]))

    def _standardised(self, X: pd.DataFrame, numbers: list[Column]) -> Floats:
        """(n_rows, n_numbers); a column that was constant is zero."""
        centred = X[numbers].to_numpy(float) - [self.means_[column] for column in numbers]
        deviations = np.array([self.deviations_[column] for column in numbers])
        found: Floats = np.where(
            deviations > 0, centred / np.where(deviations > 0, deviations, 1), 0
        )
        return np.clip(found, -FURTHEST, FURTHEST)


def _product(first: sparse.csr_array, second: sparse.csr_array) -> sparse.csr_array:
    """Row-wise Kronecker product, (n_rows, n_first * n_second)."""
    places = np.repeat(np.arange(first.shape[1]), second.shape[1])
    others = np.tile(np.arange(second.shape[1]), first.shape[1])
    return sparse.csr_array(first[:, places].multiply(second[:, others]))


def codes(X: pd.DataFrame, design: Design) -> Floats:
    """Facts as LightGBM wants them: a category's number, NaN when unknown.

    Returns
    -------
    array, shape (n_rows, n_columns)
    """
    found = np.empty((len(X), len(design.columns_)))
    for place, column in enumerate(design.columns_):
        if column in design.categories_:
            number = design.categories_[column].get_indexer(X[column].astype(str))
            found[:, place] = np.where(number >= 0, number, np.nan)
        else:
            found[:, place] = X[column].to_numpy(float)
    return found


def check_facts(
    estimator: BaseEstimator,
    X: ArrayLike | pd.DataFrame,
    categorical: Sequence[Column],
    *,
    reset: bool,
) -> pd.DataFrame:
    """Facts as a table, after scikit-learn's checks of names, shapes and numbers.

    Raises
    ------
    ColumnsMissing
        A DataFrame that lacks a column seen in `fit`.
    ValuesInvalid
        A number is missing, infinite or not a number at all. A missing category is one of its own.
    """
    if not isinstance(X, pd.DataFrame) or not categorical:
        return pd.DataFrame(_numbers(validate_data, estimator, X, reset=reset, dtype=float))
    if not reset:
        seen = list(estimator.feature_names_in_)
        if missing := [column for column in seen if column not in X.columns]:
            raise ColumnsMissing(f"The facts lack {missing}.")
        X = X[seen]
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    numbers = [column for column in X.columns if column not in categorical]
    if numbers:
        _numbers(check_array, X[numbers], dtype=float, estimator=estimator)
    return X


def check_target(y: object) -> Floats:
    """Finite numbers, shape (n_rows,).

    Raises
    ------
    ValuesInvalid
    """
    if y is None:
        raise ValuesInvalid("This model requires y to be passed, but the target y is None.")
    target = _numbers(check_array, y, ensure_2d=False, dtype=float, input_name="y")
    return np.asarray(column_or_1d(target, warn=True))


def check_weight(sample_weight: ArrayLike | None, n_rows: int) -> Floats:
    """Weights, shape (n_rows,); all 1 when none are given."""
    if sample_weight is None:
        return np.ones(n_rows)
    weight: Floats = _numbers(check_array, sample_weight, ensure_2d=False, dtype=float)
    if weight.shape != (n_rows,) or (weight < 0).any() or weight.sum() <= 0:
        raise ValuesInvalid(
            f"sample_weight has shape {weight.shape}; {n_rows} weights from 0 up are needed, "
            "and weights that are all zero leave nothing to learn."
        )
    return weight


def _numbers(check: Callable[..., Any], *args: object, **options: object) -> Any:
    try:
        return check(*args, **options)
    except ValueError as error:
        raise ValuesInvalid(str(error)) from error
