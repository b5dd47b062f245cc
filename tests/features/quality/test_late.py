"""Work that comes after its lease was lost: taken, kept as a candidate, or over already."""

import msgspec
import pytest

from pm_agent.domain.assignment import (
    AcceptCompletion,
    AssignmentExpired,
    CandidateKept,
    CandidateRejected,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    RejectCompletion,
    TaskReleased,
)
from pm_agent.domain.envelope import SYSTEM, Usage
from pm_agent.domain.hold import HoldLifted, HoldPlaced
from pm_agent.domain.instruction import EffectAbandoned
from pm_agent.domain.task import CancelTask, Evidence, TaskDeadLettered, UpdateTask
from pm_agent.features.instructions.view import recovery_lines
from pm_agent.features.quality.view import gate_request
from pm_agent.kernel.effects import Effect, RunGate
from pm_agent.kernel.types import Policy
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    WEB,
    Scenario,
    a_project,
    accept,
    agent_principal,
    an_agent,
    complete,
    of_person,
    place_hold,
    progress,
    reject,
    release,
    report_blocker,
    request_id,
)

WORK = Evidence(commit="abc123", branch="task/T-1/a1")


def lose(scenario: Scenario) -> None:
    """A-ada claims T-1 and is silent until the lease is lost."""
    scenario.given(an_agent(ADA, sends_heartbeats=True))
    assert scenario.assigned().task_id == "T-1"
    scenario.after(minutes=2.9)
    assert scenario.state("T-1") != "open"
    scenario.after(minutes=0.1)
    assert AssignmentExpired in map(type, scenario.events)


@pytest.fixture
def lost(empty: Scenario) -> Scenario:
    """A-ada has just lost T-1; nobody else has it."""
    empty.given(a_project(), an_agent(BOB), an_agent(EVE))
    empty.new_task()
    lose(empty)
    return empty


@pytest.fixture
def taken_over(lost: Scenario) -> Scenario:
    """A-ada has lost T-1 and A-bob holds it with token 2."""
    lost.after(minutes=6)
    assert lost.assigned(BOB).lease_token == 2
    return lost


# -- nobody else has the task --------------------------------------------------------------------


def test_work_that_comes_late_is_taken_while_nobody_else_has_the_task(lost: Scenario) -> None:
    lost.after(minutes=10)
    lost.when(complete("T-1", 1, evidence=WORK))
    lost.then(LeaseRegranted, CompletionSubmitted, CompletionAccepted)
    (regranted,) = lost.of_kind(LeaseRegranted)
    assert (regranted.lease_token, regranted.late_token, regranted.attempt) == (2, 1, 2)
    assert lost.result["state"] == "done"
    task = lost.task("T-1")
    assert [a.outcome for a in task.attempts] == ["expired", "completed"]
    assert lost.world.agents[ADA].active == ()


def test_the_wait_before_another_attempt_ends_with_it(lost: Scenario) -> None:
    assert [h.kind for h in lost.task("T-1").holds] == ["scheduled"]
    lost.when(complete("T-1", 1))
    lost.then(HoldLifted, LeaseRegranted, CompletionSubmitted, CompletionAccepted)
    assert lost.task("T-1").holds == ()
    lost.after(minutes=6).then()


def test_late_work_is_judged_like_any_other(empty: Scenario) -> None:
    empty.given(a_project(completion="command"), an_agent(BOB))
    empty.new_task()
    lose(empty)
    empty.after(minutes=6)
    empty.when(complete("T-1", 1, evidence=WORK)).then(LeaseRegranted, CompletionSubmitted)
    assert empty.state("T-1") == "in_review"
    (gate,) = [e for e in empty.engine.outbox.pending.values() if isinstance(e.want, RunGate)]
    assert gate.lease_token == 2
    empty.given(accept("T-1"))
    assert empty.state("T-1") == "done"


def test_late_work_that_was_rejected_is_not_taken_again(empty: Scenario) -> None:
    empty.given(a_project(completion="person"), an_agent(BOB))
    empty.new_task()
    lose(empty)
    empty.given(complete("T-1", 1))
    empty.when(reject("T-1")).then(CompletionRejected, HoldPlaced)
    empty.when(complete("T-1", 1)).then_refused("stale_lease")
    assert empty.reply.error is not None
    assert "complete_task" not in empty.reply.error.next_step  # that would be a circle
    assert empty.state("T-1") == "open"


