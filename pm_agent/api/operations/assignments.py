"""Operations on an agent's work on a task, from the claim to the verdict."""

from pm_agent.api.handlers import assignments as handlers
from pm_agent.api.handlers.call import sends
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import assignments as schemas
from pm_agent.domain import assignment
from pm_agent.domain.assignment import AcceptCompletion, ClaimTask, WaitForTask
from pm_agent.features.assignment import view as assignment_view
from pm_agent.features.assignment.decide import ReleaseResult
from pm_agent.features.progress.decide import ProgressResult
from pm_agent.features.quality.decide import CompletionResult

ASSIGNMENTS: tuple[Operation, ...] = (
    Operation(
        name="request_next_task",
        kind="command",
        tier="core",
        work="claim",
        method="POST",
        path="/v1/agents/{agent_id}/next-task",
        scope="pm:work",
        input=schemas.RequestNextTaskInput,
        result=handlers.ClaimAnswer,
        command=ClaimTask,
        handler=handlers.next_task,
        help="Call this when you are free and want your next task now. Returns the task with a "
        "lease_token that all writes about it need, or outcome 'none' with a reason and when to "
        "ask again. The task is yours alone until its lease ends.",
    ),
    Operation(
        name="wait_for_task",
        kind="command",
        tier="core",
        work="claim",
        method="POST",
        path="/v1/agents/{agent_id}/wait",
        scope="pm:work",
        input=schemas.WaitForTaskInput,
        result=handlers.ClaimAnswer,
        command=WaitForTask,
        handler=handlers.wait,
        parks=True,
        help="Call this when you are free and willing to wait, up to 50 s, until there is a task "
        "for you. As request_next_task otherwise; outcome 'waiting' means that none came in that "
        "time: call it again. With a task first call report_task_progress at 0 %: until confirm_by "
        "it waits for your word, and then goes to somebody else.",
    ),
    Operation(
        name="report_task_progress",
        kind="command",
        tier="core",
        work="progress",
        method="POST",
        path="/v1/tasks/{task_id}/progress",
        scope="pm:work",
        input=schemas.ReportProgressInput,
        result=ProgressResult,
        command=assignment.ReportProgress,
        handler=sends(assignment.ReportProgress),
        help="Call this at every milestone and at least every 10 minutes while you work on a task. "
        "It renews the lease; the note is where the next agent starts if you stop.",
    ),
    Operation(
        name="complete_task",
        kind="command",
        tier="core",
        work="completion",
        method="POST",
        path="/v1/tasks/{task_id}/complete",
        scope="pm:work",
        input=schemas.CompleteTaskInput,
        result=CompletionResult,
        command=assignment.CompleteTask,
        handler=sends(assignment.CompleteTask),
        idempotent=True,
        help="Call this when the task's work is finished and meets its acceptance criteria. "
        "Depending on the project it is done at once, or in review first. Finished work is worth "
        "handing in even after the lease was lost.",
    ),
    Operation(
        name="release_task",
        kind="command",
        tier="core",
        work="completion",
        method="POST",
        path="/v1/tasks/{task_id}/release",
        scope="pm:work",
        input=schemas.ReleaseTaskInput,
        result=ReleaseResult,
        command=assignment.ReleaseTask,
        handler=sends(assignment.ReleaseTask),
        help="Call this when you cannot or must not go on with a task, so that another agent gets "
        "it. Say in the note where the work stands.",
    ),
    Operation(
        name="approve_task",
        kind="command",
        tier="lead",
        work="completion",
        method="POST",
        path="/v1/tasks/{task_id}/approve",
        scope="pm:plan",
        input=schemas.ApproveTaskInput,
        result=handlers.ApprovalResult,
        command=AcceptCompletion,
        handler=handlers.approve,
        reads_first=True,
        help="Call this to accept the work of a task in review, or to approve a new task so that "
        "agents get it.",
    ),
    Operation(
        name="reject_task",
        kind="command",
        tier="lead",
        work="completion",
        method="POST",
        path="/v1/tasks/{task_id}/reject",
        scope="pm:plan",
        input=schemas.RejectTaskInput,
        result=CompletionResult,
        command=assignment.RejectCompletion,
        handler=sends(assignment.RejectCompletion),
        help="Call this to refuse the work of a task in review; the reasons go to the next "
        "attempt.",
    ),
    Operation(
        name="explain_assignment",
        kind="query",
        tier="wider",
        work="admin_read",
        method="GET",
        path="/v1/tasks/{task_id}/explanation",
        scope="pm:read",
        input=schemas.ExplainAssignmentInput,
        result=assignment_view.Explanation,
        handler=handlers.explain,
        idempotent=True,
        help="Call this to learn why an agent got a task: candidates, scores, factors and chance.",
    ),
)
