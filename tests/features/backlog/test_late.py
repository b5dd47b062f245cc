"""Late work that waits for a person: the same from the world and from the events alone."""

from collections.abc import Callable

import pytest

from pm_agent.domain.task import CancelTask, ReopenTask
from pm_agent.features.backlog.late import LateWork, newest_undecided, undecided, undecided_by
from pm_agent.kernel.chain import unseal
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    Scenario,
    a_project,
    accept,
    an_agent,
    complete,
    reject,
    release,
    request_id,
)


def raced(completion: str = "person") -> Scenario:
    """Ada's work on T-1 came too late; Bob has the task under token 2."""
    scenario = Scenario()
    scenario.given(
        a_project(completion=completion),
        *(an_agent(who, sends_heartbeats=True) for who in (ADA, BOB)),
    )
    scenario.new_task()
    scenario.assigned(ADA)
    scenario.after(minutes=10)
    scenario.assigned(BOB)
    scenario.when(complete("T-1", 1))
    return scenario


def waiting(scenario: Scenario) -> list[tuple[str, int]]:
    """Who waits, and under which token."""
    world = scenario.world
    found: list[LateWork] = undecided(world, scenario.task("T-1"))
    assert newest_undecided(world) == found
    assert undecided_by([unseal(stored) for stored in scenario.journal]) == found
    return [(late.agent_id, late.lease_token) for late in found]


@pytest.mark.parametrize("completion", ["person", "auto"])
def test_it_waits_for_a_person_where_no_gate_is(completion: str) -> None:
    assert waiting(raced(completion)) == [(ADA, 1)]


def test_a_gate_judges_by_itself() -> None:
    scenario = raced("command")
    assert scenario.task("T-1").candidates
    assert newest_undecided(scenario.world) == []


def test_what_came_last_stands_last_whatever_its_number() -> None:
    scenario = Scenario()
    team = (an_agent(who, sends_heartbeats=True, capacity=2) for who in (ADA, BOB))
    scenario.given(a_project(completion="person"), *team)
    scenario.new_task()
    scenario.new_task()
    scenario.assigned(ADA)
    scenario.assigned(ADA)
    scenario.after(minutes=10)
    scenario.assigned(BOB)
    scenario.assigned(BOB)
    for task_id in ("T-2", "T-1"):
        scenario.after(seconds=1)
        scenario.when(complete(task_id, 1))
    assert [late.task_id for late in newest_undecided(scenario.world)] == ["T-2", "T-1"]


ENDS: dict[str, Callable[[Scenario], None]] = {
    "chosen": lambda s: s.given(accept("T-1", lease_token=1)),
    "rejected": lambda s: s.given(reject("T-1", lease_token=1)),
    "handed in by itself": lambda s: s.given(release("T-1", 2, BOB, reason="failed")),
    "the other was accepted": lambda s: s.given(complete("T-1", 2, BOB), accept("T-1")),
    "cancelled": lambda s: s.given(
        CancelTask(request_id=request_id(), principal=PERSON, task_id="T-1")
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_it_waits_no_longer(end: Callable[[Scenario], None]) -> None:
    scenario = raced()
    end(scenario)
    scenario.after(seconds=1)
    assert waiting(scenario) == []


def test_it_waits_again_when_the_task_is_opened_again() -> None:
    scenario = raced()
    ENDS["the other was accepted"](scenario)
    again = ReopenTask(request_id=request_id(), principal=PERSON, task_id="T-1", reason="a bug")
    scenario.given(again)
    assert waiting(scenario) == [(ADA, 1)]
