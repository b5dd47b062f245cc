"""How a lease goes from live to quiet, suspect and lost, and what brings it back."""

from collections.abc import Callable

import pytest

from pm_agent.domain.assignment import (
    AssignmentExpired,
    LeaseSuspected,
    ProgressReported,
)
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.time import HOUR_US, MINUTE_US, SECOND_US
from pm_agent.kernel.leases import lease_state
from pm_agent.kernel.types import Policy
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_project,
    an_agent,
    claim,
    complete,
    heartbeat,
    progress,
    reject,
    report_blocker,
    resolve_blocker,
    wait,
)

LONG_MIN = 60  # estimate of a task whose budget is the longest there is


@pytest.fixture
def beating(empty: Scenario) -> Scenario:
    """A-ada heartbeats and holds T-1, whose budget is long."""
    empty.given(a_project(), an_agent(sends_heartbeats=True))
    empty.new_task(estimate_min=LONG_MIN)
    empty.assigned()
    return empty


@pytest.fixture
def quiet(team: Scenario) -> Scenario:
    """A-ada speaks MCP only and holds T-1."""
    team.new_task()
    team.assigned()
    return team


@pytest.fixture
def short(empty: Scenario) -> Scenario:
    """A-ada heartbeats and holds T-1, whose budget is 30 minutes."""
    empty.given(a_project(), an_agent(sends_heartbeats=True))
    empty.new_task(estimate_min=5)
    assert empty.assigned().budget_us == 30 * MINUTE_US
    return empty


def test_a_lease_is_looked_at_when_it_can_end_and_not_before(quiet: Scenario) -> None:
    assert quiet.engine.next_wakeup_us() == quiet.now_us + 20 * MINUTE_US


def test_a_task_given_to_an_agent_that_waits_is_looked_at_when_it_must_have_answered(
    team: Scenario,
) -> None:
    team.given(wait(ADA, team.now_us + HOUR_US))
    team.new_task()
    assert team.engine.next_wakeup_us() == team.now_us + 10 * MINUTE_US


def expiry(scenario: Scenario) -> str:
    found = scenario.of_kind(AssignmentExpired)
    return str(found[0].reason) if found else ""


def state(scenario: Scenario, task_id: str = "T-1") -> str:
    held = scenario.world.assignments[task_id]
    presence = scenario.engine.presence
    return lease_state(held, scenario.task(task_id).state, presence, scenario.now_us)


def beat(scenario: Scenario, minutes: int) -> list[object]:
    """Heartbeat once a minute; return all that happened meanwhile."""
    happened: list[object] = []
    for _ in range(minutes):
        scenario.after(minutes=1)
        happened += scenario.events
        scenario.given(heartbeat())
    return happened


# -- the session clock ---------------------------------------------------------------------------


def test_a_heartbeating_agent_is_suspect_after_two_minutes_and_lost_after_three(
    beating: Scenario,
) -> None:
    beating.after(seconds=59.9).then()
    assert state(beating) == "live"
    beating.after(seconds=0.1).then()
    assert state(beating) == "quiet"
    beating.after(seconds=59.9).then()
    assert state(beating) == "quiet"
    beating.after(seconds=0.1).then(LeaseSuspected)
    assert state(beating) == "suspect"
    beating.after(seconds=59.9).then()
    assert (state(beating), beating.state("T-1")) == ("suspect", "assigned")
    beating.after(seconds=0.1).then(AssignmentExpired, HoldPlaced)
    assert expiry(beating) == "agent_silent"
    assert beating.task("T-1").failures == 1
    assert beating.task("T-1").attempts[-1].outcome == "expired"


def test_a_suspicion_records_what_it_depended_on(beating: Scenario) -> None:
    beating.after(seconds=40)
    heard_us = beating.now_us
    beating.given(heartbeat())
    beating.after(seconds=130)
    (told,) = beating.of_kind(LeaseSuspected)
    assert (told.task_id, told.agent_id, told.lease_token) == ("T-1", ADA, 1)
    assert (told.reason, told.allowance_us) == ("agent_silent", 120 * SECOND_US)
    assert told.agent_heard_at_us == heard_us
    assert told.task_heard_at_us == heard_us - 40 * SECOND_US
    assert told.lost_at_us == heard_us + 180 * SECOND_US


