"""A handoff that nobody answers ends at its deadline."""

from collections.abc import Iterator

from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.handoff import ExpireHandoff, HandoffOffered
from pm_agent.domain.ids import HandoffId
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm


def end_handoff(event: Event, data: HandoffOffered, world: World) -> Alarm:
    """Look at the deadline whether the receiver has answered."""
    return _alarm(data.handoff_id, data.until_us)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for all that waits for an answer."""
    for handoff in world.handoffs.values():
        yield _alarm(handoff.id, handoff.until_us)


def _alarm(identifier: HandoffId, until_us: int) -> Alarm:
    command = ExpireHandoff(
        request_id=f"system:handoff:{identifier}", principal=SYSTEM, handoff_id=identifier
    )
    return Alarm(until_us, command)


REACTORS = {HandoffOffered: end_handoff}
