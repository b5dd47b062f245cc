"""Place and lift holds."""

from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import Forbidden, NotFound
from pm_agent.domain.hold import (
    HoldLifted,
    HoldPlaced,
    LiftDueHold,
    LiftHold,
    PlaceHold,
    Scope,
)
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_agent, require_project, require_task
from pm_agent.kernel.types import Context, Decision, Result


class HoldResult(Result, frozen=True, kw_only=True):
    """The kinds of hold that stand now."""

    scope: str
    target_id: str
    holds: list[str]


def place(world: World, command: PlaceHold, context: Context) -> Decision:
    """Place a hold; one of the same kind is replaced."""
    _require_person(command.principal)
    _require_target(world, command.scope, command.target_id)
    placed = HoldPlaced(
        scope=command.scope,
        target_id=command.target_id,
        kind=command.kind,
        reason=command.reason,
        until_us=command.until_us,
    )
    known: set[str] = {h.kind for h in world.holds_of(command.scope, command.target_id)}
    known.add(command.kind)
    return Decision(events=[placed], result=_result(command, known))


def lift(world: World, command: LiftHold, context: Context) -> Decision:
    """Lift holds of one kind, or all."""
    _require_person(command.principal)
    _require_target(world, command.scope, command.target_id)
    known = [h.kind for h in world.holds_of(command.scope, command.target_id)]
    lifted = [kind for kind in known if command.kind in (None, kind)]
    if not lifted:
        message = f"The {command.scope} {command.target_id} has no such hold."
        raise NotFound(message)
    events = [
        HoldLifted(scope=command.scope, target_id=command.target_id, kind=kind) for kind in lifted
    ]
    return Decision(
        events=[*events], result=_result(command, {k for k in known if k not in lifted})
    )


def lift_due(world: World, command: LiftDueHold, context: Context) -> Decision:
    """Lift a hold whose instant has come, unless it was lifted or prolonged since."""
    result = _result(command, set())
    if command.scope == "task" and command.target_id not in world.tasks:  # archived since
        return Decision(result=result)
    due = any(
        hold.kind == command.kind and hold.until_us is not None and hold.until_us <= context.now_us
        for hold in world.holds_of(command.scope, command.target_id)
    )
    if not due:
        return Decision(result=result)
    lifted = HoldLifted(scope=command.scope, target_id=command.target_id, kind=command.kind)
    return Decision(events=[lifted], result=result)


def _require_person(principal: Principal) -> None:
    if principal.role == "worker":
        message = "A worker agent cannot place or lift holds."
        raise Forbidden(message, "Ask a person or a lead agent to do it.")


def _require_target(world: World, scope: Scope, target_id: str) -> None:
    if scope == "project":
        require_project(world, target_id)
    elif scope == "agent":
        require_agent(world, target_id)
    elif scope == "task":
        require_task(world, target_id)


def _result(command: PlaceHold | LiftHold | LiftDueHold, kinds: set[str]) -> HoldResult:
    return HoldResult(scope=command.scope, target_id=command.target_id, holds=sorted(kinds))
