"""What the system does about a blocker before a person hears of it."""

from random import Random
from typing import Any

import msgspec
import pytest

from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.blocker import (
    AcknowledgeBlocker,
    BlockerAcknowledged,
    BlockerAdvised,
    BlockerReported,
    BlockerResolved,
    BlockerStepEnded,
    BlockerStepTaken,
    ReportFix,
    StoreAdvice,
)
from pm_agent.domain.case import MAX_CASES, Case, open_case
from pm_agent.domain.collaboration import RequestCollaboration, RespondToCollaboration
from pm_agent.domain.envelope import SYSTEM, Usage
from pm_agent.domain.model_call import BY_RULES, ModelCall
from pm_agent.domain.task import CancelTask, Skill, TaskCreated, TaskUpdated
from pm_agent.domain.time import HOUR_US, MINUTE_US
from pm_agent.domain.world import World
from pm_agent.features.blockers.ladder import next_step
from pm_agent.features.blockers.memory import chance_of, similar_cases
from pm_agent.features.blockers.view import blocker_list
from pm_agent.kernel.effects import AskForAdvice
from pm_agent.kernel.types import Context, Policy
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    WEB,
    Scenario,
    a_project,
    agent_principal,
    an_agent,
    claim,
    complete,
    heartbeat,
    of_person,
    release,
    report_blocker,
    request_id,
    resolve_blocker,
    skills,
)

DISK = "No space left on device while writing /var/cache/build/17"
DISK_AGAIN = "no space left on device while writing /tmp/build/99"


@pytest.fixture
def working(team: Scenario) -> Scenario:
    """A-ada works on T-1; people take half a day, so that all steps are worth their time."""
    patient = msgspec.structs.replace(
        team.policy, person_answer_us=12 * HOUR_US, blocker_reassign_us=15 * MINUTE_US
    )
    team.policy = team.engine.policy = patient
    team.new_task()
    team.assigned()
    return team


@pytest.fixture
def pair(working: Scenario) -> Scenario:
    """A-bob is there too."""
    working.given(an_agent(BOB))
    return working


def fix(blocker_id: str, token: int, *, worked: bool, agent_id: str = ADA) -> ReportFix:
    return ReportFix(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        blocker_id=blocker_id,
        lease_token=token,
        worked=worked,
    )


def advice(scenario: Scenario, text: str = "Look again.", **fields: object) -> StoreAdvice:
    """Answer the pending effect."""
    (effect,) = (
        e for e in scenario.engine.outbox.pending.values() if isinstance(e.want, AskForAdvice)
    )
    assert isinstance(effect.want, AskForAdvice)
    given = {"needs_person": False, "call": BY_RULES} | fields
    return StoreAdvice(
        request_id=request_id(),
        principal=SYSTEM,
        effect_id=effect.effect_id,
        blocker_id=effect.want.blocker_id,
        text=text,
        **given,  # type: ignore[arg-type]
    )


def steps(scenario: Scenario) -> list[str]:
    return [taken.step for taken in scenario.of_kind(BlockerStepTaken)]


def retold(scenario: Scenario, blocker_id: str) -> list[tuple[str, str]]:
    return [(s.kind, s.outcome) for s in scenario.world.blockers[blocker_id].steps]


def ask_help(task_id: str, token: int) -> RequestCollaboration:
    return RequestCollaboration(
        request_id=request_id(),
        principal=agent_principal(ADA),
        task_id=task_id,
        lease_token=token,
        need="Who knows?",
        answer_within_s=3_600,
    )


def no_help(identifier: str) -> RespondToCollaboration:
    return RespondToCollaboration(
        request_id=request_id(),
        principal=agent_principal(BOB),
        collaboration_id=identifier,
        accept=False,
    )


