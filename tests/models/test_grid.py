"""Facts are placed on a grid: who is unknown is taken for the mean of all, and steps are coarse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.grid import (
    FORECAST_FACTS,
    GRID,
    Prior,
    grid_codes,
    grid_keys,
    grid_values,
    typical_codes,
)

PRIOR = Prior(success=0.7, pace_min=20.0)
COLUMNS = list(GRID)


def facts(**given: float) -> np.ndarray:
    """One candidate; an agent of which nothing is known unless it is said."""
    unknown = dict.fromkeys(("success", "agent_success", "team_success"), 0.5)
    known = unknown | {"level": 2.0, "agent_level": 1.0} | given
    return np.array([[known.get(name, 0.0) for name in FORECAST_FACTS]], dtype=np.float32)


def column(name: str, **given: float) -> float:
    return float(grid_values(grid_codes(facts(**given), PRIOR))[0, COLUMNS.index(name)])


def test_an_unknown_agent_is_taken_for_the_mean_of_all() -> None:
    assert column("ability") == pytest.approx(np.log2(0.7 / 0.3), abs=0.25)
    assert column("pace") == pytest.approx(np.log2(20.0), abs=0.25)
    codes = grid_codes(facts(), PRIOR)
    np.testing.assert_array_equal(codes, typical_codes(codes, PRIOR))


def test_what_an_agent_has_shown_counts_more_the_more_it_has_shown() -> None:
    few = column("ability", agent_success=0.75, agent_outcomes=2)  # both accepted
    many = column("ability", agent_success=0.95, agent_outcomes=20)  # all but one
    assert column("ability") < few < many


def test_success_at_a_kind_of_work_counts_beside_that_at_all_kinds() -> None:
    both = {"agent_success": 0.5, "agent_outcomes": 20}
    good = column("ability", success=0.9, kind_outcomes=10, **both)
    bad = column("ability", success=0.1, kind_outcomes=10, **both)
    assert bad < column("ability", **both) < good


def test_at_a_kind_an_agent_is_taken_for_as_much_better_than_the_team_as_elsewhere() -> None:
    hard = {"team_success": 0.2, "team_outcomes": 200}
    assert column("kind_ease", **hard) == pytest.approx(-2, abs=0.25)
    assert column("ability", **hard) == pytest.approx(column("kind_ease", **hard), abs=0.5)
    strong = {"agent_success": 0.9, "agent_outcomes": 100}
    assert column("ability", **hard) < column("ability", **hard, **strong)
    assert column("ability", **hard, **strong) < column("ability", **strong)
    typical = grid_values(typical_codes(grid_codes(facts(**hard, **strong), PRIOR), PRIOR))
    assert typical[0, COLUMNS.index("ability")] == column("kind_ease", **hard)


def test_facts_that_mean_nothing_do_not_stop_a_decision() -> None:
    broken = np.full((3, len(FORECAST_FACTS)), np.nan, dtype=np.float32)
    broken[1], broken[2] = np.inf, -1e30
    codes = grid_codes(broken, PRIOR)
    assert (np.abs(codes) <= 28).all()


def test_facts_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        grid_codes(np.zeros((2, 3), dtype=np.float32), PRIOR)


@given(
    st.lists(st.floats(-10, 2000), min_size=len(FORECAST_FACTS), max_size=len(FORECAST_FACTS)),
    st.data(),
)
def test_places_have_one_key_each(values: list[float], data: st.DataObject) -> None:
    first = grid_codes(np.array([values], dtype=np.float32), PRIOR)
    step = data.draw(st.sampled_from(range(len(GRID))))
    other = first.copy()
    size = list(GRID.values())[step]
    other[0, step] = size.low if first[0, step] > size.low else size.high
    assert grid_keys(first)[0] != grid_keys(other)[0]
    assert grid_keys(first)[0] == grid_keys(first.copy())[0]
