"""Report and resolve blockers."""

from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.blocker import BlockerReported, BlockerResolved, ReportBlocker, ResolveBlocker
from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import InvalidInput, UnknownBlocker, WrongState
from pm_agent.domain.ids import blocker_id
from pm_agent.domain.task import LEASED
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_lease
from pm_agent.kernel.types import Context, Decision, Result


class BlockerResult(Result, frozen=True, kw_only=True):
    """The blocker, its task, and what to do next."""

    blocker_id: str
    task_id: str
    state: str  # of the blocker: open or resolved
    task_state: str
    next_step: str


def report(world: World, command: ReportBlocker, context: Context) -> Decision:
    """Note what stops a task; give the task back when the agent asks for that."""
    task, assignment = require_lease(world, command.principal, command.task_id, command.lease_token)
    if task.state not in LEASED:
        message = f"Task {task.id} is {task.state}: its work was handed in already."
        raise WrongState(message)
    description = context.body(command.description.strip())
    if description is None:
        message = "A blocker needs a description."
        raise InvalidInput(message)
    number = world.next_blocker_number
    events: list[EventData] = [
        BlockerReported(
            blocker_id=blocker_id(number),
            number=number,
            task_id=task.id,
            agent_id=assignment.agent_id,
            lease_token=assignment.lease_token,
            description=description.ref,
            severity=command.severity,
        )
    ]
    next_step = "Keep heartbeating; the task goes on when the blocker is resolved."
    if command.release:
        events.append(
            TaskReleased(
                task_id=task.id,
                agent_id=assignment.agent_id,
                lease_token=assignment.lease_token,
                reason="blocked",
                note=description.ref,
            )
        )
        next_step = "The task was given back. Ask for another with request_next_task."
    result = BlockerResult(
        blocker_id=blocker_id(number),
        task_id=task.id,
        state="open",
        task_state="blocked",
        next_step=next_step,
    )
    return Decision(events=events, bodies=[description], result=result)


def resolve(world: World, command: ResolveBlocker, context: Context) -> Decision:
    """Answer a blocker; with the last open one the task goes on."""
    blocker = world.blockers.get(command.blocker_id)
    if blocker is None:
        message = f"There is no blocker {command.blocker_id}."
        raise UnknownBlocker(message)
    if not blocker.is_open:
        message = f"Blocker {blocker.id} was resolved already."
        raise WrongState(message, "Nothing more to do.")
    resolution = context.body(command.resolution.strip())
    if resolution is None:
        message = "A resolution says what to do now, or what was done."
        raise InvalidInput(message)
    resolved = BlockerResolved(
        blocker_id=blocker.id, task_id=blocker.task_id, resolution=resolution.ref
    )
    others = [b for b in world.open_blockers(blocker.task_id) if b.id != blocker.id]
    state = world.tasks[blocker.task_id].state
    if state == "blocked" and not others:
        state = "assigned" if blocker.task_id in world.assignments else "open"
    result = BlockerResult(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        state="resolved",
        task_state=state,
        next_step="The agent sees the resolution in the task's context.",
    )
    return Decision(events=[resolved], bodies=[resolution], result=result)
