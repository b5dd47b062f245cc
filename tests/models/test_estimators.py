"""scikit-learn's own checks of every estimator of this part."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from models.baselines import CategoryMean, MedianBaseline
from models.duration import DurationModel
from models.effort import EffortModel
from models.outcome import OutcomeModel

# With min_rows the models answer with a baseline on the small data of these checks.
ESTIMATORS: list[BaseEstimator] = [
    DurationModel("linear", min_rows=1),
    DurationModel("lightgbm", min_rows=1, n_rounds=20),
    EffortModel(min_rows=1),
    OutcomeModel(min_rows=1),
    OutcomeModel("lightgbm", min_rows=1),
    MedianBaseline(),
    MedianBaseline(window=10),
    CategoryMean(),
]


def _expected_failures(estimator: BaseEstimator) -> dict[str, str]:
    if isinstance(estimator, DurationModel | OutcomeModel):
        return {
            "check_sample_weight_equivalence_on_dense_data": (
                "A row of weight 0 still takes part in standardising facts and in making folds."
            )
        }
    return {}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=_expected_failures)
def test_an_estimator_keeps_the_conventions_of_scikit_learn(
    estimator: Any, check: Callable[[Any], None], request: pytest.FixtureRequest
) -> None:
    with warnings.catch_warnings():
        # The checks provoke warnings on purpose, such as of a column vector for a target.
        warnings.simplefilter("ignore")
        check(estimator)
