"""Operations on what stops a task."""

from pm_agent.api.handlers import blockers as handlers
from pm_agent.api.handlers.call import sends
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import blockers as schemas
from pm_agent.domain import blocker
from pm_agent.features.blockers import view as blockers_view
from pm_agent.features.blockers.decide import BlockerResult

BLOCKERS: tuple[Operation, ...] = (
    Operation(
        name="report_blocker",
        kind="command",
        tier="core",
        work="progress",
        method="POST",
        path="/v1/tasks/{task_id}/blockers",
        scope="pm:work",
        input=schemas.ReportBlockerInput,
        result=BlockerResult,
        command=blocker.ReportBlocker,
        handler=sends(blocker.ReportBlocker),
        help="Call this when something stops you that you cannot solve yourself. Keep the task and "
        "wait for an answer in get_task_context, or give it back with release=true. The reply says "
        "what is being done about it and what you do meanwhile.",
    ),
    Operation(
        name="report_fix",
        kind="command",
        tier="core",
        work="progress",
        method="POST",
        path="/v1/blockers/{blocker_id}/fix",
        scope="pm:work",
        input=schemas.ReportFixInput,
        result=BlockerResult,
        command=blocker.ReportFix,
        handler=sends(blocker.ReportFix),
        help="Call this when you have tried what get_task_context shows under blockers as the "
        "present step: it worked, and you go on; or it did not, and the next step follows.",
    ),
    Operation(
        name="resolve_blocker",
        kind="command",
        tier="wider",
        work="progress",
        method="POST",
        path="/v1/blockers/{blocker_id}/resolve",
        scope="pm:work",
        input=schemas.ResolveBlockerInput,
        result=BlockerResult,
        command=blocker.ResolveBlocker,
        handler=sends(blocker.ResolveBlocker),
        help="Call this when you know the answer to a blocker, yours or another agent's.",
    ),
    Operation(
        name="list_blockers",
        kind="query",
        tier="wider",
        work="board_read",
        method="GET",
        path="/v1/blockers",
        scope="pm:read",
        input=schemas.ListBlockersInput,
        result=blockers_view.BlockerList,
        handler=handlers.list_blockers,
        idempotent=True,
        help="Call this to see what stops tasks: every step that was taken, why and with what "
        "outcome, and what is remembered of similar blockers.",
    ),
    Operation(
        name="acknowledge_blocker",
        kind="command",
        tier="lead",
        work="progress",
        method="POST",
        path="/v1/blockers/{blocker_id}/acknowledge",
        scope="pm:plan",
        input=schemas.AcknowledgeBlockerInput,
        result=BlockerResult,
        command=blocker.AcknowledgeBlocker,
        handler=sends(blocker.AcknowledgeBlocker),
        help="Call this when you have seen a blocker that was escalated and will answer it; you "
        "are not asked again for a day.",
    ),
)
