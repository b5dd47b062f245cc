"""An assignment sets the alarm of its lease."""

from collections.abc import Iterator

from pm_agent.domain.assignment import Assignment, CheckLease, TaskAssigned
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm

# Until an offered task of an old journal must be answered, which does not tell it.
CONFIRM_US = 60_000_000


def watch_lease(event: Event, data: TaskAssigned | HandoffAccepted, world: World) -> Alarm:
    """Look at a new lease when it can end at the earliest."""
    return _alarm(event.at_us, world.assignments[data.task_id])


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for every live lease."""
    for held in world.assignments.values():
        yield _alarm(world.tables.now_us, held)


def _alarm(at_us: int, held: Assignment) -> Alarm:
    command = CheckLease(
        request_id=f"system:lease:{held.task_id}:{held.lease_token}",
        principal=SYSTEM,
        task_id=held.task_id,
        lease_token=held.lease_token,
    )
    first_us = held.silence_us
    if held.is_offered:  # whoever was given it while it waited must answer before
        first_us = min(first_us, held.confirm_us or CONFIRM_US)
    return Alarm(at_us + first_us, command)


REACTORS = {TaskAssigned: watch_lease, HandoffAccepted: watch_lease}