def test_heartbeats_keep_a_lease_live_and_write_nothing(beating: Scenario) -> None:
    for _ in range(20):
        beating.after(seconds=59).then()
        beating.when(heartbeat()).then()
        assert state(beating) == "live"


def test_a_word_makes_a_suspect_lease_live_again_without_an_event(beating: Scenario) -> None:
    beating.after(seconds=150)
    assert state(beating) == "suspect"
    beating.when(heartbeat()).then()
    assert state(beating) == "live"
    beating.after(seconds=100).then()
    assert beating.state("T-1") == "assigned"


def test_each_silence_is_told_once(beating: Scenario) -> None:
    told = 0
    for _ in range(3):
        for _ in range(5):
            beating.after(seconds=30)
            told += len(beating.of_kind(LeaseSuspected))
        beating.given(heartbeat())
    assert told == 3


def test_a_suspect_task_is_given_to_nobody_else(beating: Scenario) -> None:
    beating.given(an_agent(BOB))
    beating.given(wait(BOB, beating.now_us + HOUR_US))
    beating.after(seconds=170)
    assert state(beating) == "suspect"
    assert beating.world.assignments["T-1"].agent_id == ADA


def test_work_handed_in_under_a_suspect_lease_is_taken(beating: Scenario) -> None:
    beating.after(seconds=170)
    beating.given(complete("T-1", 1))
    assert beating.state("T-1") == "done"


def test_an_agent_that_only_speaks_mcp_may_think_for_twenty_minutes(quiet: Scenario) -> None:
    quiet.after(minutes=19.9).then()
    quiet.after(minutes=0.2).then(LeaseSuspected)
    quiet.after(minutes=4.8).then()
    quiet.after(minutes=0.2)
    assert expiry(quiet) == "agent_silent"


def test_any_request_of_the_agent_is_a_sign_of_life(quiet: Scenario) -> None:
    quiet.after(minutes=19)
    quiet.when(claim()).then_refused("capacity_exceeded")
    quiet.after(minutes=19).then()
    quiet.after(minutes=7)
    assert expiry(quiet) == "agent_silent"


def test_an_agent_whose_habit_are_long_pauses_is_allowed_three_times_its_own(
    team: Scenario,
) -> None:
    for _ in range(40):
        team.after(minutes=15)
        team.given(heartbeat())
    team.new_task()
    given = team.assigned()
    assert given.silence_us == pytest.approx(45 * MINUTE_US, rel=0.1)
    team.given(complete("T-1", 1))
    for _ in range(40):
        team.after(minutes=55)
        team.given(heartbeat())
    team.new_task()
    assert team.assigned().silence_us == 120 * MINUTE_US


def test_an_agent_with_a_quick_habit_keeps_the_usual_allowance(team: Scenario) -> None:
    for _ in range(40):
        team.after(seconds=30)
        team.given(heartbeat())
    team.new_task()
    assert team.assigned().silence_us == 20 * MINUTE_US


@pytest.mark.parametrize("from_snapshot", [False, True])
def test_an_earned_allowance_outlives_the_coordinator_until_another_habit_is_seen(
    team: Scenario, *, from_snapshot: bool
) -> None:
    for _ in range(40):
        team.after(minutes=15)
        team.given(heartbeat())
    team.new_task()
    team.assigned()
    team.given(complete("T-1", 1))
    team.restart(snapshot_at=len(team.journal) if from_snapshot else None)
    team.new_task()
    assert team.assigned().silence_us == pytest.approx(45 * MINUTE_US, rel=0.1)
    team.given(complete("T-2", 1))
    for _ in range(40):
        team.after(minutes=2)
        team.given(heartbeat())
    team.new_task()
    assert team.assigned().silence_us == 20 * MINUTE_US
    team.given(complete("T-3", 1))
    team.restart()
    team.new_task()
    assert team.assigned().silence_us == 20 * MINUTE_US


def test_nothing_is_lost_that_was_not_suspect_for_a_whole_grace(beating: Scenario) -> None:
    """A coordinator that was paused for an hour has heard nobody, and tells so first."""
    beating.now_us += HOUR_US
    beating.step([])
    beating.after(seconds=59.9).then()
    assert state(beating) == "suspect"
    beating.after(seconds=0.1)
    assert expiry(beating) == "agent_silent"