def test_late_work_that_was_rejected_is_not_taken_again_after_another_attempt(
    empty: Scenario,
) -> None:
    empty.given(a_project(completion="person"), an_agent(BOB))
    empty.new_task()
    lose(empty)
    empty.given(complete("T-1", 1), reject("T-1"))
    empty.after(minutes=10)
    empty.given(complete("T-1", empty.assigned(BOB).lease_token, BOB), reject("T-1"))
    empty.after(minutes=10)
    empty.when(complete("T-1", 1)).then_refused("stale_lease")


def test_late_work_said_twice_has_the_same_answer(lost: Scenario) -> None:
    lost.given(complete("T-1", 1))
    first = lost.reply.result
    lost.when(complete("T-1", 1)).then()
    assert lost.reply.result == first


def test_late_work_is_taken_from_an_agent_that_holds_another_task_by_now(lost: Scenario) -> None:
    second = lost.new_task()
    assert lost.assigned().task_id == second
    lost.given(complete("T-1", 1))
    assert lost.state("T-1") == "done"
    assert lost.world.agents[ADA].active == (second,)


@pytest.mark.parametrize(("scope", "target"), [("workspace", "main"), ("project", WEB)])
def test_a_pause_does_not_keep_finished_work_out(lost: Scenario, scope: str, target: str) -> None:
    lost.given(place_hold(scope, target))
    lost.given(complete("T-1", 1))
    assert lost.state("T-1") == "done"


def test_a_task_lost_while_blocked_takes_its_late_work_too(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(ADA, sends_heartbeats=True))
    empty.new_task()
    empty.assigned()
    empty.given(report_blocker("T-1", 1))
    empty.after(minutes=3)
    assert (empty.state("T-1"), empty.world.assignments) == ("blocked", {})
    empty.given(complete("T-1", 1))
    assert empty.state("T-1") == "done"


def test_the_first_of_two_lost_attempts_is_taken_and_the_second_is_over(lost: Scenario) -> None:
    lost.after(minutes=6)
    given = lost.assigned(BOB)
    lost.given(release("T-1", given.lease_token, BOB))
    lost.given(complete("T-1", 1))
    assert lost.state("T-1") == "done"


def test_late_work_is_taken_from_its_agent_or_a_person_only(lost: Scenario) -> None:
    lost.when(complete("T-1", 1, BOB)).then_refused("not_assigned")
    assert lost.reply.error is not None
    assert "You were silent" not in lost.reply.error.next_step
    lost.given(of_person(complete("T-1", 1)))
    assert lost.task("T-1").submission.agent_id == ADA  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("reason", ["released", "failed"])
def test_work_of_an_attempt_that_was_given_back_is_not_late_work(
    team: Scenario, reason: str
) -> None:
    team.new_task()
    team.assigned()
    team.given(release("T-1", 1, reason=reason))
    team.when(complete("T-1", 1)).then_refused("not_assigned")


def test_late_work_needs_a_summary(lost: Scenario) -> None:
    lost.when(complete("T-1", 1, summary=" ")).then_refused("invalid_input")


# -- somebody else has the task ------------------------------------------------------------------


def kept(scenario: Scenario) -> list[tuple[str, int, str]]:
    return [(c.agent_id, c.lease_token, c.evidence.branch) for c in scenario.task("T-1").candidates]


def test_late_work_is_refused_but_kept_while_another_attempt_is_live(
    taken_over: Scenario,
) -> None:
    taken_over.when(complete("T-1", 1, summary="all done", evidence=WORK, usage=Usage(100, 5)))
    taken_over.then(CandidateKept)
    error = taken_over.reply.error
    assert error is not None
    assert error.code == "stale_lease"
    assert BOB in error.message
    assert "Stop" in error.next_step
    assert kept(taken_over) == [(ADA, 1, "task/T-1/a1")]
    (candidate,) = taken_over.task("T-1").candidates
    assert taken_over.texts[candidate.summary] == "all done"
    assert taken_over.world.assignments["T-1"].agent_id == BOB
    assert taken_over.task("T-1").usage == Usage(100, 5)  # it was spent all the same


def test_a_candidate_is_kept_once_and_its_retry_refused_again(taken_over: Scenario) -> None:
    same = complete("T-1", 1)
    taken_over.when(same).then(CandidateKept)
    taken_over.when(same).then_refused("stale_lease")  # not the reply of something that went well
    taken_over.when(complete("T-1", 1)).then_refused("stale_lease")
    assert len(kept(taken_over)) == 1


def test_the_holder_hands_in_first_and_the_candidate_is_over(taken_over: Scenario) -> None:
    taken_over.when(complete("T-1", 1, evidence=WORK))
    taken_over.given(complete("T-1", 2, BOB))
    assert taken_over.state("T-1") == "done"
    taken_over.when(complete("T-1", 1)).then_refused("already_completed")


