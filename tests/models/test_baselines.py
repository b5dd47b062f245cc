import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from models.baselines import CategoryMean, MedianBaseline, baselines
from models.errors import ColumnsMissing


def test_a_rolling_median_forgets() -> None:
    model = MedianBaseline(window=3).fit(np.zeros((4, 1)), [100.0, 1.0, 2.0, 3.0])
    assert model.predict([[0.0]])[0] == 2.0
    model.partial_fit(np.zeros((2, 1)), [8.0, 9.0])
    assert model.predict([[0.0]])[0] == 8.0


def test_the_median_has_the_interval_of_its_rows() -> None:
    model = MedianBaseline().fit(np.zeros((101, 1)), np.arange(101.0))
    np.testing.assert_allclose(model.predict_interval([[0.0]])[0], [10, 90])


def test_a_rare_category_is_drawn_to_the_mean_of_all() -> None:
    facts = pd.DataFrame({"agent": ["often"] * 98 + ["once", "once"]})
    outcomes = [1.0, 0.0] * 49 + [1.0, 1.0]
    model = CategoryMean("agent").fit(facts, outcomes)
    often, once, never = model.predict(pd.DataFrame({"agent": ["often", "once", "never"]}))
    assert often == pytest.approx(0.5, abs=0.01)
    assert 0.7 < once < 0.8
    assert never == pytest.approx(0.51)


def test_decayed_counts_follow_an_agent_that_changed() -> None:
    facts = pd.DataFrame({"agent": ["a"] * 200})
    outcomes = [0.0] * 150 + [1.0] * 50
    kept = CategoryMean("agent").fit(facts, outcomes).predict(facts.head(1))[0]
    decayed = CategoryMean("agent", decay=0.967).fit(facts, outcomes).predict(facts.head(1))[0]
    assert kept == pytest.approx(0.25, abs=0.01)
    assert decayed > 0.75


def test_a_missing_category_column_is_named() -> None:
    with pytest.raises(ColumnsMissing, match="agent"):
        CategoryMean("agent").fit(pd.DataFrame({"repo": ["x"]}), [1.0])


def test_every_baseline_can_be_cloned_and_fitted() -> None:
    for name, baseline in baselines().items():
        fitted = clone(baseline).fit(np.zeros((5, 1)), np.arange(5.0))
        assert fitted.predict(np.zeros((2, 1))).shape == (2,), name