def test_allowances_made_short_for_tests_are_kept_to_the_second() -> None:
    short_us = 4 * SECOND_US
    scenario = Scenario(policy=Policy(heartbeat_silence_us=short_us))
    scenario.given(a_project(), an_agent(sends_heartbeats=True))
    scenario.new_task()
    scenario.assigned()
    scenario.after(seconds=3.9).then()
    scenario.after(seconds=0.1).then(LeaseSuspected)
    scenario.after(seconds=3.9).then()
    scenario.after(seconds=0.1)
    assert expiry(scenario) == "agent_silent"


def test_what_was_said_before_a_pause_ended_counts(beating: Scenario) -> None:
    beating.now_us += HOUR_US
    beating.when(heartbeat())  # it waited to be heard
    assert expiry(beating) == ""
    assert state(beating) == "live"


# -- the attempt budget --------------------------------------------------------------------------


def test_a_living_agent_that_says_nothing_about_its_task_loses_it(short: Scenario) -> None:
    assert beat(short, 29) == []
    assert state(short) == "quiet"
    (told,) = beat(short, 1)
    assert isinstance(told, LeaseSuspected)
    assert told.reason == "task_silent"
    assert beat(short, 7) == []  # its heartbeats are no word about the task, and tell nothing again
    assert state(short) == "suspect"
    beat(short, 1)
    assert short.state("T-1") == "open"
    assert short.task("T-1").attempts[-1].outcome == "expired"


def test_a_word_about_the_task_renews_its_budget(short: Scenario) -> None:
    beat(short, 33)
    assert state(short) == "suspect"
    short.when(progress("T-1", 1)).then(ProgressReported)
    assert state(short) == "live"
    assert beat(short, 29) == []
    (told,) = beat(short, 1)
    assert isinstance(told, LeaseSuspected)


def test_a_new_silence_on_the_other_clock_is_told_too(short: Scenario) -> None:
    short.after(seconds=130).then(LeaseSuspected)
    short.given(heartbeat())
    happened = beat(short, 32)
    assert [e.reason for e in happened if isinstance(e, LeaseSuspected)] == ["task_silent"]


def test_a_declared_silence_counts_on_both_clocks_up_to_two_hours(short: Scenario) -> None:
    short.given(progress("T-1", 1, expect_silence_s=3600))
    short.after(minutes=59).then()  # the agent does not heartbeat, the task's budget is 30 min
    short.given(progress("T-1", 1, expect_silence_s=100_000))
    short.after(minutes=119).then()
    short.after(minutes=2).then(LeaseSuspected, LeaseSuspected)  # of the agent, and the task
    short.after(minutes=8.9).then()
    short.after(minutes=0.2)
    assert expiry(short) == "agent_silent"


def test_a_declared_silence_never_shortens_the_allowance(quiet: Scenario) -> None:
    quiet.given(progress("T-1", 1, expect_silence_s=1))
    quiet.after(minutes=19).then()


def test_a_blocked_task_may_be_silent_but_its_agent_may_not(short: Scenario) -> None:
    short.given(report_blocker("T-1", 1))
    beat(short, 60)
    assert short.of_kind(LeaseSuspected) == []
    assert state(short) == "live"
    short.after(seconds=130)
    assert short.of_kind(LeaseSuspected)[0].reason == "agent_silent"


def test_a_blocker_resolved_late_gives_a_full_budget_again(short: Scenario) -> None:
    short.given(report_blocker("T-1", 1))
    beat(short, 60)
    short.given(resolve_blocker("B-1"))
    assert beat(short, 29) == []
    assert short.state("T-1") == "assigned"


# -- review, recovery, offers --------------------------------------------------------------------


def test_work_in_review_is_live_and_never_expires(empty: Scenario) -> None:
    empty.given(a_project(completion="person"), an_agent())
    empty.new_task()
    empty.assigned()
    empty.given(complete("T-1", 1))
    empty.after(days=3).then()
    assert (state(empty), empty.state("T-1")) == ("live", "in_review")


def test_a_rejection_after_long_review_ends_the_attempt_only(empty: Scenario) -> None:
    empty.given(a_project(completion="person"), an_agent())
    empty.new_task()
    empty.assigned()
    empty.given(complete("T-1", 1))
    empty.after(days=3)
    empty.given(reject("T-1"))
    empty.after(minutes=6)
    assert expiry(empty) == ""


