"""Done is two facts: work handed in and work accepted."""

import msgspec
import pytest

from pm_agent.domain.assignment import (
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
)
from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.task import Evidence, TaskDeadLettered
from pm_agent.kernel.effects import RunGate
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_project,
    accept,
    agent_principal,
    an_agent,
    complete,
    reject,
)


@pytest.fixture
def judged(empty: Scenario) -> Scenario:
    """A project whose completions a person judges, with one task in review."""
    empty.given(a_project(completion="person"), an_agent(), an_agent(BOB))
    empty.new_task()
    given = empty.assigned()
    empty.given(complete(given.task_id, given.lease_token))
    return empty


@pytest.fixture
def gated(empty: Scenario) -> Scenario:
    """A project whose completions a command judges, with one task in review."""
    empty.given(a_project(completion="command"), an_agent(), an_agent(BOB))
    empty.new_task()
    given = empty.assigned()
    empty.given(complete(given.task_id, given.lease_token))
    return empty


def gate_effect(scenario: Scenario) -> str:
    pending = scenario.engine.outbox.pending.values()
    return next(e.effect_id for e in pending if isinstance(e.want, RunGate))


def test_auto_accepts_in_the_same_step(team: Scenario) -> None:
    team.new_task()
    given = team.assigned()
    evidence = Evidence(commit="abc", branch="task/1")
    team.when(complete(given.task_id, given.lease_token, evidence=evidence)).then(
        CompletionSubmitted, CompletionAccepted
    )
    task = team.task(given.task_id)
    assert task.state == "done"
    assert task.submission is not None
    assert task.submission.evidence == evidence
    assert task.attempts[-1].outcome == "completed"


def test_a_completion_needs_a_summary(team: Scenario) -> None:
    team.new_task()
    given = team.assigned()
    team.when(complete(given.task_id, given.lease_token, summary="  ")).then_refused(
        "invalid_input"
    )


def test_work_in_review_unblocks_nothing_and_costs_no_capacity(judged: Scenario) -> None:
    second = judged.new_task(dependencies=("T-1",))
    assert judged.state("T-1") == "in_review"
    assert second not in judged.world.ready
    assert judged.world.agents[ADA].active == ()
    judged.new_task()
    judged.assigned()


def test_a_person_accepts(judged: Scenario) -> None:
    judged.when(accept("T-1")).then(CompletionAccepted)
    assert judged.state("T-1") == "done"


def test_a_worker_agent_judges_nothing_but_a_lead_may(judged: Scenario) -> None:
    judged.when(accept("T-1", principal=agent_principal(BOB))).then_refused("forbidden")
    judged.when(reject("T-1", principal=agent_principal(BOB))).then_refused("forbidden")
    judged.when(accept("T-1", principal=agent_principal(BOB, "lead"))).then(CompletionAccepted)


def test_a_verdict_on_nothing_in_review_is_refused(team: Scenario) -> None:
    task = team.new_task()
    team.when(accept(task)).then_refused("wrong_state")


def test_a_rejection_is_a_new_attempt_with_a_recovery_note(judged: Scenario) -> None:
    judged.when(reject("T-1", "tests fail", report="3 of 9 red")).then(
        CompletionRejected, HoldPlaced
    )
    task = judged.task("T-1")
    assert task.state == "open"
    assert task.failures == 1
    last = task.attempts[-1]
    assert last.outcome == "rejected"
    assert last.note is not None
    assert judged.texts[last.note] == "Rejected:\ntests fail\n3 of 9 red"
    judged.after(minutes=6)
    given = judged.assigned(BOB)
    assert (given.attempt, given.lease_token) == (2, 2)


def test_a_rejection_without_reasons_is_refused(judged: Scenario) -> None:
    bare = msgspec.structs.replace(reject("T-1"), reasons=())
    judged.when(bare).then_refused("invalid_input")


def test_work_rejected_too_often_is_a_dead_letter(judged: Scenario) -> None:
    agents = [BOB, ADA]
    for attempt in range(judged.policy.max_failures - 1):
        judged.given(reject("T-1"))
        judged.after(minutes=6)
        given = judged.assigned(agents[attempt % 2])
        judged.given(complete("T-1", given.lease_token, agents[attempt % 2]))
    judged.when(reject("T-1")).then(CompletionRejected, TaskDeadLettered)
    assert judged.result["state"] == "dead_letter"
    assert judged.state("T-1") == "dead_letter"


def test_completing_the_same_attempt_twice_gives_the_same_result(team: Scenario) -> None:
    team.new_task()
    given = team.assigned()
    team.given(complete(given.task_id, given.lease_token))
    first = team.reply.result
    team.when(complete(given.task_id, given.lease_token)).then()
    assert team.reply.result == first


def test_completing_what_is_in_review_again_changes_nothing(judged: Scenario) -> None:
    judged.when(complete("T-1", 1)).then()
    assert judged.result["state"] == "in_review"


def test_completing_what_another_attempt_completed_is_refused(judged: Scenario) -> None:
    judged.given(reject("T-1"))
    judged.after(minutes=6)
    given = judged.assigned(BOB)
    judged.given(complete("T-1", given.lease_token, BOB), accept("T-1"))
    judged.when(complete("T-1", 1)).then_refused("already_completed")


def test_a_command_policy_asks_for_its_gate_once(gated: Scenario) -> None:
    wanted = [e for e in gated.engine.outbox.pending.values() if isinstance(e.want, RunGate)]
    assert [e.want.gate.argv for e in wanted if isinstance(e.want, RunGate)] == [("make", "test")]


def test_a_gates_yes_accepts_and_answers_the_effect(gated: Scenario) -> None:
    effect = gate_effect(gated)
    yes = accept("T-1", principal=SYSTEM, effect_id=effect, lease_token=1, report="ok")
    gated.when(yes).then(CompletionAccepted)
    assert gated.engine.outbox.pending == {}


def test_a_gates_verdict_that_comes_twice_or_late_changes_nothing(gated: Scenario) -> None:
    effect = gate_effect(gated)
    gated.given(accept("T-1", principal=SYSTEM, effect_id=effect, lease_token=1))
    gated.when(accept("T-1", principal=SYSTEM, effect_id=effect, lease_token=1)).then()
    gated.when(reject("T-1", principal=SYSTEM, effect_id=effect, lease_token=1)).then()
    assert gated.state("T-1") == "done"


def test_a_gates_verdict_on_an_earlier_attempt_changes_nothing(gated: Scenario) -> None:
    effect = gate_effect(gated)
    gated.given(reject("T-1", principal=SYSTEM, effect_id=effect, lease_token=1))
    gated.after(minutes=6)
    given = gated.assigned(BOB)
    gated.given(complete("T-1", given.lease_token, BOB))
    gated.when(accept("T-1", principal=SYSTEM, effect_id=effect, lease_token=1)).then()
    assert gated.state("T-1") == "in_review"