def blocked_and_answered(scenario: Scenario, description: str = DISK) -> None:
    """One blocker, answered by a person, and its task done."""
    scenario.given(report_blocker("T-1", 1, description=description, blocker_type="environment"))
    scenario.given(resolve_blocker("B-1", "Delete the old caches."), complete("T-1", 1))
    scenario.new_task()
    scenario.assigned()


# -- the rungs --------------------------------------------------------------------------------


def test_advice_is_asked_for_where_nothing_else_is_known(working: Scenario) -> None:
    working.when(report_blocker("T-1", 1)).then(BlockerReported, BlockerStepTaken)
    assert steps(working) == ["advice"]
    assert "report_fix" in working.result["next_step"]
    working.when(advice(working)).then(BlockerAdvised)
    working.when(fix("B-1", 1, worked=True)).then(BlockerResolved)
    assert working.state("T-1") == "assigned"
    assert retold(working, "B-1") == [("advice", "worked")]


def test_a_person_is_asked_when_advice_did_not_help(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    working.given(advice(working))
    working.when(fix("B-1", 1, worked=False)).then(BlockerStepEnded, BlockerStepTaken)
    assert retold(working, "B-1") == [("advice", "failed"), ("escalate", "")]
    assert "1 steps before" in working.of_kind(BlockerStepTaken)[0].why


def test_an_agent_that_says_nothing_about_a_step_does_not_stop_the_ladder(
    working: Scenario,
) -> None:
    working.given(report_blocker("T-1", 1))
    working.given(advice(working))
    working.after(minutes=16)
    assert retold(working, "B-1") == [("advice", "no_answer"), ("escalate", "")]


def test_advice_that_never_comes_is_passed_over_and_not_counted(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    working.after(minutes=16)
    assert retold(working, "B-1") == [("advice", "superseded"), ("escalate", "")]
    assert working.world.cases["B-1"].remedies == ()


def test_advice_that_only_a_person_can_follow_goes_straight_to_one(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1, blocker_type="needs_input"))
    working.when(advice(working, needs_person=True))
    assert steps(working) == ["escalate"]


def context_of(scenario: Scenario) -> Context:
    """What a decision may use now."""
    return Context(
        now_us=scenario.now_us,
        random=Random(0),
        scorer=scenario.engine.scorer,
        presence=scenario.engine.presence,
        policy=scenario.policy,
        pending_effects={},
    )


def again(scenario: Scenario, **fields: Any) -> BlockerStepTaken:
    """Report such a blocker on a new task; return the first step against it."""
    scenario.new_task()
    given = scenario.assigned()
    scenario.given(report_blocker(given.task_id, given.lease_token, **fields))
    taken: BlockerStepTaken = scenario.of_kind(BlockerStepTaken)[0]
    return taken


def ended_by_a_person(scenario: Scenario, taken: BlockerStepTaken) -> None:
    """Have everything fail after five minutes, a person answer after two hours, the task done."""
    token = scenario.world.assignments[taken.task_id].lease_token
    while (step := scenario.world.blockers[taken.blocker_id].step).kind != "escalate":
        if step.kind == "advice" and not step.text:
            scenario.given(advice(scenario))
        scenario.after(minutes=5)
        scenario.given(fix(taken.blocker_id, token, worked=False))
    for _ in range(6):
        scenario.after(minutes=19)
        scenario.given(heartbeat())
    scenario.given(resolve_blocker(taken.blocker_id, "Ask legal."), complete(taken.task_id, token))


@pytest.fixture
def idle(working: Scenario) -> Scenario:
    """A-ada has nothing to do."""
    working.given(release("T-1", 1), CancelTask(request_id="c", principal=PERSON, task_id="T-1"))
    return working


@pytest.fixture
def asked(idle: Scenario) -> tuple[Scenario, BlockerStepTaken]:
    """Nothing but people has helped three times; now a person is asked beside the first step."""
    for _ in range(3):
        ended_by_a_person(idle, again(idle, description=DISK))
    return idle, again(idle, description=DISK)


def test_a_person_is_asked_beside_a_step_where_nothing_else_helped_so_far(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    assert (taken.step, taken.asks_person) == ("known_fix", True)
    assert "a person is asked meanwhile" in taken.why
    assert scenario.world.blockers[taken.blocker_id].person_asked_us == scenario.now_us


def test_of_a_step_that_an_answer_came_before_nothing_is_learned(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked

    def outcomes() -> dict[str, int]:
        (case,) = scenario.world.cases.values()
        return {r.step: r.tried for r in case.remedies if r.step != "known_fix"}

    before = outcomes()
    scenario.after(minutes=3)
    scenario.given(resolve_blocker(taken.blocker_id, "Ask legal."))
    assert retold(scenario, taken.blocker_id) == [("known_fix", "superseded")]
    assert outcomes() == before


def test_a_person_is_asked_once_and_the_steps_go_on_beside(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    ended_by_a_person(scenario, taken)
    known = scenario.world.blockers[taken.blocker_id].steps
    assert [step.asks_person for step in known] == [True] + [False] * (len(known) - 1)
    assert len(known) > 2


def test_who_was_asked_beside_a_step_may_acknowledge_and_the_step_keeps_its_time(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    seen = AcknowledgeBlocker(
        request_id=request_id(), principal=PERSON, blocker_id=taken.blocker_id
    )
    scenario.when(seen).then(BlockerAcknowledged)
    step = scenario.world.blockers[taken.blocker_id].step
    assert step is not None
    assert (step.kind, step.until_us) == ("known_fix", taken.until_us)
    assert step.acknowledged_by == str(PERSON)


def test_who_acknowledged_beside_a_step_is_asked_again_only_after_a_day(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    scenario.given(
        AcknowledgeBlocker(request_id=request_id(), principal=PERSON, blocker_id=taken.blocker_id)
    )
    token = scenario.world.assignments[taken.task_id].lease_token
    while (step := scenario.world.blockers[taken.blocker_id].step).kind != "escalate":
        if step.kind == "advice" and not step.text:
            scenario.given(advice(scenario))
        scenario.given(fix(taken.blocker_id, token, worked=False))
    assert (step.until_us - scenario.now_us, step.acknowledged_by) == (24 * HOUR_US, str(PERSON))
    scenario.given(release(taken.task_id, token))
    assert steps(scenario.after(hours=23)) == []
    assert steps(scenario.after(hours=1.5)) == ["escalate"]


def test_what_helps_without_a_person_keeps_people_out_of_it(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1, description=DISK))
    working.given(advice(working), fix("B-1", 1, worked=True), complete("T-1", 1))
    for _ in range(3):
        working.after(minutes=5)
        taken = again(working, description=DISK)
        assert (taken.step, taken.asks_person) == ("known_fix", False)
        token = working.world.assignments[taken.task_id].lease_token
        working.given(fix(taken.blocker_id, token, worked=True), complete(taken.task_id, token))
    (case,) = working.world.cases.values()
    needed = next(r for r in case.remedies if r.step == "escalate")
    assert (needed.tried, needed.worked) == (4, 0)


def test_how_often_a_person_was_needed_is_told_beside_the_remedies(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    blockers = [scenario.world.blockers[taken.blocker_id]]
    (case,) = blocker_list(scenario.world, blockers, scenario.texts, scenario.now_us).cases
    assert (case.judged, case.needed_person) == (3, 3)
    assert "escalate" not in {remedy.step for remedy in case.remedies}


def test_where_nothing_but_a_person_helps_no_step_is_likelier_than_that_leaves(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    blocker = scenario.world.blockers[taken.blocker_id]
    similar = similar_cases(scenario.world, blocker, scenario.now_us)
    needed, split = (chance_of(scenario.world, blocker, similar, s) for s in ("escalate", "split"))
    assert needed.mean > 0.7
    assert split.mean == pytest.approx(1 - needed.mean)
    assert split.mean < split.hope < 0.5


def test_a_question_that_has_lain_for_long_is_not_withdrawn_for_a_split(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1, blocker_type="environment"))
    (step,) = pair.world.blockers["B-1"].steps

    def next_kind(asked_minutes_ago: int) -> str:
        at_us = pair.now_us - asked_minutes_ago * MINUTE_US
        tried = ("retry", "retry", "retry", "ask_help")
        steps = tuple(
            msgspec.structs.replace(
                step, number=n, kind=kind, at_us=at_us, outcome="failed", asks_person=n == 1
            )
            for n, kind in enumerate(tried, start=1)
        )
        blocker = msgspec.structs.replace(
            pair.world.blockers["B-1"], reported_at_us=at_us, steps=steps
        )
        return next_step(pair.world, blocker, context_of(pair), is_held=True).kind

    assert next_kind(asked_minutes_ago=30) == "split"
    assert next_kind(asked_minutes_ago=24 * 60) == "advice"


def test_of_a_blocker_that_comes_again_a_person_is_asked_as_before(pair: Scenario) -> None:
    dear = msgspec.structs.replace(pair.policy, person_attention_us=HOUR_US)
    pair.policy = pair.engine.policy = dear
    pair.given(an_agent("A-eve", skills=skills(sql=4)))
    lacking: dict[str, Any] = {"blocker_type": "capability", "needs_skills": (Skill("sql", 3),)}
    pair.given(report_blocker("T-1", 1, **lacking))
    token = pair.assigned("A-eve").lease_token
    pair.given(an_agent("A-joe", skills=skills(sql=4)))
    pair.given(report_blocker("T-1", token, "A-eve", **lacking))
    blocker = pair.world.blockers["B-2"]
    assert [step.kind for step in blocker.steps] == ["reassign", "ask_help"]

    def asks(before: bool) -> bool:  # noqa: FBT001 - reads well below
        first = msgspec.structs.replace(blocker.steps[0], at_us=0, asks_person=before)
        again = msgspec.structs.replace(blocker, steps=(first,))
        choice = next_step(pair.world, again, context_of(pair), is_held=True)
        assert choice.kind == "ask_help"
        return choice.asks_person

    assert asks(before=True)
    assert not asks(before=False)


def test_how_long_agents_try_is_learned(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1, description=DISK))
    working.given(advice(working))
    working.after(minutes=4)
    working.given(fix("B-1", 1, worked=True))
    assert working.world.tables.step_us == {"advice": 4 * MINUTE_US}


def test_how_long_it_takes_until_a_step_that_gives_the_task_away_is_proven_is_learned(
    pair: Scenario,
) -> None:
    pair.given(report_blocker("T-1", 1, blocker_type="dependency"))
    pair.done("T-2", BOB)
    pair.after(minutes=40)
    pair.done("T-1", BOB)
    pair.after(seconds=0)
    assert retold(pair, "B-1") == [("split", "worked")]
    assert pair.world.tables.step_us == {"split": 40 * MINUTE_US}


def test_a_known_fix_that_seldom_helps_comes_after_what_often_does(idle: Scenario) -> None:
    idle.given(an_agent(BOB))
    for _ in range(6):  # Bob knows it every time; what he said helps nobody the next time
        taken = again(idle, description=DISK, blocker_type="needs_input")
        token = idle.world.assignments[taken.task_id].lease_token
        if taken.step == "known_fix":
            idle.given(fix(taken.blocker_id, token, worked=False))
        answer = resolve_blocker(taken.blocker_id, "It lies in the vault.")
        idle.given(of_person(answer, agent_principal(BOB)), complete(taken.task_id, token))
    assert again(idle, description=DISK, blocker_type="needs_input").step == "ask_help"


def test_what_the_model_cost_stands_on_task_agent_and_project(working: Scenario) -> None:
    call = ModelCall(
        writer="m", input_tokens=900, output_tokens=100, cost_microusd=4_200, prices="1"
    )
    working.given(report_blocker("T-1", 1))
    working.given(advice(working, call=call))
    for charged in (working.task("T-1"), working.world.agents[ADA], working.world.projects[WEB]):
        assert charged.usage == Usage(1_000, 4_200)


def test_a_retry_waits_longer_each_time_and_three_are_enough(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1, blocker_type="transient"))
    spans = []
    while steps(working) == ["retry"]:
        spans.append(working.of_kind(BlockerStepTaken)[0].until_us - working.now_us)
        working.given(fix("B-1", 1, worked=False))
    assert len(spans) == 3
    assert spans == sorted(set(spans))
    assert steps(working) == ["advice"]


def test_a_task_that_was_given_back_is_tried_again_after_the_pause(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1, blocker_type="transient", release=True))
    assert working.state("T-1") == "blocked"
    working.after(minutes=20)
    assert working.state("T-1") == "open"
    assert working.world.blockers["B-1"].unproven_step == 1


def test_a_person_is_asked_again_in_growing_intervals_and_it_is_one_step(
    working: Scenario,
) -> None:
    working.given(report_blocker("T-1", 1))
    working.given(advice(working, needs_person=True))
    for hours in (1, 2, 4, 8):
        working.after(hours=hours)
        working.given(heartbeat())
    asked = working.world.blockers["B-1"].steps[-1]
    assert (asked.kind, asked.times) == ("escalate", 5)
    assert len(working.world.blockers["B-1"].steps) == 2


def test_an_acknowledgement_holds_the_next_question_back_for_a_day(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1, release=True))
    working.given(advice(working, needs_person=True))
    seen = AcknowledgeBlocker(request_id=request_id(), principal=PERSON, blocker_id="B-1")
    working.when(seen).then(BlockerAcknowledged)
    assert steps(working.after(hours=23)) == []
    assert steps(working.after(hours=1.5)) == ["escalate"]


def test_there_is_nothing_to_acknowledge_before_a_person_is_asked(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    seen = AcknowledgeBlocker(request_id=request_id(), principal=PERSON, blocker_id="B-1")
    working.when(seen).then_refused("wrong_state")


@pytest.mark.parametrize(("ladder", "first"), [("advice", "advice"), ("person", "escalate")])
def test_the_ladder_can_be_cut_short(ladder: str, first: str) -> None:
    policy = Policy(exploration=0.0, reserve=0.0, blocker_ladder=ladder)  # type: ignore[arg-type]
    scenario = Scenario(policy=policy)
    scenario.given(a_project(), an_agent())
    scenario.new_task()
    scenario.assigned()
    scenario.given(report_blocker("T-1", 1, blocker_type="transient"))
    assert steps(scenario) == [first]


# -- help -------------------------------------------------------------------------------------


def test_another_agent_is_asked_and_its_answer_counts_as_help(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1))
    assert steps(pair) == ["ask_help"]
    (request,) = pair.world.collaborations.values()
    assert (request.asker_id, request.invited) == (ADA, (BOB,))
    answer = resolve_blocker("B-1", "It lies in the vault.")
    pair.given(of_person(answer, agent_principal(BOB)))
    assert retold(pair, "B-1") == [("ask_help", "worked")]
    (case,) = pair.world.cases.values()
    known = [(r.step, r.worked) for r in case.remedies]
    assert known == [("ask_help", 1), ("escalate", 0), ("known_fix", 1)]


def test_an_answer_that_came_as_a_message_is_remembered_as_the_agent_tells_it(
    pair: Scenario,
) -> None:
    pair.given(report_blocker("T-1", 1, description=DISK, blocker_type="needs_input"))
    pair.after(seconds=0)
    assert pair.world.collaborations["C-1"].blocker_id == "B-1"
    pair.after(minutes=18)
    told = msgspec.structs.replace(fix("B-1", 1, worked=True), note="Bob: clear the old builds.")
    pair.given(told, complete("T-1", 1))
    assert retold(pair, "B-1") == [("ask_help", "worked")]
    pair.after(minutes=5)
    taken = again(pair, description=DISK_AGAIN, blocker_type="needs_input")
    assert (taken.step, pair.texts[taken.text or ""]) == ("known_fix", "Bob: clear the old builds.")


def test_nobody_is_asked_to_help_with_a_task_that_was_given_back(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1, blocker_type="needs_input", release=True))
    assert steps(pair) == ["advice"]


def test_where_the_next_agent_tries_a_known_fix_no_person_is_asked_meanwhile(
    asked: tuple[Scenario, BlockerStepTaken],
) -> None:
    scenario, taken = asked
    token = scenario.world.assignments[taken.task_id].lease_token
    scenario.given(resolve_blocker(taken.blocker_id, "Ask legal."), complete(taken.task_id, token))
    given_back = again(scenario, description=DISK, release=True)
    assert (given_back.step, given_back.asks_person) == ("known_fix", False)


def test_the_ladder_goes_on_when_nobody_helps(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1))
    pair.after(minutes=21)
    assert retold(pair, "B-1") == [("ask_help", "no_answer"), ("advice", "")]


