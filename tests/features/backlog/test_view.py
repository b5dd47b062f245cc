"""What people and agents read of a task: its lease's state, and work that came too late."""

import pytest

from pm_agent.domain.task import Evidence
from pm_agent.features.backlog.search import search_tasks, with_lease_states
from pm_agent.features.backlog.status import suspected, workspace_status
from pm_agent.features.backlog.view import AssignmentView, task_brief, task_context
from pm_agent.features.team.view import agent_status, list_agents
from pm_agent.features.team.view import with_lease_states as with_agents_leases
from pm_agent.kernel.presence import Signs
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_project,
    an_agent,
    claim,
    complete,
    heartbeat,
    report_blocker,
)


@pytest.fixture
def working(empty: Scenario) -> Scenario:
    """A-ada heartbeats and holds T-1 and T-2, which is blocked; T-3 is open."""
    empty.given(a_project(), an_agent(capacity=2, sends_heartbeats=True), an_agent(BOB))
    for _ in range(3):
        empty.new_task(estimate_min=5)
    empty.assigned()
    empty.assigned()
    empty.given(report_blocker("T-2", 1))
    return empty


def signs(scenario: Scenario) -> Signs:
    return scenario.engine.presence.signs([ADA, BOB], scenario.now_us)


def assignment(scenario: Scenario, *, seen: Signs | None) -> AssignmentView:
    found = task_context(scenario.world, "T-1", scenario.texts, signs=seen).assignment
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "live"), (60, "quiet"), (120, "suspect"), (179, "suspect")]
)
def test_the_state_of_a_lease_is_read_everywhere_alike(
    working: Scenario, seconds: float, state: str
) -> None:
    working.after(seconds=seconds)
    world, seen = working.world, signs(working)
    assert assignment(working, seen=seen).lease_state == state
    page = with_lease_states(world, search_tasks(world), seen)
    assert [t.lease_state for t in page.tasks] == [state, state, ""]
    agents = with_agents_leases(world, list_agents(world), seen)
    assert [a.lease_state for a in agents.agents] == [state, ""]
    status = agent_status(world, ADA, seen)
    assert status.lease_state == state
    assert [t.lease_state for t in status.tasks] == [state, state]


def test_the_worst_lease_of_an_agent_counts(working: Scenario) -> None:
    for _ in range(31):
        working.after(minutes=1)
        working.given(heartbeat())
    status = agent_status(working.world, ADA, signs(working))
    assert {t.task_id: t.lease_state for t in status.tasks} == {"T-1": "suspect", "T-2": "live"}
    assert status.lease_state == "suspect"
    leases = {lease["task_id"]: lease["lease_state"] for lease in working.result["leases"]}
    assert leases == {"T-1": "suspect", "T-2": "live"}  # its heartbeat tells it, too


def test_nothing_is_said_of_a_lease_while_the_coordinator_is_away(working: Scenario) -> None:
    working.after(seconds=150)
    assert assignment(working, seen=None).lease_state == ""
    assert agent_status(working.world, ADA).lease_state == ""


def test_the_end_of_a_lease_moves_with_each_sign_of_life(working: Scenario) -> None:
    before = assignment(working, seen=signs(working)).lease_until
    working.after(seconds=40)
    working.given(heartbeat())
    assert assignment(working, seen=signs(working)).lease_until > before


def test_the_workspace_names_what_is_suspect_now(working: Scenario) -> None:
    def named() -> list[str]:
        found = workspace_status(working.world, parked=0, is_stale=False, signs=signs(working))
        return found.suspect

    assert (named(), suspected(working.world)) == ([], [])
    working.after(seconds=130)
    assert named() == ["T-1", "T-2"]
    working.given(heartbeat())
    assert named() == []


def test_a_task_tells_the_priority_it_inherits(team: Scenario) -> None:
    first = team.new_task(priority=0)
    team.new_task(priority=3, dependencies=(first,))
    low, urgent = search_tasks(team.world).tasks
    assert (low.priority, low.inherited_priority) == ("low", "urgent")
    assert (urgent.priority, urgent.inherited_priority) == ("urgent", "")
    assert task_context(team.world, first, team.texts).inherited_priority == "urgent"
    team.done(first)
    assert search_tasks(team.world).tasks[0].inherited_priority == ""


def test_work_that_came_too_late_is_shown_to_the_holder_and_to_people(working: Scenario) -> None:
    working.after(minutes=10)
    working.when(claim(BOB))
    assert working.result["task_id"] == "T-1"
    evidence = Evidence(commit="abc", branch="task/T-1/a1", links=("http://ci/1",))
    working.when(complete("T-1", 1, summary="done in time?", evidence=evidence))
    for read in (task_brief, task_context):
        (shown,) = read(working.world, "T-1", working.texts).candidates
        assert (shown.agent_id, shown.lease_token) == (ADA, 1)
        assert (shown.commit, shown.branch, shown.links) == (
            "abc",
            "task/T-1/a1",
            ["http://ci/1"],
        )
        assert shown.summary == "done in time?"


def test_a_dead_letter_shows_all_its_attempts_even_in_short(empty: Scenario) -> None:
    empty.given(a_project(), *(an_agent(a, sends_heartbeats=True) for a in (ADA, BOB)))
    empty.new_task()
    for agent in (ADA, BOB):
        empty.assigned(agent)
        empty.after(minutes=10)
    shown = task_context(empty.world, "T-1", empty.texts)
    assert [a.agent_id for a in shown.attempts] == [ADA, BOB]
    assert shown.dead_because == "2 agents were lost on it: A-ada, A-bob"
    (item,) = search_tasks(empty.world, state="dead_letter").tasks
    assert item.dead_because == shown.dead_because
