"""Holds: placed, lifted by somebody or by the clock."""

import pytest

from pm_agent.domain.hold import HoldLifted, HoldPlaced
from pm_agent.domain.time import HOUR_US
from tests.scenario import (
    ADA,
    WEB,
    Scenario,
    agent_principal,
    claim,
    heartbeat,
    lift_hold,
    of_person,
    place_hold,
    progress,
)

SCOPES = [("workspace", "main"), ("project", WEB), ("agent", ADA), ("task", "T-1")]


@pytest.fixture
def ready(team: Scenario) -> Scenario:
    """One ready task, T-1."""
    team.new_task()
    return team


@pytest.mark.parametrize(("scope", "target"), SCOPES)
def test_a_hold_with_an_end_is_lifted_by_the_clock(
    ready: Scenario, scope: str, target: str
) -> None:
    end_us = ready.now_us + HOUR_US
    ready.when(place_hold(scope, target, "scheduled", until_us=end_us)).then(HoldPlaced)
    ready.after(minutes=59).then()
    ready.after(minutes=2).then(HoldLifted)
    ready.assigned()


@pytest.mark.parametrize(("scope", "target"), SCOPES)
def test_a_restart_keeps_the_end_of_a_hold(ready: Scenario, scope: str, target: str) -> None:
    ready.given(place_hold(scope, target, "scheduled", until_us=ready.now_us + HOUR_US))
    ready.restart()
    ready.after(minutes=61).then(HoldLifted)


def test_a_prolonged_hold_is_lifted_at_its_new_end(ready: Scenario) -> None:
    ready.given(place_hold("task", "T-1", "scheduled", until_us=ready.now_us + HOUR_US))
    ready.given(place_hold("task", "T-1", "scheduled", until_us=ready.now_us + 2 * HOUR_US))
    ready.after(minutes=61).then()
    ready.after(minutes=60).then(HoldLifted)


def test_holds_of_two_kinds_are_two_reasons(ready: Scenario) -> None:
    ready.given(place_hold("task", "T-1", "paused"), place_hold("task", "T-1", "approval"))
    ready.when(lift_hold("task", "T-1", "paused")).then(HoldLifted)
    assert ready.result["holds"] == ["approval"]
    ready.when(claim())
    assert ready.result["outcome"] == "none"
    ready.given(place_hold("task", "T-1", "paused"))
    ready.when(lift_hold("task", "T-1")).then(HoldLifted, HoldLifted)
    ready.assigned()


def test_the_same_kind_placed_again_replaces_the_first(ready: Scenario) -> None:
    ready.given(place_hold("task", "T-1", reason="one"), place_hold("task", "T-1", reason="two"))
    assert [h.reason for h in ready.task("T-1").holds] == ["two"]


def test_only_what_is_held_can_be_lifted(ready: Scenario) -> None:
    ready.when(lift_hold("task", "T-1")).then_refused("not_found")
    ready.when(place_hold("task", "T-9")).then_refused("unknown_task")
    ready.when(place_hold("project", "P-9")).then_refused("unknown_project")
    ready.when(place_hold("agent", "A-9")).then_refused("unknown_agent")


def test_worker_agents_place_and_lift_no_holds(ready: Scenario) -> None:
    worker = agent_principal(ADA)
    ready.when(of_person(place_hold("task", "T-1"), worker)).then_refused("forbidden")
    ready.when(of_person(lift_hold("task", "T-1"), worker)).then_refused("forbidden")


@pytest.mark.parametrize(("scope", "target"), SCOPES)
def test_a_stop_is_told_to_the_running_agent_with_every_reply(
    ready: Scenario, scope: str, target: str
) -> None:
    given = ready.assigned()
    ready.given(place_hold(scope, target, "stopped", reason="wrong plan"))
    assert ready.state("T-1") == "assigned"  # a hold never ends running work by itself
    for command in (heartbeat(), progress("T-1", given.lease_token)):
        ready.given(command)
        assert ready.reply.directives == ("Stop working on T-1 and release it: wrong plan.",)


def test_a_pause_lets_running_work_go_on(ready: Scenario) -> None:
    ready.assigned()
    ready.given(place_hold("task", "T-1", "paused"), heartbeat())
    assert ready.reply.directives == ()