def test_the_ladder_goes_on_at_once_when_all_who_were_asked_say_no(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1))
    pair.after(seconds=1)  # Bob is asked
    pair.given(no_help("C-1"))
    pair.after(seconds=0)
    assert retold(pair, "B-1") == [("ask_help", "no_answer"), ("advice", "")]


def test_a_no_to_what_the_agent_asked_itself_does_not_end_the_step(pair: Scenario) -> None:
    pair.given(ask_help("T-1", 1), report_blocker("T-1", 1))
    pair.after(seconds=1)
    pair.given(no_help("C-1"))
    pair.after(seconds=0)
    assert retold(pair, "B-1") == [("ask_help", "")]


# -- work that is missing ---------------------------------------------------------------------


def test_a_blocker_ends_with_the_task_that_it_waits_for(pair: Scenario) -> None:
    other = pair.new_task("the missing work")
    missing = report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(other,))
    pair.given(missing)
    assert steps(pair) == ["wait"]
    given = pair.assigned(BOB)
    pair.given(complete(other, given.lease_token, BOB))
    pair.after(seconds=0)
    assert pair.state("T-1") == "assigned"
    assert retold(pair, "B-1") == [("wait", "worked")]


def test_what_is_quicker_is_tried_while_the_missing_work_is_under_way(pair: Scenario) -> None:
    other = pair.new_task("the missing work")
    missing: dict[str, Any] = {"blocker_type": "dependency", "needs_task_ids": (other,)}
    pair.given(report_blocker("T-1", 1, description=DISK, **missing))
    assert steps(pair) == ["wait"]
    pair.given(resolve_blocker("B-1", "Take the copy in the cache."))
    pair.given(report_blocker("T-1", 1, description=DISK_AGAIN, **missing))
    assert steps(pair) == ["known_fix"]
    pair.given(fix("B-2", 1, worked=False))
    assert steps(pair) == ["wait"]
    pair.done(other, BOB)
    pair.after(seconds=0)
    assert retold(pair, "B-2") == [("known_fix", "failed"), ("wait", "worked")]


