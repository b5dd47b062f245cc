"""A hold with an end sets an alarm for it."""

from collections.abc import Iterator

from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.hold import Hold, HoldPlaced, LiftDueHold, Scope
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm


def lift_later(event: Event, data: HoldPlaced, world: World) -> Alarm | None:
    """Come back when a hold ends."""
    return _alarm(data.scope, data.target_id, data) if data.until_us is not None else None


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for every hold that has an end."""
    for hold in world.tables.workspace_holds:
        if hold.until_us is not None:
            yield _alarm("workspace", world.tables.workspace_id, hold)
    scopes: tuple[tuple[Scope, dict[str, object]], ...] = (
        ("project", dict(world.projects)),
        ("agent", dict(world.agents)),
        ("task", dict(world.tasks)),
    )
    for scope, table in scopes:
        for target_id in table:
            for hold in world.holds_of(scope, target_id):
                if hold.until_us is not None:
                    yield _alarm(scope, target_id, hold)


def _alarm(scope: Scope, target_id: str, hold: Hold | HoldPlaced) -> Alarm:
    assert hold.until_us is not None
    command = LiftDueHold(
        request_id=f"system:hold:{scope}:{target_id}:{hold.kind}:{hold.until_us}",
        principal=SYSTEM,
        scope=scope,
        target_id=target_id,
        kind=hold.kind,
    )
    return Alarm(hold.until_us, command)


REACTORS = {HoldPlaced: lift_later}
