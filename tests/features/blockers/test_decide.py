"""Blockers: reported, kept or given back, resolved."""

import pytest

from pm_agent.domain.assignment import AssignmentExpired, TaskReleased
from pm_agent.domain.blocker import BlockerReported, BlockerResolved, BlockerStepTaken
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_project,
    an_agent,
    complete,
    heartbeat,
    progress,
    report_blocker,
    resolve_blocker,
)


@pytest.fixture
def working(team: Scenario) -> Scenario:
    """A-ada works on T-1."""
    team.new_task()
    team.assigned()
    return team


def test_an_agent_that_keeps_its_task_waits_for_the_answer(working: Scenario) -> None:
    working.when(report_blocker("T-1", 1)).then(BlockerReported, BlockerStepTaken)
    assert working.state("T-1") == "blocked"
    assert working.world.agents[ADA].active == ("T-1",)
    working.when(resolve_blocker("B-1")).then(BlockerResolved)
    assert working.state("T-1") == "assigned"


def test_an_agent_that_gives_its_task_back_frees_its_place(working: Scenario) -> None:
    working.when(report_blocker("T-1", 1, release=True)).then(
        BlockerReported, TaskReleased, BlockerStepTaken
    )
    assert working.state("T-1") == "blocked"
    assert working.world.agents[ADA].active == ()
    assert "T-1" not in working.world.ready
    working.given(resolve_blocker("B-1"))
    assert working.result["task_state"] == "open"
    assert "T-1" in working.world.ready
    assert working.task("T-1").failures == 0


def test_a_task_is_free_when_its_last_blocker_is_resolved(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1), report_blocker("T-1", 1), resolve_blocker("B-1"))
    assert working.state("T-1") == "blocked"
    working.given(resolve_blocker("B-2"))
    assert working.state("T-1") == "assigned"


def test_a_blocker_is_resolved_once(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1), resolve_blocker("B-1"))
    working.when(resolve_blocker("B-1")).then_refused("wrong_state")
    working.when(resolve_blocker("B-9")).then_refused("unknown_blocker")


def test_a_blocker_and_its_resolution_need_words(working: Scenario) -> None:
    working.when(report_blocker("T-1", 1, description=" ")).then_refused("invalid_input")
    working.given(report_blocker("T-1", 1))
    working.when(resolve_blocker("B-1", " ")).then_refused("invalid_input")


def test_a_blocked_task_keeps_its_lease_while_its_agent_lives(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(BOB, sends_heartbeats=True))
    empty.new_task(estimate_min=5)  # budget: 30 minutes
    empty.assigned(BOB)
    empty.given(report_blocker("T-1", 1, BOB))
    for _ in range(120):
        empty.after(minutes=1)
        empty.given(heartbeat(BOB))
    assert empty.state("T-1") == "blocked"
    empty.given(resolve_blocker("B-1"))
    empty.after(minutes=1).then()  # the wait for the answer was not the agent's silence
    assert empty.state("T-1") == "assigned"


def test_a_blocked_task_whose_agent_is_lost_stays_blocked_without_it(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(BOB, sends_heartbeats=True))
    empty.new_task()
    empty.assigned(BOB)
    empty.given(report_blocker("T-1", 1, BOB))
    empty.after(minutes=3)
    assert empty.of_kind(AssignmentExpired)[0].reason == "agent_silent"
    assert empty.state("T-1") == "blocked"
    assert empty.world.assignments == {}


def test_progress_on_a_blocked_task_leaves_it_blocked(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1), progress("T-1", 1))
    assert working.state("T-1") == "blocked"


def test_work_handed_in_has_no_blockers_any_more(empty: Scenario) -> None:
    empty.given(a_project(completion="person"), an_agent())
    empty.new_task()
    empty.assigned()
    empty.given(complete("T-1", 1))
    empty.when(report_blocker("T-1", 1)).then_refused("wrong_state")
    empty.when(progress("T-1", 1)).then_refused("wrong_state")