def test_what_will_not_come_is_not_waited_for(working: Scenario) -> None:
    other = working.new_task("the missing work")
    working.given(report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(other,)))
    working.given(CancelTask(request_id=request_id(), principal=PERSON, task_id=other))
    working.after(seconds=0)
    assert [kind for kind, _ in retold(working, "B-1")][:2] == ["wait", "split"]


def test_work_that_is_under_way_is_not_split_off_a_second_time(pair: Scenario) -> None:
    other = pair.new_task("the missing work")
    missing = report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(other,))
    pair.given(missing)
    token = pair.assigned(BOB).lease_token
    for _ in range(9):
        pair.after(minutes=5)
        pair.given(heartbeat(), heartbeat(BOB))
    assert retold(pair, "B-1")[0] == ("wait", "no_answer")
    assert "split" not in [kind for kind, _ in retold(pair, "B-1")]
    pair.given(complete(other, token, BOB))
    pair.after(seconds=0)
    assert pair.state("T-1") == "assigned"


def test_tasks_that_wait_for_each_other_do_not_wait_for_ever(working: Scenario) -> None:
    other = working.new_task("the other", dependencies=("T-1",))
    working.given(report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(other,)))
    assert "wait" not in steps(working)


def test_missing_work_becomes_a_task_that_goes_first(pair: Scenario) -> None:
    pair.when(report_blocker("T-1", 1, blocker_type="dependency")).then(
        BlockerReported, BlockerStepTaken, TaskCreated, TaskUpdated, BlockerResolved, TaskReleased
    )
    assert pair.task("T-1").dependencies == ("T-2",)
    assert pair.task("T-1").state == "open"
    assert not pair.task("T-1").is_ready
    assert pair.world.agents[ADA].active == ()
    pair.done("T-2", BOB)
    pair.done("T-1", BOB)
    pair.after(seconds=0)
    assert retold(pair, "B-1") == [("split", "worked")]


