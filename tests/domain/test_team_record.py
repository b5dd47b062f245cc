"""What all agents together have shown at a kind of task."""

import pytest

from pm_agent.domain.team_record import TeamRecord
from pm_agent.domain.track_record import NO_RECORD, TrackRecord


def test_a_kind_that_nobody_has_tried_is_even_odds_of_no_outcomes() -> None:
    team = TeamRecord()
    team.know(0)
    assert team.rows.tolist() == [[0.5, 0.0, 0.0]]


def test_records_of_agents_are_summed_and_times_weighed_by_how_many_they_mean() -> None:
    team = TeamRecord()
    team.know(0)
    team.know(1)
    old, new = TrackRecord(1.0, 0.0, 10.0), TrackRecord(3.0, 1.0, 20.0)
    team.replace(1, NO_RECORD, old)
    team.replace(1, old, new)
    team.replace(1, NO_RECORD, TrackRecord(1.0, 3.0, 60.0))
    assert team.rows[1].tolist() == pytest.approx([5 / 10, 8.0, 30.0])
    assert team.rows[0].tolist() == [0.5, 0.0, 0.0]


def test_a_kind_is_begun_once() -> None:
    team = TeamRecord()
    team.know(0)
    team.replace(0, NO_RECORD, TrackRecord(1.0, 0.0, 5.0))
    team.know(0)
    assert team.rows.tolist() == [pytest.approx([2 / 3, 1.0, 5.0])]
