"""Allowances, budgets and the states that follow from two clocks."""

import msgspec
import pytest

from pm_agent.domain.assignment import Assignment
from pm_agent.domain.time import MINUTE_US, SECOND_US
from pm_agent.kernel.leases import (
    attempt_budget_us,
    clocks_of,
    grace_us,
    lease_state,
    lease_until_us,
    silence_allowance_us,
)
from pm_agent.kernel.presence import MIN_GAPS, Presence, Signs
from pm_agent.kernel.types import Policy

HELD = Assignment(
    task_id="T-1",
    agent_id="A-ada",
    lease_token=1,
    attempt=1,
    granted_at_us=0,
    heard_at_us=0,
    silence_us=20 * MINUTE_US,
    budget_us=40 * MINUTE_US,
)


@pytest.mark.parametrize(
    ("allowance_s", "grace_s"),
    [(1, 1), (60, 60), (120, 60), (240, 60), (244, 61), (1200, 300), (2400, 600), (7200, 600)],
)
def test_the_grace_is_a_quarter_of_the_allowance_between_bounds(
    allowance_s: int, grace_s: int
) -> None:
    assert grace_us(allowance_s * SECOND_US) == grace_s * SECOND_US


@pytest.mark.parametrize(
    ("estimate_min", "minutes"), [(0, 180), (1, 30), (5, 30), (20, 120), (40, 240), (480, 240)]
)
def test_a_budget_is_twice_a_pessimistic_duration_between_bounds(
    estimate_min: int, minutes: int
) -> None:
    assert attempt_budget_us(Policy(), estimate_min) == minutes * MINUTE_US


@pytest.mark.parametrize(
    ("gap_min", "allowed_min"), [(1, 20), (6, 20), (10, 30), (30, 90), (50, 120), (600, 120)]
)
def test_an_mcp_agent_may_be_silent_three_times_its_own_gap_between_bounds(
    gap_min: int, allowed_min: int
) -> None:
    presence = Presence()
    for n in range(1, MIN_GAPS + 2):
        presence.hear("A-ada", n * gap_min * MINUTE_US)
    allowed_us = silence_allowance_us("A-ada", presence, Policy(), sends_heartbeats=False)
    assert allowed_us == pytest.approx(allowed_min * MINUTE_US, rel=0.1)


def test_an_agent_that_heartbeats_is_silent_after_four_missed_ones_whatever_its_gaps() -> None:
    presence = Presence()
    for n in range(1, 100):
        presence.hear("A-ada", n * 30 * MINUTE_US)
    allowed_us = silence_allowance_us("A-ada", presence, Policy(), sends_heartbeats=True)
    assert allowed_us == 120 * SECOND_US


@pytest.mark.parametrize(
    ("agent_min", "task_min", "state"),
    [
        (0, 0, "live"),
        (9.9, 19.9, "live"),
        (10, 10, "quiet"),
        (0, 20, "quiet"),
        (19.9, 39.9, "quiet"),
        (20, 20, "suspect"),
        (0, 40, "suspect"),
        (24.9, 49.9, "suspect"),
        (25, 25, "lost"),
        (0, 50, "lost"),
    ],
)
def test_a_lease_is_as_bad_as_its_worse_clock(
    agent_min: float, task_min: float, state: str
) -> None:
    now_us = 1_000 * MINUTE_US
    heard_us = now_us - int(task_min * MINUTE_US)
    held = msgspec.structs.replace(HELD, heard_at_us=heard_us)
    signs = Signs(now_us, 0, {"A-ada": now_us - int(agent_min * MINUTE_US)})
    assert lease_state(held, "assigned", signs, now_us) == state
    until_us = lease_until_us(
        held.silence_us, held.budget_us, signs.heard["A-ada"], held.heard_at_us
    )
    assert until_us == min(c.lost_us for c in clocks_of(held, "assigned", signs))
    assert (state == "lost") == (until_us <= now_us)


def test_the_last_word_about_a_task_is_a_sign_of_its_agent_too() -> None:
    held = msgspec.structs.replace(HELD, heard_at_us=30 * MINUTE_US)
    assert lease_state(held, "assigned", Signs(), 31 * MINUTE_US) == "live"