def test_a_task_that_was_split_off_is_not_split_again(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1, blocker_type="dependency"))
    given = pair.assigned(BOB)
    blocked = report_blocker("T-2", given.lease_token, BOB, blocker_type="dependency")
    pair.given(blocked)
    assert steps(pair) == ["advice"]


def test_a_task_cannot_wait_for_itself_or_for_an_unknown_one(working: Scenario) -> None:
    for needed, code in (("T-1", "invalid_input"), ("T-99", "unknown_task")):
        blocked = report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(needed,))
        working.when(blocked).then_refused(code)


# -- skills that are missing ------------------------------------------------------------------


def test_a_task_goes_to_an_agent_with_the_skill_that_is_missing(working: Scenario) -> None:
    working.given(an_agent("A-eve", skills=skills(sql=4)))
    lacking = report_blocker("T-1", 1, blocker_type="capability", needs_skills=(Skill("SQL", 3),))
    working.given(lacking)
    assert steps(working) == ["reassign"]
    assert working.task("T-1").skills == skills(sql=3)
    assert working.when(claim(ADA)).result["outcome"] == "none"
    given = working.assigned("A-eve")
    working.given(complete("T-1", given.lease_token, "A-eve"))
    working.after(seconds=0)
    assert retold(working, "B-1") == [("reassign", "worked")]


