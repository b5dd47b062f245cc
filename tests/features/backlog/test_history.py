"""What happened to a task: of a dead letter, the evidence a person looks at."""

import pytest

from pm_agent.domain.task import Evidence, ReopenTask
from pm_agent.features.backlog.history import DeadLetter, dead_letter, task_history
from pm_agent.kernel.chain import unseal
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    Scenario,
    a_project,
    an_agent,
    complete,
    progress,
    release,
    request_id,
)


def evidence(scenario: Scenario, task_id: str = "T-1") -> DeadLetter | None:
    events = [unseal(stored) for stored in scenario.journal if stored.subject == task_id]
    return dead_letter(events, scenario.texts)


@pytest.fixture
def poisoned(empty: Scenario) -> Scenario:
    """T-1 was given back by A-eve, and took A-ada and A-bob down."""
    empty.given(
        a_project(), an_agent(EVE), *(an_agent(a, sends_heartbeats=True) for a in (ADA, BOB))
    )
    empty.new_task()
    empty.assigned(EVE)
    empty.given(release("T-1", 1, EVE, note="not mine"))
    for token, agent in ((2, ADA), (3, BOB)):
        empty.assigned(agent)
        empty.given(
            progress("T-1", token, agent, percent=20 * token, note="so far", where=f"b{token}")
        )
        empty.after(minutes=10)
    assert empty.state("T-1") == "dead_letter"
    return empty


def test_a_dead_letter_shows_how_each_attempt_ended_and_where_its_work_lies(
    poisoned: Scenario,
) -> None:
    poisoned.when(complete("T-1", 2, evidence=Evidence(branch="b2"), summary="nearly"))
    found = evidence(poisoned)
    assert found is not None
    assert found.reason == "2 agents were lost on it: A-ada, A-bob"
    seen = [(a.agent_id, a.outcome, a.percent, a.where, a.note) for a in found.attempts]
    assert seen == [
        (EVE, "released", 0, "", "not mine"),
        (ADA, "expired", 40, "b2", "so far"),
        (BOB, "expired", 60, "b3", "so far"),
    ]
    assert [(c.agent_id, c.branch, c.summary) for c in found.candidates] == [(ADA, "b2", "nearly")]


def test_its_attempts_are_those_that_the_board_keeps(poisoned: Scenario) -> None:
    found = evidence(poisoned)
    assert found is not None
    kept = [(a.agent_id, a.lease_token, a.outcome) for a in poisoned.task("T-1").attempts]
    assert [(a.agent_id, a.lease_token, a.outcome) for a in found.attempts] == kept


def test_what_was_reopened_or_never_died_is_no_dead_letter(poisoned: Scenario) -> None:
    other = poisoned.new_task()
    assert evidence(poisoned, other) is None
    poisoned.given(
        ReopenTask(request_id=request_id(), principal=PERSON, task_id="T-1", reason="fixed")
    )
    assert evidence(poisoned) is None
    assert poisoned.task("T-1").dead_because == ""


def test_a_suspicion_stands_in_the_history_with_the_values_it_relied_on(
    poisoned: Scenario,
) -> None:
    events = [unseal(stored) for stored in poisoned.journal if stored.subject == "T-1"]
    entries = task_history("T-1", events, poisoned.texts).events
    told = [entry.fields for entry in entries if entry.event == "LeaseSuspected"]
    assert [fields["reason"] for fields in told] == ["agent_silent", "agent_silent"]
    assert told[0]["allowance_us"] == 120_000_000
