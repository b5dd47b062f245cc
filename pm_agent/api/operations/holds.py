"""Operations on what stops tasks from being given out."""

from pm_agent.api.handlers.call import sends
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import holds as schemas
from pm_agent.domain import hold
from pm_agent.features.holds.decide import HoldResult

HOLDS: tuple[Operation, ...] = (
    Operation(
        name="place_hold",
        kind="command",
        tier="lead",
        work="completion",
        method="POST",
        path="/v1/holds",
        scope="pm:hold",
        input=schemas.PlaceHoldInput,
        result=HoldResult,
        command=hold.PlaceHold,
        handler=sends(hold.PlaceHold),
        destructive=True,
        idempotent=True,
        status=201,
        help="Call this to stop giving out tasks in the workspace or a project, to one agent, or "
        "one task.",
    ),
    Operation(
        name="lift_hold",
        kind="command",
        tier="lead",
        work="claim",
        method="POST",
        path="/v1/holds/lift",
        scope="pm:hold",
        input=schemas.LiftHoldInput,
        result=HoldResult,
        command=hold.LiftHold,
        handler=sends(hold.LiftHold),
        help="Call this to lift the holds of one kind, or all, in a scope.",
    ),
)
