"""Steps against blockers have deadlines; advice is asked of the language model."""

from collections.abc import Iterator

from pm_agent.domain.assignment import CompletionAccepted
from pm_agent.domain.blocker import (
    Blocker,
    BlockerAcknowledged,
    BlockerAdvised,
    BlockerStepEnded,
    BlockerStepTaken,
    CheckBlocker,
    SettleBlockers,
)
from pm_agent.domain.collaboration import (
    Collaboration,
    CollaborationExpired,
    RequestCollaboration,
)
from pm_agent.domain.envelope import SYSTEM, Event, EventData
from pm_agent.domain.ids import BlockerId
from pm_agent.domain.task import TaskCancelled, TaskDeadLettered
from pm_agent.domain.time import SECOND_US
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm, AskForAdvice, Effect, effect_of
from pm_agent.kernel.types import Reactor

Dated = BlockerStepTaken | BlockerAdvised | BlockerAcknowledged


def ask(event: Event, data: BlockerStepTaken, world: World) -> Effect | Alarm | None:
    """Want the language model's advice, or another agent's help, when that is the step."""
    task = world.tasks[data.task_id]
    if data.step == "advice":
        return effect_of(event, task.id, task.lease_token, AskForAdvice(data.blocker_id))
    if data.step == "ask_help":
        return Alarm(event.at_us, _request(event, data, world))
    return None


def _request(event: Event, data: BlockerStepTaken, world: World) -> RequestCollaboration:
    """Ask for help in the name of the agent that is stopped; its own words stay in the context."""
    task, blocker = world.tasks[data.task_id], world.blockers[data.blocker_id]
    need = (
        f"{blocker.agent_id} is stopped at {task.id} by blocker {blocker.id} "
        f"({blocker.blocker_type}). Say yes with respond_to_collaboration to read its report; if "
        f"you know the answer, give it with resolve_blocker."
    )
    return RequestCollaboration(
        request_id=f"system:help:{blocker.id}:{data.number}",
        principal=SYSTEM,
        task_id=task.id,
        lease_token=task.lease_token,
        need=need,
        skills=blocker.needs_skills,
        answer_within_s=max(1, (data.until_us - event.at_us) // SECOND_US),
        blocker_id=blocker.id,
    )


def look_again(event: Event, data: Dated, world: World) -> Alarm:
    """Look at a step when it has had its time."""
    return _alarm(data.until_us, data.blocker_id, data.number)


def go_on(event: Event, data: BlockerStepEnded, world: World) -> Alarm | None:
    """Take the next step at once, where what ended the last one did not."""
    blocker = world.blockers[data.blocker_id]
    return _alarm(event.at_us, blocker.id, 0) if blocker.is_open else None


def stop_waiting(event: Event, data: CollaborationExpired, world: World) -> Alarm | None:
    """Go on at once when all who were asked for help with a blocker have said no."""
    for blocker in world.open_blockers(data.task_id):
        step = blocker.step
        if step is None or step.kind != "ask_help" or not _is_about(data, blocker):
            continue
        if not any(_is_about(asked, blocker) for asked in world.collaborations.values()):
            return _alarm(event.at_us, blocker.id, step.number, is_vain=True)
    return None


def _is_about(asked: Collaboration | CollaborationExpired, blocker: Blocker) -> bool:
    """Whether a request is for help with a blocker; one that names none may be."""
    return asked.task_id == blocker.task_id and asked.blocker_id in ("", blocker.id)


def settle(
    event: Event, data: CompletionAccepted | TaskCancelled | TaskDeadLettered, world: World
) -> Alarm | None:
    """Tell blockers that wait for a task, or have a step to prove on it, that it ended."""
    known = world.task_blockers.get(data.task_id, ())
    if data.task_id not in world.awaited and not any(
        world.blockers[b].unproven_step for b in known
    ):
        return None
    command = SettleBlockers(
        request_id=f"system:blockers:{data.task_id}:{event.position}",
        principal=SYSTEM,
        task_id=data.task_id,
    )
    return Alarm(event.at_us, command)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for every open blocker; one from before there were steps gets its first."""
    for blocker in world.blockers.values():
        if blocker.is_open and not world.tasks[blocker.task_id].is_terminal:
            step = blocker.step
            if step is None:
                yield _alarm(blocker.reported_at_us, blocker.id, 0)
            else:
                yield _alarm(step.until_us, blocker.id, step.number)


def _alarm(at_us: int, blocker_id: BlockerId, number: int, *, is_vain: bool = False) -> Alarm:
    command = CheckBlocker(
        request_id=f"system:blocker:{blocker_id}:{number}{':vain' if is_vain else ''}",
        principal=SYSTEM,
        blocker_id=blocker_id,
        number=number,
        is_vain=is_vain,
    )
    return Alarm(at_us, command)


REACTORS: dict[type[EventData], Reactor] = {
    BlockerStepTaken: ask,
    BlockerStepEnded: go_on,
    CollaborationExpired: stop_waiting,
    CompletionAccepted: settle,
    TaskCancelled: settle,
    TaskDeadLettered: settle,
}
DEADLINES: dict[type[EventData], Reactor] = {
    BlockerStepTaken: look_again,
    BlockerAdvised: look_again,
    BlockerAcknowledged: look_again,
}
