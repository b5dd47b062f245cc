"""After a failed attempt: full jitter, then the dead-letter list."""

from random import Random

import pytest

from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.task import Task, TaskDeadLettered
from pm_agent.domain.time import MINUTE_US, SECOND_US
from pm_agent.kernel.retry import after_failure
from pm_agent.kernel.types import Policy


def failed(times: int) -> Task:
    return Task(id="T-1", number=1, project_id="P-web", title="t", failures=times)


@pytest.mark.parametrize(("before", "longest_s"), [(0, 10), (1, 20), (2, 40), (3, 80)])
def test_waits_are_uniform_up_to_a_bound_that_doubles(before: int, longest_s: int) -> None:
    random = Random(1)
    waits = []
    for _ in range(400):
        (hold,) = after_failure(failed(before), 0, Policy(), random)
        assert isinstance(hold, HoldPlaced)
        assert hold.until_us is not None
        waits.append(hold.until_us)
    assert 0 <= min(waits) < 0.05 * longest_s * SECOND_US
    assert 0.95 * longest_s * SECOND_US < max(waits) <= longest_s * SECOND_US
    assert sum(waits) / 400 == pytest.approx(longest_s * SECOND_US / 2, rel=0.15)


def test_no_wait_is_longer_than_five_minutes() -> None:
    policy = Policy(max_failures=60)
    for before in range(58):
        (hold,) = after_failure(failed(before), 0, policy, Random(before))
        assert isinstance(hold, HoldPlaced)
        assert hold.until_us is not None
        assert hold.until_us <= 5 * MINUTE_US


def test_the_last_failure_is_a_dead_letter() -> None:
    (event,) = after_failure(failed(4), 0, Policy(), Random(1))
    assert event == TaskDeadLettered(task_id="T-1", reason="5 attempts failed")
