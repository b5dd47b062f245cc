"""The zombie write: no command about a task gets through without its current lease.

After all ways in which a lease ends: test_old_tokens.py.
"""

import pytest

from pm_agent.domain.assignment import AssignmentExpired, CompleteTask
from pm_agent.domain.blocker import ReportFix
from pm_agent.domain.envelope import Command
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    Scenario,
    agent_principal,
    an_agent,
    progress,
    report_blocker,
)
from tests.writes import WRITES, command

Kind = type[Command]
every_write = pytest.mark.parametrize("kind", WRITES, ids=lambda kind: kind.__name__)
# Finished work that comes late has rules of its own: tests/features/quality/test_late.py.
every_unfinished_write = pytest.mark.parametrize(
    "kind", [kind for kind in WRITES if kind is not CompleteTask], ids=lambda kind: kind.__name__
)


@pytest.fixture
def taken_over(team: Scenario) -> Scenario:
    """A-ada was silent and lost T-1; A-bob holds it with token 2, and is stuck."""
    team.given(an_agent(BOB), an_agent(EVE))
    team.new_task()
    team.assigned()
    team.after(minutes=30)
    assert AssignmentExpired in map(type, team.events)
    team.assigned(BOB)
    team.given(report_blocker("T-1", 2, BOB, blocker_type="environment"))
    return team


@every_write
def test_a_token_that_never_was_is_refused(taken_over: Scenario, kind: Kind) -> None:
    taken_over.when(command(kind, 3, agent_principal(BOB))).then_refused("stale_lease")
    taken_over.when(command(kind, 0, agent_principal(BOB))).then_refused("stale_lease")


@every_write
def test_the_right_token_in_the_wrong_hands_is_refused(taken_over: Scenario, kind: Kind) -> None:
    taken_over.when(command(kind, 2, agent_principal(ADA))).then_refused("not_assignee")


@every_write
def test_a_write_about_an_unknown_task_is_refused(team: Scenario, kind: Kind) -> None:
    subject = "blocker" if kind is ReportFix else "task"
    team.when(command(kind, 1, agent_principal(ADA))).then_refused(f"unknown_{subject}")


@every_write
def test_the_holder_gets_through(taken_over: Scenario, kind: Kind) -> None:
    taken_over.given(command(kind, 2, agent_principal(BOB)))


@every_unfinished_write
def test_a_person_gets_through_with_the_right_token_only(taken_over: Scenario, kind: Kind) -> None:
    taken_over.when(command(kind, 1, PERSON)).then_refused("stale_lease")
    taken_over.given(command(kind, 2, PERSON))


def test_a_refusal_names_the_holder_and_the_next_step(taken_over: Scenario) -> None:
    taken_over.when(progress("T-1", 1))
    error = taken_over.reply.error
    assert error is not None
    assert "A-bob" in error.message
    assert "request_next_task" in error.next_step
    assert "complete_task" in error.next_step  # finished work is not lost


@every_unfinished_write
def test_who_lost_the_lease_is_told_even_when_nobody_took_over(team: Scenario, kind: Kind) -> None:
    team.new_task()
    team.assigned()
    team.given(report_blocker("T-1", 1, blocker_type="environment"))
    team.after(minutes=30)
    team.when(command(kind, 1, agent_principal(ADA))).then_refused("not_assigned")
    assert team.reply.error is not None
    assert "silent too long" in team.reply.error.next_step
    assert "complete_task" in team.reply.error.next_step
