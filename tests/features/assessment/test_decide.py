"""Assessments: asked for a few at a time, stored while they hold, behind what people said."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pm_agent.domain.assessment import (
    MAX_MINUTES,
    AssessmentDraft,
    AssessmentsRequested,
    RequestAssessments,
    RiskMark,
    StoreAssessments,
    TaskAssessed,
)
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.instruction import AbandonEffect, EffectAbandoned
from pm_agent.domain.model_call import ModelCall
from pm_agent.domain.task import CancelTask, TaskDraft, UpdateTask
from pm_agent.features.assessment.view import brief
from pm_agent.features.assessment.wanted import AT_ONCE, most_wanted
from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.features.assignment.view import explain
from pm_agent.features.backlog.search import search_tasks
from pm_agent.features.backlog.status import project_status
from pm_agent.features.backlog.view import task_context
from pm_agent.features.instructions.view import brief as instruction_brief
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.effects import Effect
from tests.scenario import (
    ADA,
    PERSON,
    WEB,
    Scenario,
    a_project,
    agent_principal,
    an_agent,
    an_import,
    complete,
    of_person,
    release,
    request_id,
)

CALL = ModelCall(
    writer="claude-haiku-5-5",
    template="assessment@1",
    prompt_sha256="ab" * 32,
    input_tokens=1_000,
    output_tokens=100,
    cost_microusd=700,
    prices="genai-prices 1",
)
DATA, SCOPE = RiskMark("data", "high"), RiskMark("scope", "low")
TEXT = "It drops a table. Keep a copy.\nIt may grow. Split it.\nmany places"


def ask(*task_ids: str, project_id: str = WEB) -> RequestAssessments:
    return RequestAssessments(
        request_id=request_id(), principal=SYSTEM, project_id=project_id, task_ids=task_ids
    )


def judged(task_id: str = "T-1", **fields: Any) -> AssessmentDraft:
    given = {"minutes": 90, "level": 4, "risks": (DATA, SCOPE), "text": TEXT, "call": CALL}
    return AssessmentDraft(task_id=task_id, **{**given, **fields})


def asked(scenario: Scenario) -> Effect:
    (effect,) = [e for e in scenario.engine.outbox.pending.values() if not e.task_id]
    return effect


def store(effect: Effect, *drafts: AssessmentDraft) -> StoreAssessments:
    return StoreAssessments(
        request_id=request_id(), principal=SYSTEM, effect_id=effect.effect_id, drafts=drafts
    )


def update(task_id: str = "T-1", **fields: Any) -> UpdateTask:
    return UpdateTask(request_id=request_id(), principal=PERSON, task_id=task_id, **fields)


@pytest.fixture
def told() -> Scenario:
    """T-1 was judged by a model: 90 minutes, level 4, two risks."""
    scenario = Scenario(FactorsScorer())
    scenario.given(a_project(), an_agent(ADA))
    scenario.new_task("Migrate", description="all of it")
    scenario.given(ask("T-1"))
    scenario.given(store(asked(scenario), judged()))
    return scenario


def test_a_request_asks_for_one_effect_with_the_tasks_as_they_read(team: Scenario) -> None:
    team.new_task("Write the parser", description="for dates")
    team.new_task("Write the lexer")
    team.when(ask("T-1", "T-2", "T-1", "T-9")).then(AssessmentsRequested)
    found = brief(team.world, asked(team), team.texts)
    assert [(t.task_id, t.description) for t in found.tasks] == [("T-1", "for dates"), ("T-2", "")]


def test_a_project_s_next_request_waits_for_the_answer_to_the_last(team: Scenario) -> None:
    team.new_task()
    team.new_task()
    team.given(ask("T-1"))
    team.when(ask("T-2")).then()
    team.given(store(asked(team), judged()))
    team.when(ask("T-2")).then(AssessmentsRequested)


def test_an_import_of_many_tasks_is_asked_about_a_few_at_a_time(team: Scenario) -> None:
    team.given(an_import(*(TaskDraft(title=f"task {n}") for n in range(300))))
    wanted = [task.id for task in most_wanted(team.world, WEB)]
    assert len(wanted) == AT_ONCE
    team.given(ask(*team.world.tasks))
    (request,) = team.of_kind(AssessmentsRequested)
    assert len(request.task_ids) == AT_ONCE


def test_what_can_start_first_and_is_urgent_is_asked_about_first(team: Scenario) -> None:
    first = team.new_task("first")
    waiting = team.new_task("waiting", dependencies=(first,), priority=3)
    urgent = team.new_task("urgent", priority=2)
    team.new_task("a person has said everything", estimate_min=30, complexity=2)
    assert [t.id for t in most_wanted(team.world, WEB)] == [urgent, first, waiting]


def test_an_assessment_keeps_who_judged_from_which_prompt_at_what_price(told: Scenario) -> None:
    kept = told.task("T-1").assessment
    assert kept is not None
    assert (kept.minutes, kept.level, kept.risks) == (90, 4, (DATA, SCOPE))
    assert kept.writer == CALL.writer
    data = [unseal(stored).data for stored in told.journal]
    (event,) = [one for one in data if isinstance(one, TaskAssessed)]
    assert event.call == CALL
    for charged in (told.task("T-1"), told.world.projects[WEB]):
        assert (charged.usage.tokens, charged.usage.cost_microusd) == (1_100, 700)
    assert told.engine.outbox.pending == {}


def test_what_a_person_gives_goes_before_what_was_judged(told: Scenario) -> None:
    assert (told.task("T-1").minutes, told.task("T-1").level) == (90, 4)
    told.given(update(estimate_min=20))
    assert (told.task("T-1").minutes, told.task("T-1").level) == (20, 1)
    told.given(update(complexity=3))
    assert (told.task("T-1").minutes, told.task("T-1").level) == (20, 3)


def test_the_scorer_sees_the_level_and_the_record_says_where_it_came_from(told: Scenario) -> None:
    given = told.assigned()
    (row,) = given.decision.fact_rows.tolist()
    assert dict(zip(FACTS, row, strict=True))["level"] == 4.0
    events = [unseal(stored) for stored in told.journal]
    (event,) = [e for e in events if e.data == given]
    known = explain(event, given, past=events).assessment
    assert known is not None
    assert (known.level, known.by, known.prompt) == (4, CALL.writer, "assessment@1")
    assert known.cost_usd == pytest.approx(0.0007)


def test_an_assessment_that_came_after_the_decision_explains_nothing(team: Scenario) -> None:
    team.new_task()
    team.given(ask("T-1"))
    given = team.assigned()
    team.given(store(asked(team), judged()))
    events = [unseal(stored) for stored in team.journal]
    (event,) = [e for e in events if e.data == given]
    assert explain(event, given, past=events).assessment is None


def test_held_work_is_counted_with_its_assessed_minutes_and_freed_again(team: Scenario) -> None:
    team.new_task()
    team.given(ask("T-1"))
    token = team.assigned().lease_token
    team.given(store(asked(team), judged()))
    assert team.world.held_min[ADA] == 90
    team.given(release("T-1", token))
    assert team.world.held_min[ADA] == 0


def test_a_changed_text_wants_a_new_judgement(told: Scenario) -> None:
    told.given(update(title="Migrate half of it"))
    assert told.task("T-1").assessment is None
    assert [task.id for task in most_wanted(told.world, WEB)] == ["T-1"]


def test_a_judgement_of_a_text_that_changed_meanwhile_is_not_kept(team: Scenario) -> None:
    team.new_task()
    team.given(ask("T-1"))
    effect = asked(team)
    team.given(update(description="something else"))
    team.when(store(effect, judged())).then(EffectAbandoned)
    assert team.task("T-1").assessment is None
    assert team.engine.outbox.pending == {}
    team.when(ask("T-1")).then(AssessmentsRequested)


def test_other_changes_keep_it(told: Scenario) -> None:
    told.given(update(priority=3, labels=("db",)))
    assert told.task("T-1").assessment is not None


def test_the_end_of_an_attempt_does_not_take_the_question_back(team: Scenario) -> None:
    team.new_task()
    team.given(ask("T-1"))
    token = team.assigned().lease_token
    team.given(release("T-1", token))
    team.when(store(asked(team), judged())).then(TaskAssessed)


def test_of_several_tasks_those_that_still_want_it_are_kept(team: Scenario) -> None:
    team.new_task()
    team.new_task()
    team.given(ask("T-1", "T-2"))
    effect = asked(team)
    team.given(CancelTask(request_id=request_id(), principal=PERSON, task_id="T-1"))
    assert [t.task_id for t in brief(team.world, effect, {}).tasks] == ["T-2"]
    team.when(store(effect, judged("T-1"), judged("T-2"), judged("T-99"))).then(TaskAssessed)
    assert team.task("T-1").assessment is None


def test_a_part_is_kept_and_the_rest_is_asked_for_anew_after_a_crash(team: Scenario) -> None:
    team.new_task()
    team.new_task()
    team.given(ask("T-1", "T-2"))
    effect = asked(team)
    part = msgspec.structs.replace(store(effect, judged("T-1")), is_part=True)
    team.when(part).then(TaskAssessed)
    team.restart()
    assert [t.task_id for t in brief(team.world, asked(team), {}).tasks] == ["T-2"]
    team.when(part).then()  # the same once more
    team.when(store(effect, judged("T-2"))).then(TaskAssessed)
    assert team.engine.outbox.pending == {}


def test_an_answer_that_comes_twice_is_kept_once(told: Scenario) -> None:
    gone = Effect("AssessTasks:4", "", 0, None)  # type: ignore[arg-type]  # only its id is used
    told.when(store(gone, judged(minutes=5))).then()
    assert told.task("T-1").minutes == 90


@pytest.mark.parametrize(
    ("minutes", "level", "kept"),
    [(-3, 0, (1, 1)), (10**9, 9, (MAX_MINUTES, 5)), (MAX_MINUTES, 5, (MAX_MINUTES, 5))],
)
def test_what_is_stored_is_bounded_whoever_answers(
    team: Scenario, minutes: int, level: int, kept: tuple[int, int]
) -> None:
    team.new_task()
    team.given(ask("T-1"))
    many = judged(minutes=minutes, level=level, risks=(DATA,) * 50, text="x" * 100_000)
    team.given(store(asked(team), many))
    found = team.task("T-1").assessment
    assert found is not None
    assert (found.minutes, found.level) == kept
    assert len(found.risks) == 6
    assert len(team.texts[found.text or ""]) < 10_000


def test_a_price_that_reaches_the_project_s_cap_holds_it(team: Scenario) -> None:
    team.given(a_project("P-poor", cost_cap_microusd=500))
    task_id = team.new_task(project_id="P-poor")
    team.given(ask(task_id, project_id="P-poor"))
    team.when(store(asked(team), judged(task_id))).then(TaskAssessed, HoldPlaced)


def test_an_effect_that_is_given_up_may_be_asked_for_again(team: Scenario) -> None:
    team.new_task()
    team.given(ask("T-1"))
    gave_up = AbandonEffect(
        request_id=request_id(),
        principal=SYSTEM,
        effect_id=asked(team).effect_id,
        task_id="",
        reason="no answer",
    )
    team.when(gave_up).then(EffectAbandoned)
    team.when(ask("T-1")).then(AssessmentsRequested)


@pytest.mark.parametrize("principal", [PERSON, agent_principal(ADA)])
@pytest.mark.parametrize("command", [lambda _: ask("T-1"), lambda e: store(e, judged())])
def test_neither_people_nor_agents_assess(
    team: Scenario, principal: Any, command: Callable[[Effect], Command]
) -> None:
    team.new_task()
    team.given(ask("T-1"))
    team.when(of_person(command(asked(team)), principal)).then_refused("forbidden")


def test_an_unknown_project_is_refused(team: Scenario) -> None:
    team.when(ask("T-1", project_id="P-none")).then_refused("unknown_project")


def test_context_search_and_status_show_it(told: Scenario) -> None:
    shown = task_context(told.world, "T-1", told.texts).assessment
    assert shown is not None
    assert (shown.minutes, shown.level, shown.by) == (90, 4, CALL.writer)
    assert [(r.kind, r.severity, r.text) for r in shown.risks] == [
        ("data", "high", "It drops a table. Keep a copy."),
        ("scope", "low", "It may grow. Split it."),
    ]
    assert shown.reasons == ["many places"]
    (item,) = search_tasks(told.world).tasks
    assert (item.complexity, item.minutes, item.risk) == (4, 90, "high")
    (risky,) = project_status(told.world, WEB, told.texts).risky
    assert (risky.task_id, risky.risk.text) == ("T-1", "It drops a table. Keep a copy.")
    token = told.assigned().lease_token
    assert project_status(told.world, WEB, told.texts).risky == [risky]
    told.given(complete("T-1", token))
    assert project_status(told.world, WEB, told.texts).risky == []


def test_an_erased_text_leaves_the_kinds_of_risks(told: Scenario) -> None:
    shown = task_context(told.world, "T-1", {}).assessment
    assert shown is not None
    assert [(r.kind, r.text) for r in shown.risks] == [("data", "(erased)"), ("scope", "(erased)")]


def test_the_instructions_of_an_assignment_are_told_of_the_risks(told: Scenario) -> None:
    told.assigned()
    (effect,) = told.engine.outbox.pending.values()
    assert instruction_brief(told.world, effect, told.texts).risks == (
        "data (high): It drops a table. Keep a copy.",
        "scope (low): It may grow. Split it.",
    )