def test_a_candidate_has_its_turn_when_the_holder_fails(taken_over: Scenario) -> None:
    taken_over.when(complete("T-1", 1, summary="parser works", evidence=WORK))
    taken_over.when(release("T-1", 2, BOB, reason="failed"))
    taken_over.then(
        TaskReleased,
        HoldPlaced,
        HoldLifted,
        LeaseRegranted,
        CompletionSubmitted,
        CompletionAccepted,
    )
    assert taken_over.state("T-1") == "done"
    submission = taken_over.task("T-1").submission
    assert submission is not None
    assert (submission.agent_id, submission.late_token, submission.evidence) == (ADA, 1, WORK)
    taken_over.given(complete("T-1", 1))  # sent again: it was taken


@pytest.mark.parametrize("restarts", [False, True])
def test_a_candidate_goes_through_the_gate_when_the_holder_is_lost_or_rejected(
    empty: Scenario, *, restarts: bool
) -> None:
    empty.given(a_project(completion="person"), an_agent(BOB))
    empty.new_task()
    lose(empty)
    empty.after(minutes=6)
    empty.assigned(BOB)
    empty.when(complete("T-1", 1, evidence=WORK))
    empty.given(complete("T-1", 2, BOB))
    empty.given(reject("T-1", "tests fail"))
    if restarts:
        empty.restart()
        empty.step([])
    assert empty.state("T-1") == "in_review"
    assert empty.world.assignments["T-1"].agent_id == ADA
    empty.given(reject("T-1", "this one, too"))
    assert (empty.state("T-1"), kept(empty)) == ("open", [])


def test_a_candidate_waits_while_the_task_was_only_given_back(taken_over: Scenario) -> None:
    taken_over.when(complete("T-1", 1, summary="parser works", evidence=WORK))
    taken_over.given(release("T-1", 2, BOB))
    assert taken_over.state("T-1") == "open"
    lines = "\n".join(recovery_lines(taken_over.task("T-1"), taken_over.texts))
    for told in (ADA, "task/T-1/a1", "abc123", "parser works"):
        assert told in lines


def test_a_candidate_is_taken_when_it_comes_again_and_nobody_has_the_task(
    taken_over: Scenario,
) -> None:
    taken_over.when(complete("T-1", 1, evidence=WORK))
    taken_over.given(release("T-1", 2, BOB))
    taken_over.given(complete("T-1", 1, evidence=WORK))
    assert taken_over.state("T-1") == "done"
    assert kept(taken_over) == []


def test_use_of_a_candidate_counts_once_when_it_is_taken_after_all(taken_over: Scenario) -> None:
    late = complete("T-1", 1, evidence=WORK, usage=Usage(100, 5))
    taken_over.when(late)
    taken_over.given(release("T-1", taken_over.task("T-1").lease_token, BOB))
    taken_over.when(late)  # the very same request: its refusal was no answer to keep
    assert taken_over.task("T-1").usage == Usage(100, 5)
    assert taken_over.state("T-1") == "done"


def test_late_work_waits_as_a_candidate_while_another_is_in_review(empty: Scenario) -> None:
    empty.given(a_project(completion="person"), an_agent(BOB))
    empty.new_task()
    lose(empty)
    empty.after(minutes=6)
    empty.assigned(BOB)
    empty.given(complete("T-1", 2, BOB))
    empty.when(complete("T-1", 1)).then(CandidateKept)


def test_who_holds_the_task_again_is_told_its_new_token(empty: Scenario) -> None:
    empty.given(a_project())
    empty.new_task()
    lose(empty)
    empty.after(minutes=6)
    assert empty.assigned().lease_token == 2
    empty.when(complete("T-1", 1)).then_refused("stale_lease")
    assert empty.reply.error is not None
    assert "lease token 2" in empty.reply.error.message
    empty.given(complete("T-1", 2))


def test_late_work_on_a_task_that_waits_for_others_now_is_a_candidate(lost: Scenario) -> None:
    first = lost.new_task()
    lost.given(
        UpdateTask(request_id=request_id(), principal=PERSON, task_id="T-1", dependencies=(first,))
    )
    lost.when(complete("T-1", 1)).then(CandidateKept)
    assert lost.state("T-1") == "open"


def test_a_task_keeps_its_newest_candidates_only() -> None:
    agents = [f"A-{n}" for n in range(1, 8)]
    scenario = Scenario(policy=Policy(max_agents_lost=99, max_losses=99, max_failures=99))
    scenario.given(a_project(), *(an_agent(a, sends_heartbeats=True) for a in agents))
    scenario.new_task()
    for agent in agents:
        scenario.after(minutes=6)
        scenario.assigned(agent)
        scenario.after(minutes=4)
    scenario.given(an_agent(EVE))
    scenario.after(minutes=6)
    scenario.assigned(EVE)
    for token, agent in enumerate(agents, start=1):
        scenario.when(complete("T-1", token, agent))
    assert [c.lease_token for c in scenario.task("T-1").candidates] == [3, 4, 5, 6, 7]
    scenario.verify()


