"""Take completions and judge them."""

from pm_agent.domain.assignment import (
    AcceptCompletion,
    CompleteTask,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    RejectCompletion,
)
from pm_agent.domain.envelope import EventData, Principal
from pm_agent.domain.errors import AlreadyCompleted, Forbidden, InvalidInput, WrongState
from pm_agent.domain.task import Submission, Task, TaskDeadLettered
from pm_agent.domain.world import World
from pm_agent.kernel.caps import after_usage
from pm_agent.kernel.fencing import require_lease, require_task
from pm_agent.kernel.retry import after_failure
from pm_agent.kernel.types import Context, Decision, Result


class CompletionResult(Result, frozen=True, kw_only=True):
    """What became of the work handed in."""

    task_id: str
    state: str  # done, in_review, open (rejected) or dead_letter
    next_step: str


def complete(world: World, command: CompleteTask, context: Context) -> Decision:
    """Take work as handed in; with the policy ``auto`` accept it in the same step."""
    task = require_task(world, command.task_id)
    if task.state in ("in_review", "done") and _is_same_attempt(task, command):
        return Decision(result=_result(task.id, task.state))
    if task.is_terminal:
        message = f"Task {task.id} is {task.state} already."
        raise AlreadyCompleted(message)
    task, assignment = require_lease(world, command.principal, command.task_id, command.lease_token)
    summary = context.body(command.summary.strip())
    if summary is None:
        message = "A completion needs a summary of what was done."
        raise InvalidInput(message)
    events: list[EventData] = [
        CompletionSubmitted(
            task_id=task.id,
            agent_id=assignment.agent_id,
            lease_token=assignment.lease_token,
            summary=summary.ref,
            evidence=command.evidence,
            usage=command.usage,
        )
    ]
    is_auto = world.projects[task.project_id].completion == "auto"
    if is_auto:
        events.append(
            CompletionAccepted(
                task_id=task.id,
                agent_id=assignment.agent_id,
                lease_token=assignment.lease_token,
            )
        )
    events += after_usage(world, task.project_id, command.usage)
    result = _result(task.id, "done" if is_auto else "in_review")
    return Decision(events=events, bodies=[summary], result=result)


def accept(world: World, command: AcceptCompletion, context: Context) -> Decision:
    """Say yes, as a person or as the gate."""
    task, submission = _judged(world, command)
    if task is None or submission is None:
        return Decision(result=_result(command.task_id, "done"))
    report = context.body(command.report)
    accepted = CompletionAccepted(
        task_id=task.id,
        agent_id=submission.agent_id,
        lease_token=submission.lease_token,
        effect_id=command.effect_id,
        report=report.ref if report else None,
    )
    return Decision(
        events=[accepted], bodies=[report] if report else [], result=_result(task.id, "done")
    )


def reject(world: World, command: RejectCompletion, context: Context) -> Decision:
    """Say no, with reasons for the next attempt."""
    task, submission = _judged(world, command)
    if task is None or submission is None:
        return Decision(result=_result(command.task_id, "open"))
    if not command.reasons:
        message = "A rejection needs at least one reason: the next attempt starts from it."
        raise InvalidInput(message)
    text = "\n".join(("Rejected:", *command.reasons, command.report)).strip()
    report = context.body(text)
    assert report is not None
    retry = after_failure(task, context.now_us, context.policy, context.random)
    rejected = CompletionRejected(
        task_id=task.id,
        agent_id=submission.agent_id,
        lease_token=submission.lease_token,
        reasons=command.reasons,
        effect_id=command.effect_id,
        report=report.ref,
    )
    is_dead = isinstance(retry[-1], TaskDeadLettered)
    return Decision(
        events=[rejected, *retry],
        bodies=[report],
        result=_result(task.id, "dead_letter" if is_dead else "open"),
    )


def _judged(
    world: World, command: AcceptCompletion | RejectCompletion
) -> tuple[Task | None, Submission | None]:
    """Return the work to be judged; nothing when a gate's verdict comes late or twice."""
    _require_judge(command.principal)
    task = require_task(world, command.task_id)
    submission = task.submission
    is_current = (
        task.state == "in_review"
        and submission is not None
        and command.lease_token in (None, submission.lease_token)
    )
    if is_current:
        return task, submission
    if command.effect_id:
        return None, None
    message = f"Task {task.id} is {task.state}: no completion waits for a verdict."
    raise WrongState(message)


def _require_judge(principal: Principal) -> None:
    if principal.kind == "agent" and principal.role != "lead":
        message = "A worker agent cannot judge completions."
        raise Forbidden(message)


def _is_same_attempt(task: Task, command: CompleteTask) -> bool:
    submission = task.submission
    return (
        submission is not None
        and submission.lease_token == command.lease_token
        and (command.principal.kind != "agent" or command.principal.id == submission.agent_id)
    )


_NEXT = {
    "done": "Ask for another task with request_next_task.",
    "in_review": "It is being checked. Ask for another task; a rejection comes back as a task.",
    "open": "It was rejected and waits for a new attempt.",
    "dead_letter": "It failed too often; a person has to look at it.",
}


def _result(task_id: str, state: str) -> CompletionResult:
    return CompletionResult(task_id=task_id, state=state, next_step=_NEXT[state])
