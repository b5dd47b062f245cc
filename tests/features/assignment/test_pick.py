"""The pick: best first, chance among near-ties, turns for who waits, and right propensities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pm_agent.features.assignment.pick import N_EXPLAINED, Chances, pick, uniform

scores_lists = st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=1, max_size=30)


@given(scores_lists, st.integers(0, 2**53))
def test_the_best_is_taken_when_nothing_is_left_to_chance(scores: list[float], seed: int) -> None:
    found = pick(np.array(scores), seed, Chances(0.0, 0.05))
    assert scores[found.chosen] == max(scores)
    assert found.chosen == scores.index(max(scores))  # equal scores keep their order
    assert found.propensity == 1.0


@given(scores_lists, st.integers(0, 2**53))
def test_a_pick_stays_among_near_ties(scores: list[float], seed: int) -> None:
    found = pick(np.array(scores), seed, Chances(1.0, 0.05))
    assert scores[found.chosen] >= max(scores) - 0.05 - 1e-9
    assert found.chosen in found.ranked
    assert len(found.ranked) <= N_EXPLAINED


@given(scores_lists, st.integers(0, 2**53))
def test_a_full_reserve_takes_whose_turn_it_is(scores: list[float], seed: int) -> None:
    first = seed % len(scores)
    found = pick(np.array(scores), seed, Chances(0.5, 0.05, 1.0, first))
    assert (found.chosen, found.propensity) == (first, 1.0)


@given(scores_lists, st.integers(0, 2**53), st.sampled_from([0.0, 0.03, 1.0]))
def test_a_pick_can_be_repeated(scores: list[float], seed: int, exploration: float) -> None:
    array, chances = np.array(scores), Chances(exploration, 0.02, 0.1, seed % len(scores))
    assert pick(array, seed, chances) == pick(array, seed, chances)


@pytest.mark.parametrize("exploration", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize(("reserve", "first"), [(0.0, 0), (0.1, 0), (0.1, 1), (0.1, 3), (0.7, 3)])
def test_propensities_match_frequencies(exploration: float, reserve: float, first: int) -> None:
    scores, n = np.array([0.90, 0.89, 0.885, 0.5]), 10_000
    times = np.zeros(4)
    told: dict[int, float] = {}
    for seed in range(n):
        found = pick(scores, seed * 7919, Chances(exploration, 0.02, reserve, first))
        times[found.chosen] += 1
        told[found.chosen] = found.propensity
    assert times[3] == 0 or first == 3
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


def test_the_numbers_of_one_seed_have_nothing_to_do_with_each_other() -> None:
    drawn = np.array([[uniform(seed, stream) for stream in range(3)] for seed in range(5000)])
    correlations = np.corrcoef(drawn, rowvar=False)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.06  # four deviations
