"""The zombie write: no command about a task gets through without its current lease."""

from collections.abc import Callable

import pytest

from pm_agent.domain.assignment import AssignmentExpired
from pm_agent.domain.envelope import Command
from pm_agent.domain.task import LogArtifact, LogDecision
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    Scenario,
    agent_principal,
    an_agent,
    complete,
    of_person,
    progress,
    release,
    report_blocker,
    request_id,
)

Write = Callable[[int, str], Command]


def log_decision(token: int, agent_id: str) -> Command:
    return LogDecision(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id="T-1",
        lease_token=token,
        decision="dates are UTC",
    )


def log_artifact(token: int, agent_id: str) -> Command:
    return LogArtifact(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id="T-1",
        lease_token=token,
        name="api",
        uri="docs/api.md",
    )


WRITES: dict[str, Write] = {
    "ReportProgress": lambda token, agent: progress("T-1", token, agent),
    "CompleteTask": lambda token, agent: complete("T-1", token, agent),
    "ReleaseTask": lambda token, agent: release("T-1", token, agent),
    "ReportBlocker": lambda token, agent: report_blocker("T-1", token, agent),
    "LogDecision": log_decision,
    "LogArtifact": log_artifact,
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
# Finished work that comes late has rules of its own: tests/features/quality/test_late.py.
UNFINISHED = {name: write for name, write in WRITES.items() if name != "CompleteTask"}
every_unfinished_write = pytest.mark.parametrize("write", UNFINISHED.values(), ids=UNFINISHED)


@pytest.fixture
def taken_over(team: Scenario) -> Scenario:
    """A-ada was silent and lost T-1; A-bob holds it with token 2."""
    team.given(an_agent(BOB))
    team.new_task()
    team.assigned()
    team.after(minutes=30)
    assert AssignmentExpired in map(type, team.events)
    team.assigned(BOB)
    return team


@every_unfinished_write
def test_a_token_that_has_passed_is_refused(taken_over: Scenario, write: Write) -> None:
    before = taken_over.world.fingerprint()
    taken_over.when(write(1, ADA)).then_refused("stale_lease")
    assert taken_over.world.fingerprint() == before


@every_write
def test_a_token_that_never_was_is_refused(taken_over: Scenario, write: Write) -> None:
    taken_over.when(write(3, BOB)).then_refused("stale_lease")
    taken_over.when(write(0, BOB)).then_refused("stale_lease")


@every_write
def test_the_right_token_in_the_wrong_hands_is_refused(taken_over: Scenario, write: Write) -> None:
    taken_over.when(write(2, ADA)).then_refused("not_assignee")


@every_write
def test_a_token_without_an_assignment_is_refused(team: Scenario, write: Write) -> None:
    team.new_task()
    team.assigned()
    team.given(release("T-1", 1))
    team.when(write(1, ADA)).then_refused("not_assigned")


@every_write
def test_a_write_about_an_unknown_task_is_refused(team: Scenario, write: Write) -> None:
    team.when(write(1, ADA)).then_refused("unknown_task")


@every_write
def test_the_holder_gets_through(taken_over: Scenario, write: Write) -> None:
    taken_over.given(write(2, BOB))


@every_unfinished_write
def test_a_person_gets_through_with_the_right_token_only(
    taken_over: Scenario, write: Write
) -> None:
    taken_over.when(of_person(write(1, BOB), PERSON)).then_refused("stale_lease")
    taken_over.given(of_person(write(2, BOB), PERSON))


def test_a_refusal_names_the_holder_and_the_next_step(taken_over: Scenario) -> None:
    taken_over.when(progress("T-1", 1))
    error = taken_over.reply.error
    assert error is not None
    assert "A-bob" in error.message
    assert "request_next_task" in error.next_step
    assert "complete_task" in error.next_step  # finished work is not lost


@every_unfinished_write
def test_who_lost_the_lease_is_told_even_when_nobody_took_over(
    team: Scenario, write: Write
) -> None:
    team.new_task()
    team.assigned()
    team.after(minutes=30)
    team.when(write(1, ADA)).then_refused("not_assigned")
    assert team.reply.error is not None
    assert "silent too long" in team.reply.error.next_step
    assert "complete_task" in team.reply.error.next_step
