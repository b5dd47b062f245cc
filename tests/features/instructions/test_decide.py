"""Instructions: asked for once per assignment, stored if they are still wanted."""

import pytest

from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.instruction import (
    AbandonEffect,
    EffectAbandoned,
    InstructionsWritten,
    StoreInstructions,
)
from pm_agent.features.instructions.view import body_refs, brief
from pm_agent.kernel.effects import Effect
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    Scenario,
    a_project,
    agent_principal,
    an_agent,
    complete,
    of_person,
    progress,
    reject,
    release,
    request_id,
)


@pytest.fixture
def working(team: Scenario) -> Scenario:
    """A-ada works on T-1, whose instructions are wanted."""
    team.new_task("Write the parser", description="for dates")
    team.assigned()
    return team


def pending(scenario: Scenario) -> Effect:
    (effect,) = scenario.engine.outbox.pending.values()
    return effect


def store(effect: Effect, text: str = "1. Read the issue.") -> StoreInstructions:
    return StoreInstructions(
        request_id=request_id(),
        principal=SYSTEM,
        effect_id=effect.effect_id,
        task_id=effect.task_id,
        lease_token=effect.lease_token,
        text=text,
        writer="rules",
    )


def abandon(effect: Effect) -> AbandonEffect:
    return AbandonEffect(
        request_id=request_id(),
        principal=SYSTEM,
        effect_id=effect.effect_id,
        task_id=effect.task_id,
        reason="the model refused",
    )


def test_an_assignment_asks_for_its_instructions_once(working: Scenario) -> None:
    effect = pending(working)
    assert (effect.task_id, effect.lease_token) == ("T-1", 1)
    working.given(progress("T-1", 1))
    assert pending(working) == effect


def test_what_was_written_is_stored_and_answers_the_effect(working: Scenario) -> None:
    working.when(store(pending(working))).then(InstructionsWritten)
    stored = working.world.instructions["T-1"]
    assert working.texts[stored.text] == "1. Read the issue."
    assert working.engine.outbox.pending == {}


def test_an_answer_that_comes_twice_is_stored_once(working: Scenario) -> None:
    effect = pending(working)
    working.given(store(effect))
    working.when(store(effect)).then()
    assert "stored" not in working.result or not working.result["stored"]


def test_the_end_of_an_attempt_drops_its_effect_and_a_late_answer_stores_nothing(
    working: Scenario,
) -> None:
    effect = pending(working)
    working.given(release("T-1", 1))
    assert working.engine.outbox.pending == {}
    working.when(store(effect)).then()
    assert working.world.instructions == {}


def test_a_late_answer_does_not_reach_the_next_attempt(working: Scenario) -> None:
    late = pending(working)
    working.given(an_agent(BOB), release("T-1", 1))
    working.assigned(BOB)
    working.when(store(late)).then()
    wanted = pending(working)
    assert wanted.effect_id != late.effect_id
    working.when(store(wanted)).then(InstructionsWritten)
    assert working.world.instructions["T-1"].lease_token == 2


def test_an_effect_that_cannot_be_done_is_abandoned_once(working: Scenario) -> None:
    effect = pending(working)
    working.when(abandon(effect)).then(EffectAbandoned)
    assert working.engine.outbox.pending == {}
    working.when(abandon(effect)).then()


def test_an_empty_text_stores_nothing(working: Scenario) -> None:
    working.when(store(pending(working), "")).then()


def test_only_the_system_answers_effects(working: Scenario) -> None:
    effect = pending(working)
    for command in (store(effect), abandon(effect)):
        for principal in (PERSON, agent_principal(ADA)):
            working.when(of_person(command, principal)).then_refused("forbidden")


def test_a_restart_loses_no_effect(working: Scenario) -> None:
    effect = pending(working)
    working.restart()
    assert pending(working) == effect
    working.restart(snapshot_at=len(working.journal))
    assert pending(working) == effect


def test_a_brief_holds_what_dependencies_and_the_last_attempt_left(empty: Scenario) -> None:
    empty.given(a_project(completion="person"), an_agent(), an_agent(BOB))
    empty.new_task("Write the parser", description="for dates")
    given = empty.assigned()
    empty.given(progress("T-1", 1, percent=70, note="half of it", where="task/T-1"))
    empty.given(complete("T-1", given.lease_token), reject("T-1", "tests fail"))
    empty.after(minutes=6)
    empty.assigned(BOB)
    effect = pending(empty)
    texts = {ref: empty.texts[ref] for ref in body_refs(empty.world, effect)}
    told = brief(empty.world, effect, texts)
    assert told.description == "for dates"
    assert told.agent_name == "bob"
    recovery = "\n".join(told.recovery)
    for part in ("A-ada", "rejected", "task/T-1", "tests fail"):
        assert part in recovery
    assert "(erased)" in "\n".join(brief(empty.world, effect, {}).recovery)
