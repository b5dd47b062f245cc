"""Small nouns: ids, instants, levels, caps, track records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pm_agent.domain.envelope import Usage
from pm_agent.domain.ids import MAX_SLUG, agent_id, slug, task_id, task_number
from pm_agent.domain.project import Project, cap_reached
from pm_agent.domain.task import Task
from pm_agent.domain.time import iso
from pm_agent.domain.track_record import NO_RECORD, TrackRecord, with_outcome


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Ada", "ada"), ("Ada  Lovelace!", "ada-lovelace"), ("--x--", "x"), ("ß", ""), ("", "")],
)
def test_a_slug_has_letters_digits_and_single_dashes(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text(max_size=80))
def test_a_slug_of_a_slug_is_itself(name: str) -> None:
    once = slug(name)
    assert slug(once) == once
    assert len(once) <= MAX_SLUG
    assert agent_id(name) == f"A-{once}"


@given(st.integers(1, 10**9))
def test_a_task_id_holds_its_number(number: int) -> None:
    assert task_number(task_id(number)) == number


def test_instants_are_told_in_utc() -> None:
    assert iso(1_750_000_000_123_000) == "2025-06-15T15:06:40.123Z"


@pytest.mark.parametrize(
    ("complexity", "estimate_min", "level"),
    [(0, 0, 1), (0, 30, 1), (0, 31, 2), (0, 120, 3), (0, 121, 4), (0, 481, 5), (2, 481, 2)],
)
def test_a_level_is_given_or_follows_from_the_estimate(
    complexity: int, estimate_min: int, level: int
) -> None:
    task = Task(
        id="T-1",
        number=1,
        project_id="P-web",
        title="t",
        complexity=complexity,
        estimate_min=estimate_min,
    )
    assert task.level == level


@pytest.mark.parametrize(
    ("added", "named"),
    [(Usage(99, 99), ""), (Usage(100, 0), "token cap"), (Usage(0, 500), "cost cap")],
)
def test_a_cap_is_reached_at_its_value(added: Usage, named: str) -> None:
    project = Project(id="P-web", name="web", token_cap=100, cost_cap_microusd=500)
    assert cap_reached(project, added).startswith(named)
    assert bool(cap_reached(project, added)) == bool(named)


def test_without_caps_none_is_reached() -> None:
    assert cap_reached(Project(id="P-web", name="web"), Usage(10**12, 10**12)) == ""


@given(st.lists(st.booleans(), max_size=200))
def test_a_track_record_stays_a_share_and_forgets(outcomes: list[bool]) -> None:
    record: TrackRecord = NO_RECORD
    for accepted in outcomes:
        record = with_outcome(record, accepted=accepted, duration_min=7.0)
        assert 0.0 < record.success < 1.0
        assert record.accepted + record.failed <= 1 / (1 - 0.967) + 1e-6
    if any(outcomes):
        assert record.duration_min == pytest.approx(7.0)
