"""What waits for an answer ends at its deadline."""

from collections.abc import Iterator

from pm_agent.domain.collaboration import CollaborationRequested, ExpireCollaboration
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.handoff import ExpireHandoff, HandoffOffered
from pm_agent.domain.ids import CollaborationId, HandoffId
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm


def end_handoff(event: Event, data: HandoffOffered, world: World) -> Alarm:
    """Look at the deadline whether the receiver has answered."""
    return _handoff_alarm(data.handoff_id, data.until_us)


def end_collaboration(event: Event, data: CollaborationRequested, world: World) -> Alarm:
    """Look at the deadline whether somebody has taken it up."""
    return _collaboration_alarm(data.collaboration_id, data.until_us)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for all that waits for an answer."""
    for handoff in world.handoffs.values():
        yield _handoff_alarm(handoff.id, handoff.until_us)
    for request in world.collaborations.values():
        yield _collaboration_alarm(request.id, request.until_us)


def _handoff_alarm(identifier: HandoffId, until_us: int) -> Alarm:
    command = ExpireHandoff(
        request_id=f"system:handoff:{identifier}", principal=SYSTEM, handoff_id=identifier
    )
    return Alarm(until_us, command)


def _collaboration_alarm(identifier: CollaborationId, until_us: int) -> Alarm:
    command = ExpireCollaboration(
        request_id=f"system:collaboration:{identifier}",
        principal=SYSTEM,
        collaboration_id=identifier,
    )
    return Alarm(until_us, command)


REACTORS = {HandoffOffered: end_handoff, CollaborationRequested: end_collaboration}
