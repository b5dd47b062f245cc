"""One step: commands in order, each seeing the events of those before it."""

import msgspec

from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.task import TaskCreated
from pm_agent.domain.time import SECOND_US
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_project,
    a_task,
    an_agent,
    claim,
    complete,
    heartbeat,
)


def test_a_later_command_of_a_step_sees_the_events_of_earlier_ones(team: Scenario) -> None:
    step = team.step([a_task(), claim(), complete("T-1", 1), a_task(dependencies=("T-1",))])
    assert [r.error for r in step.replies] == [None] * 4
    assert team.state("T-1") == "done"
    assert "T-2" in team.world.ready


def test_a_refusal_leaves_the_rest_of_its_step_alone(team: Scenario) -> None:
    step = team.step([a_task(dependencies=("T-9",)), a_task()])
    assert step.replies[0].error is not None
    assert [type(e.data) for e in step.events] == [TaskCreated]


def test_two_agents_that_claim_in_one_step_get_two_tasks(team: Scenario) -> None:
    team.given(an_agent(BOB))
    team.new_task()
    step = team.step([claim(ADA), claim(BOB)])
    assert [type(e.data) for e in step.events] == [TaskAssigned]
    assert [b"assigned" in r.result for r in step.replies] == [True, False]


def test_replies_carry_the_position_of_their_own_write(team: Scenario) -> None:
    step = team.step([a_task(), heartbeat(), a_task()])
    base = step.events[0].position
    assert [r.position for r in step.replies] == [base, base, base + 1]


def test_event_time_never_goes_back(team: Scenario) -> None:
    team.new_task()
    team.now_us -= 500 * SECOND_US
    team.given(a_task())
    assert team.journal[-1].at_us == team.journal[-2].at_us


def test_equal_seeds_and_commands_make_equal_journals() -> None:
    journals = []
    for _ in range(2):
        scenario = Scenario(seed=3)
        scenario.step([])
        fixed = [a_project(), an_agent(), a_task(description="text"), claim()]
        commands = [
            msgspec.structs.replace(command, request_id=f"r{i}") for i, command in enumerate(fixed)
        ]
        scenario.step(commands)
        journals.append(scenario.journal)
    assert journals[0] == journals[1]


def test_a_sign_of_life_counts_in_event_time_when_the_wall_clock_was_set_back(
    team: Scenario,
) -> None:
    team.engine.hear([ADA], team.now_us - 500 * SECOND_US)
    assert team.engine.presence.heard_at(ADA) == team.world.tables.now_us


def test_a_process_that_starts_with_its_clock_set_back_counts_silence_in_event_time(
    team: Scenario,
) -> None:
    event_time_us = team.world.tables.now_us
    team.now_us -= 500 * SECOND_US
    for position in (None, 1, len(team.journal)):
        team.restart(snapshot_at=position)
        assert team.engine.presence.heard_at(ADA) == event_time_us
