"""Operations on the workspace and the server itself."""

from pm_agent.api.handlers import slow
from pm_agent.api.handlers import workspace as handlers
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import workspace as schemas
from pm_agent.features.backlog import status as backlog_status

WORKSPACE: tuple[Operation, ...] = (
    Operation(
        name="get_status",
        kind="query",
        tier="lead",
        work="admin_read",
        method="GET",
        path="/v1/status",
        scope="pm:read",
        input=schemas.StatusInput,
        result=backlog_status.WorkspaceStatus,
        handler=handlers.status,
        idempotent=True,
        help="Call this to see the whole workspace: projects, agents, blockers, holds, journal "
        "position.",
    ),
    Operation(
        name="hand_over",
        kind="command",
        tier=None,
        work="completion",
        method="POST",
        path="/v1/handover",
        scope="pm:operate",
        input=schemas.HandOverInput,
        result=handlers.HandOverAnswer,
        handler=handlers.hand_over,
        parks=True,
        destructive=True,
        idempotent=True,
        is_slow=True,
        help="Let another server take this workspace over: stop taking work on, finish what is "
        "under way, save a snapshot and write no more. Only a new server undoes it.",
    ),
    Operation(
        name="get_operation",
        kind="query",
        tier=None,
        work="admin_read",
        method="GET",
        path="/v1/operations/{operation_id}",
        scope="pm:read",
        input=schemas.OperationInput,
        result=slow.OperationAnswer,
        handler=slow.get_operation,
        idempotent=True,
        is_for_all_projects=True,
        help="Ask after a slow operation of yours that was answered with 202.",
    ),
)