@pytest.mark.parametrize("snapshot_at", [None, 2])
def test_after_a_recovery_every_lease_has_one_full_allowance(
    beating: Scenario, snapshot_at: int | None
) -> None:
    beating.after(seconds=150)
    assert state(beating) == "suspect"
    beating.now_us += 10 * HOUR_US  # nobody could be heard meanwhile
    beating.restart(snapshot_at=snapshot_at)
    assert state(beating) == "live"
    beating.after(seconds=119).then()
    beating.after(seconds=2).then(LeaseSuspected)  # it is a new silence
    beating.after(seconds=58).then()
    beating.after(seconds=2)
    assert expiry(beating) == "agent_silent"


def test_after_a_recovery_an_unanswered_offer_is_given_again_or_runs_out(team: Scenario) -> None:
    team.given(wait(ADA, team.now_us + 10 * MINUTE_US))
    team.after(seconds=1)
    task = team.new_task()
    team.now_us += HOUR_US
    team.restart()
    team.after(seconds=30).then()
    team.when(claim()).then()
    assert team.result["task_id"] == task
    team.after(minutes=10).then()


# -- what an agent is given while it waits ---------------------------------------------------------


def is_woken(scenario: Scenario) -> None:
    """A-ada waits, and T-1 wakes her."""
    scenario.given(wait(ADA, scenario.now_us + 10 * MINUTE_US))
    scenario.after(seconds=1)
    scenario.new_task(estimate_min=LONG_MIN)


def is_answered_at_once(scenario: Scenario) -> None:
    """T-1 is there when A-ada comes to wait."""
    scenario.new_task(estimate_min=LONG_MIN)
    scenario.given(wait(ADA, scenario.now_us + 10 * MINUTE_US))


given_while_waiting = pytest.mark.parametrize("gets", [is_woken, is_answered_at_once])


@given_while_waiting
@pytest.mark.parametrize(("beats", "seconds"), [(True, 60), (False, 600)])
def test_a_waiter_that_vanished_gives_its_task_back_without_a_suspicion_or_a_failure(
    empty: Scenario, gets: Callable[[Scenario], None], *, beats: bool, seconds: int
) -> None:
    empty.given(a_project(), an_agent(sends_heartbeats=beats))
    gets(empty)
    empty.after(seconds=seconds - 1).then()
    empty.after(seconds=2).then(AssignmentExpired)
    assert expiry(empty) == "unconfirmed"
    assert empty.task("T-1").failures == 0
    assert "T-1" in empty.world.ready


@given_while_waiting
def test_any_word_in_time_confirms_and_the_whole_silence_is_allowed_again(
    team: Scenario, gets: Callable[[Scenario], None]
) -> None:
    gets(team)
    team.after(minutes=9)
    team.given(heartbeat())
    team.after(minutes=19).then()
    team.after(minutes=2).then(LeaseSuspected)
    team.after(minutes=5)
    assert expiry(team) == "agent_silent"


def test_who_asks_for_a_task_itself_needs_no_confirmation(quiet: Scenario) -> None:
    assert not quiet.world.assignments["T-1"].is_offered
    quiet.after(minutes=19).then()


def test_an_agent_of_long_pauses_may_be_as_long_with_its_first_word(team: Scenario) -> None:
    for _ in range(25):
        team.after(minutes=15)
        team.given(heartbeat())
    is_woken(team)
    held = team.world.assignments["T-1"]
    assert held.confirm_us == held.silence_us // 2 > 20 * MINUTE_US


def test_a_restart_does_not_forget_who_has_confirmed(team: Scenario) -> None:
    is_woken(team)
    team.after(seconds=30)
    team.given(heartbeat())  # leaves no event
    team.after(minutes=1)
    team.restart()
    team.after(minutes=19).then()
    assert state(team) == "quiet"


def test_the_next_attempt_carries_a_higher_token_and_what_was_left(quiet: Scenario) -> None:
    quiet.given(an_agent(BOB))
    quiet.given(progress("T-1", 1, percent=60, note="parser done", where="task/T-1/a1"))
    quiet.after(minutes=30)
    assert expiry(quiet) == "agent_silent"
    given = quiet.assigned(BOB)
    assert (given.lease_token, given.attempt) == (2, 2)
    last = quiet.task("T-1").attempts[-1]
    assert (last.agent_id, last.percent, last.where) == (ADA, 60, "task/T-1/a1")
    assert last.note is not None
    assert quiet.texts[last.note] == "parser done"
