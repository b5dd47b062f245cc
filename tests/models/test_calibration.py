import numpy as np
import pytest

from models.calibration import AdaptiveLevels, SurvivalQuantiles, coverage


def test_quantiles_without_censoring_are_the_empirical_ones() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    quantiles = SurvivalQuantiles(values, np.zeros(2000, bool))
    for level in (0.1, 0.5, 0.9):
        assert quantiles(level) == pytest.approx(np.quantile(values, level), abs=0.02)


def test_quantiles_see_through_censoring() -> None:
    random = np.random.default_rng(0)
    values, limits = random.normal(size=(2, 5000))
    quantiles = SurvivalQuantiles(np.minimum(values, limits), values > limits)
    assert quantiles(0.5) == pytest.approx(0.0, abs=0.06)
    assert quantiles(0.8) == pytest.approx(0.84, abs=0.1)


def test_weights_count_as_repeated_rows() -> None:
    values = np.arange(50.0)
    twice = SurvivalQuantiles(np.repeat(values, 2), np.zeros(100, bool))
    weighted = SurvivalQuantiles(values, np.zeros(50, bool), np.full(50, 2.0))
    assert weighted(0.5) == pytest.approx(twice(0.5), abs=0.5)


def test_levels_beyond_what_was_seen_still_widen_an_interval() -> None:
    quantiles = SurvivalQuantiles(np.linspace(-1, 1, 50), np.zeros(50, bool))
    assert quantiles(0.9999) > quantiles(0.999) > quantiles(0.99) > quantiles(0.8)
    assert SurvivalQuantiles([], [])(0.975) == pytest.approx(1.96, abs=0.01)


@pytest.mark.parametrize("shift", [0.0, 0.7, -0.7])
def test_levels_follow_a_shift_until_coverage_is_what_was_asked(shift: float) -> None:
    random = np.random.default_rng(0)
    quantiles = SurvivalQuantiles(random.normal(size=1000), np.zeros(1000, bool))
    levels = AdaptiveLevels(0.8)
    inside, below_median = [], []
    for error in random.normal(size=2000) + shift:
        low, high = quantiles(levels.low_), quantiles(levels.high_)
        inside.append(low <= error <= high)
        under_median = error < quantiles(levels.middle_)
        below_median.append(under_median)
        levels.update(below=error < low, above=error > high, under_median=under_median)
    assert np.mean(inside) == pytest.approx(0.8, abs=0.02)
    assert np.mean(below_median) == pytest.approx(0.5, abs=0.03)
    assert np.mean(inside[:500]) == pytest.approx(0.8, abs=0.04)


def test_levels_never_leave_their_side() -> None:
    levels = AdaptiveLevels(0.8, step=0.5)
    for _ in range(50):
        levels.update(below=True, above=True, under_median=True)
    assert 0 < levels.low_ < 0.5 < levels.high_ < 1
    for _ in range(50):
        levels.update(below=False, above=False, under_median=False)
    assert 0 < levels.low_ < 0.5 < levels.high_ < 1


def test_coverage_weighs_rows() -> None:
    assert coverage([1.0, 9.0], [[0, 2], [0, 2]]) == 0.5
    assert coverage([1.0, 9.0], [[0, 2], [0, 2]], [3.0, 1.0]) == 0.75
