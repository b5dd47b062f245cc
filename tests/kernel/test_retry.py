"""After a failed attempt: full jitter, then the dead-letter list."""

from random import Random

import pytest

from pm_agent.domain.attempt import Attempt, AttemptOutcome
from pm_agent.domain.envelope import EventData
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.task import Task, TaskDeadLettered
from pm_agent.domain.time import MINUTE_US, SECOND_US
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel.presence import Presence
from pm_agent.kernel.retry import after_failure
from pm_agent.kernel.types import Context, Policy

Past = tuple[AttemptOutcome, str]


def context(seed: int = 1, policy: Policy | None = None) -> Context:
    return Context(
        now_us=0,
        random=Random(seed),
        scorer=PriorityScorer(),
        presence=Presence(),
        policy=policy or Policy(),
        pending_effects={},
    )


def failed(times: int, *attempts: Past) -> Task:
    past = tuple(
        Attempt(agent_id=who, lease_token=n, outcome=how, started_at_us=0, ended_at_us=0)
        for n, (how, who) in enumerate(attempts, start=1)
    )
    return Task(id="T-1", number=1, project_id="P-web", title="t", failures=times, attempts=past)


def reason(events: list[EventData]) -> str:
    (event,) = events
    return event.reason if isinstance(event, TaskDeadLettered) else ""


@pytest.mark.parametrize(("before", "longest_s"), [(0, 10), (1, 20), (2, 40), (3, 80)])
def test_waits_are_uniform_up_to_a_bound_that_doubles(before: int, longest_s: int) -> None:
    now = context()
    waits = []
    for _ in range(400):
        (hold,) = after_failure(failed(before), "rejected", "A-ada", now)
        assert isinstance(hold, HoldPlaced)
        assert hold.until_us is not None
        waits.append(hold.until_us)
    assert 0 <= min(waits) < 0.05 * longest_s * SECOND_US
    assert 0.95 * longest_s * SECOND_US < max(waits) <= longest_s * SECOND_US
    assert sum(waits) / 400 == pytest.approx(longest_s * SECOND_US / 2, rel=0.15)


def test_no_wait_is_longer_than_five_minutes_so_that_a_task_can_come_back() -> None:
    policy = Policy(max_failures=60)
    longest = 0
    for before in range(58):
        now = context(before, policy)
        (hold,) = after_failure(failed(before), "rejected", "A-ada", now)
        assert isinstance(hold, HoldPlaced)
        assert hold.until_us is not None
        longest = max(longest, hold.until_us)
    assert 4 * MINUTE_US < longest <= 5 * MINUTE_US


def test_the_fifth_failure_of_whatever_kind_is_a_dead_letter() -> None:
    past: list[Past] = [("rejected", "A-ada"), ("rejected", "A-bob")] * 2
    assert reason(after_failure(failed(3, *past[:3]), "rejected", "A-ada", context())) == ""
    told = reason(after_failure(failed(4, *past), "rejected", "A-ada", context()))
    assert told == "5 attempts failed"


def test_two_different_agents_lost_on_a_task_make_it_a_dead_letter() -> None:
    once = failed(1, ("expired", "A-bob"))
    assert reason(after_failure(once, "rejected", "A-ada", context())) == ""
    assert reason(after_failure(once, "expired", "A-bob", context())) == ""
    told = reason(after_failure(once, "expired", "A-ada", context()))
    assert told == "2 agents were lost on it: A-ada, A-bob"


def test_three_losses_of_one_agent_make_a_dead_letter() -> None:
    twice = failed(2, ("expired", "A-ada"), ("expired", "A-ada"))
    told = reason(after_failure(twice, "expired", "A-ada", context()))
    assert told == "its lease was lost 3 times"


def test_two_agents_giving_up_make_a_dead_letter() -> None:
    once = failed(1, ("failed", "A-bob"), ("released", "A-eve"))
    assert reason(after_failure(once, "rejected", "A-ada", context())) == ""
    told = reason(after_failure(once, "failed", "A-ada", context()))
    assert told == "agents failed at it 2 times"


def test_what_happened_before_a_reopening_counts_no_more() -> None:
    reopened = failed(0, ("expired", "A-bob"), ("failed", "A-eve"))
    assert reason(after_failure(reopened, "expired", "A-ada", context())) == ""
    later = failed(1, ("expired", "A-bob"), ("failed", "A-eve"), ("expired", "A-ada"))
    assert reason(after_failure(later, "failed", "A-eve", context())) == ""
    assert reason(after_failure(later, "expired", "A-eve", context())) != ""


def test_giving_a_task_back_counts_for_nothing() -> None:
    past: list[Past] = [("released", f"A-{n}") for n in range(9)]
    assert reason(after_failure(failed(0, *past), "failed", "A-ada", context())) == ""
