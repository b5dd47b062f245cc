"""The rows of ``task_history``: they agree with the world, whatever happened."""

import pytest

from pm_agent.adapters.history_postgres import KINDS, Row, TaskHistory
from pm_agent.domain.envelope import Usage
from pm_agent.domain.task import CancelTask, ReopenTask
from pm_agent.domain.world import World
from pm_agent.kernel.chain import unseal
from pm_agent.ports import StoredEvent
from tests.driver_stream import record, through_engine
from tests.scenario import (
    PERSON,
    WEB,
    Scenario,
    a_project,
    an_agent,
    complete,
    progress,
    release,
    report_blocker,
    request_id,
    resolve_blocker,
)


def holder_of(world: World, task_id: str) -> str | None:
    """Who works on a task, or has done it."""
    held = world.assignments.get(task_id)
    if held is not None:
        return held.agent_id
    task = world.tasks[task_id]
    return task.attempts[-1].agent_id if task.state == "done" else None


def assert_agrees(journal: list[StoredEvent]) -> None:
    """After every event the newest row of its task says what the world says."""
    world, history = World(), TaskHistory("main")
    newest: dict[str, Row] = {}
    for event in journal:
        world.apply(unseal(event))
        for row in history.rows([event]):
            newest[row.task_id] = row
        task = world.tasks.get(event.subject)
        if task is not None:
            told = newest[event.subject]
            assert told.status == task.state, event
            assert told.assigned_to == holder_of(world, task.id), event


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_row_of_each_task_agrees_with_the_world(seed: int) -> None:
    scenario = Scenario()
    through_engine(record(seed=seed), scenario)
    assert {"BlockerReported", "BlockerResolved"} <= {event.kind for event in scenario.journal}
    assert_agrees(scenario.journal)


@pytest.fixture
def working() -> Scenario:
    """Ada works on T-1."""
    scenario = Scenario()
    scenario.given(a_project(), an_agent())
    scenario.new_task()
    scenario.assigned()
    return scenario


def cancel(task_id: str) -> CancelTask:
    return CancelTask(request_id=request_id(), principal=PERSON, task_id=task_id)


def reopen(task_id: str) -> ReopenTask:
    return ReopenTask(request_id=request_id(), principal=PERSON, task_id=task_id, reason="again")


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param([report_blocker("T-1", 1), progress("T-1", 1)], id="progress while blocked"),
        pytest.param(
            [report_blocker("T-1", 1), report_blocker("T-1", 1), resolve_blocker("B-1")],
            id="one of two answered",
        ),
        pytest.param(
            [report_blocker("T-1", 1), release("T-1", 1), resolve_blocker("B-1")],
            id="given back before the answer",
        ),
        pytest.param(
            [report_blocker("T-1", 1), cancel("T-1"), resolve_blocker("B-1")],
            id="cancelled before the answer",
        ),
        pytest.param(
            [report_blocker("T-1", 1), cancel("T-1"), reopen("T-1"), resolve_blocker("B-1")],
            id="reopened before the answer",
        ),
        pytest.param([report_blocker("T-1", 1), complete("T-1", 1)], id="done while blocked"),
    ],
)
def test_rows_agree_with_the_world_around_blockers(working: Scenario, commands: list) -> None:
    working.given(*commands)
    assert_agrees(working.journal)


def test_after_a_restart_the_events_of_blocked_tasks_are_enough(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    known = [e for e in working.journal if e.subject == "T-1" and e.kind in KINDS]
    again = TaskHistory("main", known)
    working.given(progress("T-1", 1), resolve_blocker("B-1"))
    rows = again.rows(working.journal[-2:])
    assert [(row.status, row.assigned_to) for row in rows] == [
        ("blocked", "A-ada"),
        ("assigned", "A-ada"),
    ]


def test_metrics_hold_what_the_event_measured(working: Scenario) -> None:
    working.given(progress("T-1", 1, percent=40, usage=Usage(1200, 250_000)))
    row = TaskHistory("main").rows(working.journal[-1:])[0]
    assert row.metrics == {"percent": 40, "tokens": 1200, "cost_usd": 0.25}
    assert (row.workspace_id, row.task_id, row.position) == ("main", "T-1", len(working.journal))
    assert round(row.timestamp.timestamp() * 1e6) == working.journal[-1].at_us


def test_events_that_tell_nothing_of_a_tasks_state_make_no_row() -> None:
    scenario = Scenario()
    scenario.given(a_project(), an_agent())
    assert TaskHistory("main").rows(scenario.journal) == []
    assert WEB
