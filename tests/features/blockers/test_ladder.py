"""What the system does about a blocker before a person hears of it."""

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
from pm_agent.domain.envelope import SYSTEM, Usage
from pm_agent.domain.model_call import BY_RULES, ModelCall
from pm_agent.domain.task import CancelTask, Skill, TaskCreated, TaskUpdated
from pm_agent.domain.time import HOUR_US, MINUTE_US
from pm_agent.domain.world import World
from pm_agent.kernel.effects import AskForAdvice
from pm_agent.kernel.types import Policy
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
    assert [(r.step, r.worked) for r in case.remedies] == [("ask_help", 1), ("known_fix", 1)]


def test_the_ladder_goes_on_when_nobody_helps(pair: Scenario) -> None:
    pair.given(report_blocker("T-1", 1))
    pair.after(minutes=21)
    assert retold(pair, "B-1") == [("ask_help", "no_answer"), ("advice", "")]


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


def test_what_will_not_come_is_not_waited_for(working: Scenario) -> None:
    other = working.new_task("the missing work")
    working.given(report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(other,)))
    working.given(CancelTask(request_id=request_id(), principal=PERSON, task_id=other))
    working.after(seconds=0)
    assert [kind for kind, _ in retold(working, "B-1")][:2] == ["wait", "split"]


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