# -- the task is over ----------------------------------------------------------------------------


def test_late_work_never_reopens_what_is_cancelled(lost: Scenario) -> None:
    lost.given(CancelTask(request_id=request_id(), principal=PERSON, task_id="T-1"))
    lost.when(complete("T-1", 1)).then_refused("already_completed")
    assert lost.state("T-1") == "cancelled"


def test_late_work_on_a_dead_letter_is_kept_for_the_person_who_looks(
    taken_over: Scenario,
) -> None:
    taken_over.given(an_agent(BOB, sends_heartbeats=True))
    taken_over.after(minutes=60)
    assert TaskDeadLettered in map(type, taken_over.events)
    assert "A-ada, A-bob" in taken_over.task("T-1").dead_because
    taken_over.when(complete("T-1", 1, evidence=WORK)).then(CandidateKept)
    assert taken_over.reply.error is not None
    assert taken_over.reply.error.code == "already_completed"
    assert taken_over.state("T-1") == "dead_letter"
    assert kept(taken_over) == [(ADA, 1, "task/T-1/a1")]


# -- other writes that come late -----------------------------------------------------------------


def test_late_progress_is_refused_with_advice(taken_over: Scenario) -> None:
    taken_over.when(progress("T-1", 1)).then_refused("stale_lease")
    assert taken_over.reply.error is not None
    assert "complete_task" in taken_over.reply.error.next_step


@pytest.mark.parametrize("snapshot_at", [None, 4])
def test_a_candidate_survives_a_recovery(taken_over: Scenario, snapshot_at: int | None) -> None:
    taken_over.when(complete("T-1", 1, evidence=WORK))
    taken_over.restart(snapshot_at=snapshot_at)
    assert kept(taken_over) == [(ADA, 1, "task/T-1/a1")]


# -- late work and the live attempt race through the gate ------------------------------------------


@pytest.fixture
def racing(empty: Scenario) -> Scenario:
    """A-bob holds T-1 under token 2, and A-ada has handed it in too late under token 1."""
    empty.given(a_project(completion="command"), an_agent(BOB), an_agent(EVE))
    empty.new_task()
    lose(empty)
    empty.after(minutes=6)
    assert empty.assigned(BOB).lease_token == 2
    empty.when(complete("T-1", 1, summary="parser works", evidence=WORK)).then(CandidateKept)
    return empty


def gates(scenario: Scenario) -> list[Effect]:
    pending = scenario.engine.outbox.pending.values()
    return [effect for effect in pending if isinstance(effect.want, RunGate)]


def verdict(effect: Effect, *reasons: str) -> AcceptCompletion | RejectCompletion:
    """What the gate says of an effect's work: yes, or no with reasons."""
    said = {"lease_token": effect.lease_token, "effect_id": effect.effect_id, "principal": SYSTEM}
    return reject("T-1", *reasons, **said) if reasons else accept("T-1", **said)


def test_the_gate_is_asked_about_late_work_while_another_attempt_is_live(racing: Scenario) -> None:
    (gate,) = gates(racing)
    assert gate.lease_token == 1
    request = gate_request(racing.world, gate)
    assert request is not None
    asked = (request.agent_id, request.attempt, request.lease_token, request.branch)
    assert asked == (ADA, 1, 1, "task/T-1/a1")
    assert racing.world.assignments["T-1"].agent_id == BOB


def test_late_work_that_is_first_through_the_gate_wins_and_the_holder_is_stopped(
    racing: Scenario,
) -> None:
    racing.when(verdict(gates(racing)[0]))
    racing.then(TaskReleased, LeaseRegranted, CompletionSubmitted, CompletionAccepted)
    task = racing.task("T-1")
    assert (task.state, task.lease_token) == ("done", 3)
    outcomes = [(a.agent_id, a.outcome) for a in task.attempts]
    assert outcomes == [(ADA, "expired"), (BOB, "stopped"), (ADA, "completed")]
    assert task.failures == 1  # being second is no failure
    assert gates(racing) == []
    racing.when(progress("T-1", 2, BOB)).then_refused("stale_lease")
    racing.when(complete("T-1", 2, BOB)).then_refused("already_completed")
    assert racing.world.agents[BOB].active == ()


