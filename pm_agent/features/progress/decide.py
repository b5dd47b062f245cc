"""Take progress reports; count their use against the project's caps."""

from pm_agent.domain.assignment import ProgressReported, ReportProgress
from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import WrongState
from pm_agent.domain.task import LEASED
from pm_agent.domain.time import SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.kernel.caps import after_usage
from pm_agent.kernel.fencing import require_lease
from pm_agent.kernel.leases import lease_until_us
from pm_agent.kernel.types import Context, Decision, Result


class ProgressResult(Result, frozen=True, kw_only=True):
    """State of the task, and how long the lease holds in silence."""

    task_id: str
    state: str
    percent: int
    lease_until: str


def report(world: World, command: ReportProgress, context: Context) -> Decision:
    """Take a report; it is a sign of life for the task, and may declare a silence."""
    task, assignment = require_lease(world, command.principal, command.task_id, command.lease_token)
    if task.state not in LEASED:
        message = f"Task {task.id} is {task.state}: its work was handed in already."
        raise WrongState(message, "Wait for the verdict, and ask for another task meanwhile.")
    note = context.body(command.note)
    declared_us = min(command.expect_silence_s * SECOND_US, context.policy.max_declared_silence_us)
    silence_us = max(declared_us, assignment.silence_us)
    events: list[EventData] = [
        ProgressReported(
            task_id=task.id,
            agent_id=assignment.agent_id,
            lease_token=assignment.lease_token,
            percent=command.percent,
            note=note.ref if note else None,
            where=command.where,
            usage=command.usage,
            silence_us=silence_us if silence_us != assignment.silence_us else 0,
        )
    ]
    events += after_usage(world, task.project_id, command.usage)
    result = ProgressResult(
        task_id=task.id,
        state=task.state,
        percent=command.percent,
        lease_until=iso(
            lease_until_us(silence_us, assignment.budget_us, context.now_us, context.now_us)
        ),
    )
    return Decision(events=events, bodies=[note] if note else [], result=result)
