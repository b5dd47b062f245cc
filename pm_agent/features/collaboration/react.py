"""A request for help that nobody takes up ends at its deadline."""

from collections.abc import Iterator

from pm_agent.domain.collaboration import CollaborationRequested, ExpireCollaboration
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.ids import CollaborationId
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm


def end_collaboration(event: Event, data: CollaborationRequested, world: World) -> Alarm:
    """Look at the deadline whether somebody has taken it up."""
    return _alarm(data.collaboration_id, data.until_us)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for all that waits for an answer."""
    for request in world.collaborations.values():
        yield _alarm(request.id, request.until_us)


def _alarm(identifier: CollaborationId, until_us: int) -> Alarm:
    command = ExpireCollaboration(
        request_id=f"system:collaboration:{identifier}",
        principal=SYSTEM,
        collaboration_id=identifier,
    )
    return Alarm(until_us, command)


REACTORS = {CollaborationRequested: end_collaboration}
