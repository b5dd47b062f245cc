import numpy as np
import pandas as pd
import pytest

from models.calibration import coverage
from models.duration import DurationModel
from models.errors import ColumnsMissing, TooLittleHistory, ValuesInvalid


def _times(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Facts, and log-normal times whose location and spread depend on them."""
    random = np.random.default_rng(seed)
    facts = random.normal(size=(n_rows, 3))
    spread = np.where(facts[:, 1] > 0, 0.9, 0.6)
    return facts, np.exp(3 + 0.8 * facts[:, 0] + spread * random.normal(size=n_rows))


def _censored(times: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    limits = np.exp(np.random.default_rng(seed).normal(3.2, 1.0, len(times)))
    return np.minimum(times, limits), times > limits


@pytest.mark.parametrize("method", ["linear", "lightgbm"])
def test_the_median_is_found_though_45_percent_of_rows_are_censored(method: str) -> None:
    facts, times = _times(3000, seed=1)
    seen, is_censored = _censored(times, seed=2)
    new_facts, new_times = _times(2000, seed=3)
    assert 0.40 < is_censored.mean() < 0.50

    model = DurationModel(method, n_rounds=80).fit(facts, seen, censored=is_censored)
    naive = DurationModel(method, n_rounds=80).fit(facts, seen)

    assert (new_times <= model.predict(new_facts)).mean() == pytest.approx(0.5, abs=0.04)
    assert (new_times <= naive.predict(new_facts)).mean() < 0.38
    assert coverage(new_times, model.predict_interval(new_facts)) == pytest.approx(0.8, abs=0.04)


def test_intervals_hold_after_a_slow_down_by_1_6() -> None:
    model = DurationModel("linear").fit(*_times(2000, seed=1))
    facts, times = _times(2000, seed=2)
    slow = 1.6 * times
    before = coverage(slow, model.predict_interval(facts))
    intervals = np.empty((len(slow), 2))
    for start in range(0, len(slow), 20):
        rows = slice(start, start + 20)
        intervals[rows] = model.predict_interval(facts[rows])
        model.recalibrate(facts[rows], slow[rows])
    assert before < 0.76
    assert 0.76 < coverage(slow, intervals) < 0.84


def test_categories_share_strength_and_a_new_one_is_taken_for_the_mean() -> None:
    random = np.random.default_rng(0)
    agents = np.repeat(["slow", "fast"], 200)
    times = np.exp(np.where(agents == "slow", 4.0, 2.0) + 0.3 * random.normal(size=400))
    model = DurationModel("linear", categorical=["agent"]).fit(
        pd.DataFrame({"agent": agents}), times
    )
    slow, fast, unknown = model.predict(pd.DataFrame({"agent": ["slow", "fast", "who?"]}))
    assert slow == pytest.approx(np.exp(4), rel=0.15)
    assert fast == pytest.approx(np.exp(2), rel=0.15)
    assert fast < unknown < slow


@pytest.mark.parametrize("method", ["linear", "lightgbm"])
def test_an_agent_with_a_wide_spread_gets_a_wide_interval(method: str) -> None:
    random = np.random.default_rng(0)
    agents = np.tile(["steady", "wild"], 400)
    spread = np.where(agents == "wild", 1.5, 0.3)
    facts = pd.DataFrame({"agent": agents})
    model = DurationModel(
        method, categorical=["agent"], spread_columns=["agent"], errors_by="agent"
    ).fit(facts, np.exp(spread * random.normal(size=800)))
    low, high = model.predict_interval(facts.head(2)).T
    assert np.log(high / low)[1] > 3 * np.log(high / low)[0]


def test_with_too_little_history_it_says_how_much_is_missing_and_gives_one_median() -> None:
    with pytest.warns(TooLittleHistory, match="when 25 more are known"):
        model = DurationModel().fit([[1.0], [2.0], [3.0], [4.0], [5.0]], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert model.is_baseline_
    first, last = model.predict([[1.0], [5.0]])
    assert first == last
    low, high = model.predict_interval([[1.0]])[0]
    assert low < first < high


def test_a_constant_target_is_answered_by_itself() -> None:
    model = DurationModel().fit(np.arange(40.0)[:, None], np.full(40, 7.0))
    assert model.is_baseline_
    assert model.predict([[3.0]])[0] == pytest.approx(7.0)


def test_the_same_data_give_the_same_model() -> None:
    facts, times = _times(300, seed=1)
    first, second = (DurationModel(n_rounds=20).fit(facts, times).predict(facts) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("times", "censored", "message"),
    [
        ([1.0, 0.0], None, "1 times are not above 0"),
        ([1.0, float("nan")], None, "NaN"),
        ([1.0, 2.0], [True, True], "No row has finished"),
    ],
)
def test_times_that_mean_nothing_are_refused(
    times: list[float], censored: list[bool] | None, message: str
) -> None:
    with pytest.raises(ValuesInvalid, match=message) as refusal:
        DurationModel(min_rows=0).fit([[1.0], [2.0]], times, censored=censored)
    assert refusal.value.code == "values_invalid"
    assert refusal.value.next_step


def test_facts_with_nan_or_without_a_column_are_refused() -> None:
    facts = pd.DataFrame({"agent": ["a", "b"] * 20, "size": np.arange(40.0)})
    model = DurationModel("linear", categorical=["agent"]).fit(facts, np.arange(1.0, 41.0))
    with pytest.raises(ValuesInvalid, match="NaN"):
        model.predict(facts.assign(size=np.nan))
    with pytest.raises(ColumnsMissing, match="size"):
        model.predict(facts[["agent"]])
