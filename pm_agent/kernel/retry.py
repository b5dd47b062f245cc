"""What happens after a failed attempt: wait and try again, or give up and ask a person."""

from pm_agent.domain.attempt import FAILED_OUTCOMES, AttemptOutcome
from pm_agent.domain.envelope import EventData
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.ids import AgentId
from pm_agent.domain.task import Task, TaskDeadLettered
from pm_agent.kernel.types import Context, Policy


def after_failure(
    task: Task, outcome: AttemptOutcome, agent_id: AgentId, context: Context
) -> list[EventData]:
    """Events that follow a failed attempt of an agent at ``task`` (as it was before that end).

    Full jitter: a uniform wait between zero and base times 2^failures, at most five minutes, so
    that tasks that failed together do not come back together. See "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015.
    """
    policy = context.policy
    if poison := _poison(task, outcome, agent_id, policy):
        return [TaskDeadLettered(task_id=task.id, reason=poison)]
    longest = min(policy.backoff_max_us, policy.backoff_base_us << (task.failures + 1))
    return [
        HoldPlaced(
            scope="task",
            target_id=task.id,
            kind="scheduled",
            reason=f"waits before attempt {task.attempt + 1}",
            until_us=context.now_us + int(context.random.random() * longest),
        )
    ]


def _poison(task: Task, outcome: AttemptOutcome, agent_id: AgentId, policy: Policy) -> str:
    """Why the task should not be tried again, or an empty text.

    Counted since its last reopening. A task keeps its newest attempts only, so what is told apart
    below can be too few; all failures together are counted exactly.
    """
    before = [a for a in task.attempts if a.outcome in FAILED_OUTCOMES] if task.failures else []
    failed = [(a.outcome, a.agent_id) for a in before[-task.failures :]] + [(outcome, agent_id)]
    lost = [who for how, who in failed if how == "expired"]
    given_up = sum(how == "failed" for how, _ in failed)
    if len(set(lost)) >= policy.max_agents_lost:
        return f"{len(set(lost))} agents were lost on it: {', '.join(sorted(set(lost)))}"
    if len(lost) >= policy.max_losses:
        return f"its lease was lost {len(lost)} times"
    if given_up >= policy.max_agent_failures:
        return f"agents failed at it {given_up} times"
    if task.failures + 1 >= policy.max_failures:
        return f"{task.failures + 1} attempts failed"
    return ""