def test_late_work_wins_also_while_the_holders_work_is_at_the_gate(racing: Scenario) -> None:
    racing.given(complete("T-1", 2, BOB))
    late, live = gates(racing)
    racing.when(verdict(late))
    racing.then(TaskReleased, LeaseRegranted, CompletionSubmitted, CompletionAccepted)
    racing.when(verdict(live)).then()  # it comes second, whatever it says
    racing.when(verdict(live, "tests fail")).then()
    assert racing.state("T-1") == "done"
    assert [a.agent_id for a in racing.task("T-1").attempts][-1] == ADA


def test_the_holder_wins_when_it_is_first_through_the_gate(racing: Scenario) -> None:
    racing.given(complete("T-1", 2, BOB))
    late, live = gates(racing)
    racing.when(verdict(live)).then(CompletionAccepted)
    assert gates(racing) == []
    racing.when(verdict(late)).then()
    assert [a.agent_id for a in racing.task("T-1").attempts][-1] == BOB


def test_late_work_that_fails_the_gate_leaves_the_holder_alone_for_good(racing: Scenario) -> None:
    (gate,) = gates(racing)
    racing.when(verdict(gate, "2 tests fail")).then(CandidateRejected)
    assert racing.world.assignments["T-1"].agent_id == BOB
    assert gates(racing) == []
    racing.when(verdict(gate)).then()  # another word about it comes late
    racing.when(complete("T-1", 1)).then_refused("stale_lease")
    assert racing.reply.error is not None
    assert "complete_task" not in racing.reply.error.next_step  # that would be a circle
    racing.given(release("T-1", 2, BOB, reason="failed"))
    assert racing.state("T-1") == "open"  # it does not have its turn
    lines = "\n".join(recovery_lines(racing.task("T-1"), racing.texts))
    assert "rejected" in lines


@pytest.mark.parametrize("restarts", [False, True])
def test_late_work_stays_at_the_gate_when_the_holder_gives_the_task_back(
    racing: Scenario, *, restarts: bool
) -> None:
    racing.given(release("T-1", 2, BOB))
    if restarts:
        racing.restart(snapshot_at=len(racing.journal))
    (gate,) = gates(racing)
    racing.when(verdict(gate)).then(LeaseRegranted, CompletionSubmitted, CompletionAccepted)
    assert racing.state("T-1") == "done"


def test_the_first_verdict_counts_when_late_work_has_its_turn_meanwhile(racing: Scenario) -> None:
    (first,) = gates(racing)
    racing.given(release("T-1", 2, BOB, reason="failed"))
    assert racing.state("T-1") == "in_review"
    again = gates(racing)[-1]
    assert (first.lease_token, again.lease_token) == (1, 3)
    racing.when(verdict(first)).then(CompletionAccepted)
    assert racing.state("T-1") == "done"
    racing.when(verdict(again, "flaky")).then()


def test_the_gate_of_late_work_is_given_up_when_the_task_must_wait_for_others(
    racing: Scenario,
) -> None:
    (gate,) = gates(racing)
    racing.given(release("T-1", 2, BOB))
    first = racing.new_task()
    wait_for = UpdateTask(
        request_id=request_id(), principal=PERSON, task_id="T-1", dependencies=(first,)
    )
    racing.given(wait_for)
    racing.when(verdict(gate)).then(EffectAbandoned)
    assert (racing.state("T-1"), kept(racing)) == ("open", [(ADA, 1, "task/T-1/a1")])


def test_the_end_of_a_task_ends_the_race(racing: Scenario) -> None:
    (gate,) = gates(racing)
    racing.given(CancelTask(request_id=request_id(), principal=PERSON, task_id="T-1"))
    assert gates(racing) == []
    racing.when(verdict(gate)).then()
    assert racing.state("T-1") == "cancelled"


def test_work_that_is_kept_no_more_has_nothing_to_show_to_a_gate(racing: Scenario) -> None:
    (gate,) = gates(racing)
    assert gate_request(racing.world, msgspec.structs.replace(gate, lease_token=7)) is None


def test_a_person_may_choose_late_work_over_the_live_attempt(taken_over: Scenario) -> None:
    taken_over.when(complete("T-1", 1, evidence=WORK))
    taken_over.when(accept("T-1", lease_token=1, principal=agent_principal(BOB)))
    taken_over.then_refused("forbidden")
    taken_over.when(accept("T-1", lease_token=7)).then_refused("wrong_state")
    taken_over.when(accept("T-1", lease_token=1))
    taken_over.then(TaskReleased, LeaseRegranted, CompletionSubmitted, CompletionAccepted)
    assert taken_over.state("T-1") == "done"
