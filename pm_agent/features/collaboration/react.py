"""A request for help that nobody takes up ends at its deadline, or with the blocker it is about."""

from collections.abc import Iterator

from pm_agent.domain.blocker import BlockerResolved
from pm_agent.domain.collaboration import (
    CollaborationExpired,
    CollaborationRequested,
    ExpireCollaboration,
)
from pm_agent.domain.envelope import SYSTEM, Event, EventData
from pm_agent.domain.ids import CollaborationId
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm
from pm_agent.kernel.types import Reactor


def end_collaboration(event: Event, data: CollaborationRequested, world: World) -> Alarm:
    """Look at the deadline whether somebody has taken it up."""
    return _alarm(data.collaboration_id, data.until_us)


def end_with_blocker(
    event: Event, data: BlockerResolved | CollaborationExpired, world: World
) -> Alarm | None:
    """Let nobody take up what is resolved: one request about it after the other."""
    blocker = world.blockers.get(data.blocker_id)
    if blocker is None or blocker.is_open:
        return None
    about = (c for c in world.collaborations.values() if c.blocker_id == blocker.id)
    known = next(about, None)
    return _alarm(known.id, event.at_us, why=f":{blocker.id}") if known else None


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for all that waits for an answer."""
    for request in world.collaborations.values():
        yield _alarm(request.id, request.until_us)


def _alarm(identifier: CollaborationId, until_us: int, why: str = "") -> Alarm:
    command = ExpireCollaboration(
        request_id=f"system:collaboration:{identifier}{why}",
        principal=SYSTEM,
        collaboration_id=identifier,
    )
    return Alarm(until_us, command)


REACTORS: dict[type[EventData], Reactor] = {
    CollaborationRequested: end_collaboration,
    BlockerResolved: end_with_blocker,
    CollaborationExpired: end_with_blocker,
}
