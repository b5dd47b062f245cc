"""A task that ended is archived some days later."""

from collections.abc import Iterator

from pm_agent.domain.assignment import CompletionAccepted
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.ids import TaskId
from pm_agent.domain.task import ArchiveTask, TaskCancelled, TaskDeadLettered
from pm_agent.domain.time import DAY_US
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm

# The rule itself (policy.archive_after_us) is in decide.py; an early alarm only looks again.
FIRST_LOOK_US = 7 * DAY_US


Ended = CompletionAccepted | TaskCancelled | TaskDeadLettered


def archive_later(event: Event, data: Ended, world: World) -> Alarm:
    """Look at an ended task when its days are over."""
    return _alarm(event.at_us, data.task_id)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for every task that has ended."""
    for task in world.tasks.values():
        if task.is_terminal:
            yield _alarm(task.ended_at_us, task.id)


def _alarm(ended_at_us: int, identifier: TaskId) -> Alarm:
    command = ArchiveTask(
        request_id=f"system:archive:{identifier}", principal=SYSTEM, task_id=identifier
    )
    return Alarm(ended_at_us + FIRST_LOOK_US, command)


REACTORS = {
    CompletionAccepted: archive_later,
    TaskCancelled: archive_later,
    TaskDeadLettered: archive_later,
}