def test_a_skill_that_nobody_has_is_not_asked_of_anybody(working: Scenario) -> None:
    lacking = report_blocker("T-1", 1, blocker_type="capability", needs_skills=(Skill("cobol"),))
    working.given(lacking)
    assert steps(working) == ["advice"]


def test_a_blocker_that_comes_again_goes_on_where_it_was(working: Scenario) -> None:
    working.given(an_agent("A-eve", skills=skills(sql=4)))
    lacking: dict[str, Any] = {"blocker_type": "capability", "needs_skills": (Skill("sql", 3),)}
    working.given(report_blocker("T-1", 1, description="I cannot read this query plan", **lacking))
    given = working.assigned("A-eve")
    working.given(
        report_blocker(
            "T-1",
            given.lease_token,
            "A-eve",
            description="I cannot read this query plan either",
            **lacking,
        )
    )
    assert [kind for kind, _ in retold(working, "B-2")] == ["reassign", "split"]
    assert retold(working, "B-2")[0] == ("reassign", "failed")


# -- memory -----------------------------------------------------------------------------------


def test_the_second_blocker_of_a_kind_is_fixed_from_memory(working: Scenario) -> None:
    blocked_and_answered(working)
    working.given(report_blocker("T-2", 1, description=DISK_AGAIN, blocker_type="environment"))
    (taken,) = working.of_kind(BlockerStepTaken)
    assert taken.step == "known_fix"
    assert working.texts[taken.text] == "Delete the old caches."
    assert taken.why.startswith("worked 1 of 1 times")
    working.given(fix("B-2", 1, worked=True))
    (case,) = working.world.cases.values()
    (known,) = (r for r in case.remedies if r.step == "known_fix")
    assert (known.tried, known.worked, known.by) == (2, 2, "person:pat")


