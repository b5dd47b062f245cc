"""The pick: best first, chance among near-ties, and a propensity that is right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pm_agent.features.assignment.pick import N_EXPLAINED, pick, uniform

scores_lists = st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=1, max_size=30)


@given(scores_lists, st.integers(0, 2**53))
def test_the_best_is_taken_without_exploration(scores: list[float], seed: int) -> None:
    found = pick(np.array(scores), seed, 0.0, 0.05)
    assert scores[found.chosen] == max(scores)
    assert found.chosen == scores.index(max(scores))  # equal scores keep their order


@given(scores_lists, st.integers(0, 2**53))
def test_a_pick_stays_among_near_ties(scores: list[float], seed: int) -> None:
    found = pick(np.array(scores), seed, 1.0, 0.05)
    assert scores[found.chosen] >= max(scores) - 0.05 - 1e-9
    assert found.chosen in found.ranked
    assert len(found.ranked) <= N_EXPLAINED


@given(scores_lists, st.integers(0, 2**53), st.sampled_from([0.0, 0.03, 1.0]))
def test_a_pick_can_be_repeated(scores: list[float], seed: int, exploration: float) -> None:
    array = np.array(scores)
    assert pick(array, seed, exploration, 0.02) == pick(array, seed, exploration, 0.02)


@pytest.mark.parametrize("exploration", [0.03, 0.5, 1.0])
def test_propensities_match_frequencies(exploration: float) -> None:
    scores, n = np.array([0.90, 0.89, 0.885, 0.5]), 20_000
    times = np.zeros(4)
    told: dict[int, float] = {}
    for seed in range(n):
        found = pick(scores, seed * 7919, exploration, 0.02)
        times[found.chosen] += 1
        told[found.chosen] = found.propensity
    assert times[3] == 0
    assert sum(told.values()) == pytest.approx(1.0)
    for index, propensity in told.items():
        deviation = (propensity * (1 - propensity) / n) ** 0.5
        assert abs(times[index] / n - propensity) <= 4 * deviation


def test_numbers_drawn_from_seeds_are_uniform() -> None:
    drawn = np.array([uniform(seed, stream) for seed in range(5000) for stream in (0, 1)])
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    counts, _ = np.histogram(drawn, bins=10, range=(0, 1))
    assert np.abs(counts - 1000).max() < 130  # four deviations
