"""The world as a fold: dependency counters, indexes, usage, and equal worlds equal prints."""

import pytest

from pm_agent.domain.assignment import ProgressReported
from pm_agent.domain.envelope import Event
from pm_agent.domain.project import ProjectCreated
from pm_agent.domain.tables import Tables
from pm_agent.domain.world import World
from pm_agent.kernel.chain import unseal
from tests.scenario import Scenario, a_project, an_agent, complete, release


def event(position: int, project_id: str = "P-web") -> Event:
    data = ProjectCreated(project_id=project_id, name=project_id)
    return Event(position, 5, 1, "person:pat", "r", data)


def test_events_come_in_order_and_each_once() -> None:
    world = World()
    world.apply(event(1))
    for wrong in (1, 3):
        with pytest.raises(AssertionError):
            world.apply(event(wrong, "P-app"))


def test_equal_journals_fold_to_equal_worlds(team: Scenario) -> None:
    for _ in range(3):
        team.new_task()
        given = team.assigned()
        team.given(complete(given.task_id, given.lease_token))
    again = World()
    prints = []
    for stored in team.journal:
        again.apply(unseal(stored))
        prints.append(again.fingerprint())
    assert again.fingerprint() == team.world.fingerprint()
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_does_not_depend_on_the_order_in_tables() -> None:
    one, other = World(), World()
    one.apply(event(1, "P-a"))
    one.apply(event(2, "P-b"))
    other.apply(event(1, "P-b"))
    other.apply(event(2, "P-a"))
    assert one.fingerprint() == other.fingerprint()


def test_new_worlds_share_nothing() -> None:
    one = World()
    one.apply(event(1))
    assert World().projects == {}
    assert Tables().projects == {}


def test_waiting_counters_follow_every_dependency(empty: Scenario) -> None:
    empty.given(a_project(), an_agent())
    diamond = empty.new_task("top")
    left, right = (empty.new_task(dependencies=(diamond,)) for _ in range(2))
    bottom = empty.new_task(dependencies=(left, right, diamond))
    assert [empty.task(t).waiting_on for t in (diamond, left, right, bottom)] == [0, 1, 1, 3]
    empty.done(diamond)
    assert [empty.task(t).waiting_on for t in (left, right, bottom)] == [0, 0, 2]
    empty.done(left)
    empty.done(right)
    assert set(empty.world.ready) == {bottom}


def test_a_track_record_follows_accepted_and_failed_attempts(team: Scenario) -> None:
    team.new_task(kind="bug")
    given = team.assigned()
    team.after(minutes=10)
    team.given(complete(given.task_id, given.lease_token))
    record = team.world.track_records["A-ada"]["bug"]
    assert (record.accepted, record.failed, record.duration_min) == (1.0, 0.0, 10.0)
    assert record.success == pytest.approx(2 / 3)
    assert "task" not in team.world.track_records["A-ada"]


def test_only_the_last_ten_attempts_are_kept(team: Scenario) -> None:
    team.new_task()
    for _ in range(12):
        given = team.assigned()
        team.given(release(given.task_id, given.lease_token))
    assert [a.lease_token for a in team.task("T-1").attempts] == list(range(3, 13))


def test_an_event_about_nothing_stops_the_process() -> None:
    world = World()
    data = ProgressReported(task_id="T-1", agent_id="A-ada", lease_token=1, percent=1)
    with pytest.raises(KeyError):
        world.apply(Event(1, 5, 1, "agent:A-ada", "r", data))