def test_what_helped_somewhere_else_is_tried_by_the_next_agent(pair: Scenario) -> None:
    blocked_and_answered(pair)
    pair.given(
        report_blocker("T-2", 1, description=DISK_AGAIN, blocker_type="environment", release=True)
    )
    assert pair.state("T-2") == "open"
    assert pair.world.blockers["B-2"].unproven_step == 1
    given = pair.assigned(BOB)
    pair.given(complete("T-2", given.lease_token, BOB))
    pair.after(seconds=0)
    assert retold(pair, "B-2") == [("known_fix", "worked")]


def test_what_stopped_working_is_no_longer_offered(working: Scenario) -> None:
    blocked_and_answered(working)
    offered = []
    for number in range(2, 7):
        task_id = f"T-{number}"
        working.given(report_blocker(task_id, 1, description=DISK, blocker_type="environment"))
        offered.append(steps(working)[0])
        if offered[-1] == "known_fix":
            working.given(fix(f"B-{number}", 1, worked=False))
        working.given(resolve_blocker(f"B-{number}", f"by hand {number}"))
        held = working.world.assignments.get(task_id)
        if held is not None:
            working.given(complete(task_id, 1))
        working.new_task()
        working.assigned()
    case = working.world.cases["B-1"]
    first = next(r for r in case.remedies if working.texts.get(r.text) == "Delete the old caches.")
    assert first.worked == 1
    assert first.tried >= 2


