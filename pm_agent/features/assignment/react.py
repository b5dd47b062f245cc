"""An assignment sets the alarm of its lease."""

from collections.abc import Iterator

from pm_agent.domain.assignment import CheckLease, TaskAssigned
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.ids import TaskId
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm

# The shortest wait after which a lease can end: that of an offered task nobody answers. A silence
# shorter than that is allowed in tests of failures alone.
FIRST_LOOK_US = 60_000_000


def watch_lease(event: Event, data: TaskAssigned | HandoffAccepted, world: World) -> Alarm:
    """Look at a new lease when it can end at the earliest."""
    return _alarm(event.at_us, data.silence_us, data.task_id, data.lease_token)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for every live lease."""
    for held in world.assignments.values():
        yield _alarm(world.tables.now_us, held.silence_us, held.task_id, held.lease_token)


def _alarm(at_us: int, silence_us: int, task_id: TaskId, lease_token: int) -> Alarm:
    command = CheckLease(
        request_id=f"system:lease:{task_id}:{lease_token}",
        principal=SYSTEM,
        task_id=task_id,
        lease_token=lease_token,
    )
    return Alarm(at_us + min(FIRST_LOOK_US, silence_us), command)


REACTORS = {TaskAssigned: watch_lease, HandoffAccepted: watch_lease}
