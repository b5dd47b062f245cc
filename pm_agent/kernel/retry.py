"""What happens after a failed attempt: wait and try again, or give up and ask a person."""

from random import Random

from pm_agent.domain.envelope import EventData
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.task import Task, TaskDeadLettered
from pm_agent.kernel.types import Policy


def after_failure(task: Task, now_us: int, policy: Policy, random: Random) -> list[EventData]:
    """Events that follow the end of a failed attempt of ``task`` (as it was before that end).

    Full jitter: a uniform wait between zero and base times 2^failures, at most five minutes, so
    that tasks that failed together do not come back together. See "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015.
    """
    failures = task.failures + 1
    if failures >= policy.max_failures:
        reason = f"{failures} attempts failed"
        return [TaskDeadLettered(task_id=task.id, reason=reason)]
    longest = min(policy.backoff_max_us, policy.backoff_base_us << failures)
    return [
        HoldPlaced(
            scope="task",
            target_id=task.id,
            kind="scheduled",
            reason=f"waits before attempt {task.attempt + 1}",
            until_us=now_us + int(random.random() * longest),
        )
    ]
