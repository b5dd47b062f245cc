"""Same id and body: same reply, one effect. Same id, other body: refused."""

import msgspec
import pytest

from pm_agent.domain.envelope import Command
from pm_agent.domain.task import TaskCreated
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_task,
    an_agent,
    claim,
    complete,
    progress,
    reject,
    release,
    report_blocker,
)


def again(scenario: Scenario, command: Command) -> None:
    """Send a command twice: the second time nothing happens and the reply is the same."""
    scenario.given(command)
    first, before = scenario.reply, scenario.world.fingerprint()
    scenario.when(command).then()
    assert (scenario.reply.result, scenario.reply.position) == (first.result, first.position)
    assert scenario.world.fingerprint() == before


def test_every_kind_of_write_sent_twice_has_one_effect(team: Scenario) -> None:
    again(team, a_task())
    again(team, claim())
    again(team, progress("T-1", 1))
    again(team, report_blocker("T-1", 1))
    again(team, release("T-1", 1, reason="failed"))


def test_a_claim_sent_twice_gets_the_same_lease(team: Scenario) -> None:
    team.new_task()
    team.new_task()
    again(team, claim())
    assert len(team.world.assignments) == 1


@pytest.mark.parametrize("snapshot_at", [None, 3])
def test_a_restart_remembers_replies(team: Scenario, snapshot_at: int | None) -> None:
    command = a_task()
    team.given(command)
    first = team.reply
    team.restart(snapshot_at=snapshot_at)
    team.when(command).then()
    assert team.reply.result == first.result


def test_the_same_id_with_another_body_is_refused(team: Scenario) -> None:
    command = a_task("one")
    team.given(command)
    other = msgspec.structs.replace(a_task("two"), request_id=command.request_id)
    team.when(other).then_refused("request_id_reused")


def test_ids_of_two_principals_do_not_meet(team: Scenario) -> None:
    team.given(an_agent(BOB))
    team.new_task()
    team.new_task()
    mine = claim(ADA)
    team.given(mine)
    team.given(msgspec.structs.replace(claim(BOB), request_id=mine.request_id))
    assert len(team.world.assignments) == 2


def test_a_refusal_is_not_kept_so_a_retry_is_decided_anew(team: Scenario) -> None:
    command = complete("T-1", 1)
    team.when(command).then_refused("unknown_task")
    team.new_task()
    team.assigned()
    team.given(command)
    assert team.state("T-1") == "done"


def test_a_claim_that_found_nothing_may_find_something_later(team: Scenario) -> None:
    command = claim()
    team.when(command).then()
    team.new_task()
    team.when(command)
    assert team.result["outcome"] == "assigned"


def test_ids_are_forgotten_after_a_day(team: Scenario) -> None:
    command = a_task()
    team.given(command)
    team.after(hours=23.9)
    team.when(command).then()
    team.after(hours=0.2)
    team.when(command).then(TaskCreated)


def test_within_one_step_the_second_of_two_equal_commands_sees_the_first(team: Scenario) -> None:
    command = a_task()
    step = team.step([command, command])
    assert [type(e.data) for e in step.events] == [TaskCreated]
    assert step.replies[0].result == step.replies[1].result


def test_a_verdict_sent_twice_counts_one_failure(team: Scenario) -> None:
    team.new_task()
    team.assigned()
    command = reject("T-1")
    team.when(command).then_refused("wrong_state")