def test_another_type_of_blocker_is_another_case(working: Scenario) -> None:
    blocked_and_answered(working)
    working.given(report_blocker("T-2", 1, description=DISK, blocker_type="needs_input"))
    assert steps(working) == ["advice"]


def test_only_so_many_cases_are_kept() -> None:
    world = World()
    for number in range(MAX_CASES + 2):
        case = Case(
            id=f"B-{number}",
            blocker_type="other",
            project_id=WEB,
            sketch=(number,),
            last_us=0 if number == 7 else number + 1,
        )
        open_case(world, case)
    assert len(world.cases) == MAX_CASES
    assert "B-7" not in world.cases
    assert "B-0" not in world.cases


# -- safety -----------------------------------------------------------------------------------


def test_only_the_holder_judges_a_step_and_only_under_its_lease(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    working.given(advice(working))
    working.when(fix("B-1", 1, worked=True, agent_id=BOB)).then_refused("not_assignee")
    working.when(fix("B-1", 7, worked=True)).then_refused("stale_lease")


def test_a_step_that_cannot_be_tried_is_not_judged(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    working.when(fix("B-1", 1, worked=True)).then_refused("wrong_state")
    working.when(fix("B-9", 1, worked=True)).then_refused("unknown_blocker")


def test_agents_do_not_write_advice(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    forged = msgspec.structs.replace(advice(working), principal=agent_principal(BOB))
    working.when(forged).then_refused("forbidden")


def test_advice_comes_too_late_when_the_blocker_is_resolved(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    late = advice(working)
    working.given(resolve_blocker("B-1"))
    working.when(late).then()


def test_the_ladder_goes_on_after_a_restart(working: Scenario) -> None:
    working.given(report_blocker("T-1", 1))
    working.given(advice(working))
    working.restart()
    working.after(minutes=16)
    assert retold(working, "B-1") == [("advice", "no_answer"), ("escalate", "")]
