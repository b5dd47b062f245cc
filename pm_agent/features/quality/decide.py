"""Take completions and judge them."""

import msgspec

from pm_agent.domain.assignment import (
    AcceptCompletion,
    CandidateKept,
    CandidateRejected,
    CompleteTask,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    RejectCompletion,
    SubmitCandidate,
    TaskReleased,
)
from pm_agent.domain.attempt import FAILED_OUTCOMES, Attempt
from pm_agent.domain.envelope import NO_USAGE, Body, EventData, Principal
from pm_agent.domain.errors import (
    AlreadyCompleted,
    Forbidden,
    InvalidInput,
    PMError,
    StaleLease,
    WrongState,
)
from pm_agent.domain.hold import HoldLifted
from pm_agent.domain.ids import AgentId
from pm_agent.domain.instruction import EffectAbandoned
from pm_agent.domain.task import Candidate, Submission, Task, TaskDeadLettered
from pm_agent.domain.world import World
from pm_agent.kernel.caps import after_usage
from pm_agent.kernel.fencing import lost_attempt, require_lease, require_task
from pm_agent.kernel.retry import after_failure
from pm_agent.kernel.types import Context, Decision, Result


class CompletionResult(Result, frozen=True, kw_only=True):
    """What became of the work handed in."""

    task_id: str
    state: str  # done, in_review, open (rejected) or dead_letter
    next_step: str


def complete(world: World, command: CompleteTask, context: Context) -> Decision:
    """Take work as handed in; with the policy ``auto`` accept it in the same step.

    Work may come after its lease was lost. While nobody else has the task its agent gets it again
    and the work is taken; else it is refused, and kept as a candidate on the task.
    """
    if _is_buried_attempt(world, command):
        return Decision(result=_result(command.task_id, "done"))
    task = require_task(world, command.task_id)
    if task.state in ("in_review", "done") and _is_same_attempt(task, command):
        return Decision(result=_result(task.id, task.state))
    lost = lost_attempt(task, command.principal, command.lease_token)
    if lost is not None:
        return _complete_late(world, command, context, task, lost)
    if task.is_terminal:
        raise _ended(task)
    task, held = require_lease(world, command.principal, command.task_id, command.lease_token)
    return _submitted(world, command, context, held.agent_id, held.lease_token)


def _submitted(
    world: World, command: CompleteTask, context: Context, agent_id: AgentId, lease_token: int
) -> Decision:
    task = world.tasks[command.task_id]
    summary = _summary(command, context)
    events: list[EventData] = [
        CompletionSubmitted(
            task_id=task.id,
            agent_id=agent_id,
            lease_token=lease_token,
            summary=summary.ref,
            evidence=command.evidence,
            usage=command.usage,
        )
    ]
    is_auto = world.projects[task.project_id].completion == "auto"
    if is_auto:
        events.append(
            CompletionAccepted(task_id=task.id, agent_id=agent_id, lease_token=lease_token)
        )
    events += after_usage(world, task.project_id, command.usage)
    result = _result(task.id, "done" if is_auto else "in_review")
    return Decision(events=events, bodies=[summary], result=result)


# -- work that comes after its lease was lost ------------------------------------------------------


def _complete_late(
    world: World, command: CompleteTask, context: Context, task: Task, lost: Attempt
) -> Decision:
    held = world.assignments.get(task.id)
    if task.state in ("done", "cancelled"):
        raise _ended(task)
    if held is not None and held.agent_id == lost.agent_id:
        message = f"You hold {task.id} again, under lease token {held.lease_token}."
        raise StaleLease(message, "Send the completion again with that lease token.")
    if held is not None:
        message = (
            f"Lease token {lost.lease_token} of task {task.id} was lost, and {held.agent_id} works "
            "on the task now."
        )
        refusal: PMError = StaleLease(message, _STOP_KEPT)
    elif task.is_terminal:
        refusal = _ended(task, _STOP_KEPT)
    elif task.waiting_on:
        message = f"Lease token {lost.lease_token} of task {task.id} was lost, and the task waits "
        refusal = StaleLease(f"{message}for {task.waiting_on} other tasks now.", _STOP_KEPT)
    else:
        return _regranted(world, command, context, task, lost)
    return _kept(world, command, context, lost, refusal)


def _regranted(
    world: World, command: CompleteTask, context: Context, task: Task, lost: Attempt
) -> Decision:
    """Give the task back to the agent that did the work, and take it, in one step."""
    if any(kept.lease_token == lost.lease_token for kept in task.candidates):
        command = msgspec.structs.replace(command, usage=NO_USAGE)  # counted when it was kept
    decision = _submitted(world, command, context, lost.agent_id, task.lease_token + 1)
    decision.events = [*_granted_again(task, lost.agent_id, lost.lease_token), *decision.events]
    return decision


def _granted_again(task: Task, agent_id: AgentId, late_token: int) -> list[EventData]:
    waits = [
        HoldLifted(scope="task", target_id=task.id, kind=hold.kind)
        for hold in task.holds
        if hold.kind == "scheduled"  # the wait before another attempt: none is needed now
    ]
    regranted = LeaseRegranted(
        task_id=task.id,
        agent_id=agent_id,
        lease_token=task.lease_token + 1,
        attempt=task.attempt + 1,
        late_token=late_token,
    )
    return [*waits, regranted]


def submit_candidate(world: World, command: SubmitCandidate, context: Context) -> Decision:
    """Hand in late work that was kept, the oldest first: the attempt after it has failed.

    The next agent would only do again what may be done already.
    """
    task = world.tasks.get(command.task_id)
    waiting = [c for c in task.candidates if not c.is_rejected] if task else []
    kept = next((c for c in waiting if c.agent_id in world.agents), None)
    if task is None or kept is None or not _has_failed(world, task):
        return Decision(result=_result(command.task_id, "open"))
    events = _handed_in(task, kept)
    if world.projects[task.project_id].completion == "auto":
        events.append(
            CompletionAccepted(
                task_id=task.id, agent_id=kept.agent_id, lease_token=task.lease_token + 1
            )
        )
    return Decision(events=events, result=_result(task.id, "in_review"))


def _handed_in(task: Task, kept: Candidate) -> list[EventData]:
    submitted = CompletionSubmitted(
        task_id=task.id,
        agent_id=kept.agent_id,
        lease_token=task.lease_token + 1,
        summary=kept.summary,
        evidence=kept.evidence,
    )
    return [*_granted_again(task, kept.agent_id, kept.lease_token), submitted]


def _has_failed(world: World, task: Task) -> bool:
    """Whether the last attempt failed, and nobody has the task or may not have it yet."""
    return (
        task.state in ("open", "blocked")
        and task.id not in world.assignments
        and not task.waiting_on
        and task.failures > 0  # not reopened since
        and task.attempts[-1].outcome in FAILED_OUTCOMES
    )


def _kept(
    world: World, command: CompleteTask, context: Context, lost: Attempt, refusal: PMError
) -> Decision:
    """Refuse the work, but keep it with the task for whoever goes on with it."""
    task = world.tasks[command.task_id]
    if any(candidate.lease_token == lost.lease_token for candidate in task.candidates):
        raise refusal
    summary = _summary(command, context)
    kept = CandidateKept(
        task_id=task.id,
        agent_id=lost.agent_id,
        lease_token=lost.lease_token,
        summary=summary.ref,
        evidence=command.evidence,
        usage=command.usage,
    )
    return Decision(
        events=[kept, *after_usage(world, task.project_id, command.usage)],
        bodies=[summary],
        result=_result(task.id, "open"),
        refusal=refusal,
    )


_STOP_KEPT = (
    "Stop working on it: your work is kept with the task as a candidate, and whoever goes on with "
    "it is shown where it lies. Ask for another task with request_next_task."
)


def _ended(task: Task, next_step: str | None = None) -> AlreadyCompleted:
    return AlreadyCompleted(f"Task {task.id} is {task.state} already.", next_step)


def _summary(command: CompleteTask, context: Context) -> Body:
    summary = context.body(command.summary.strip())
    if summary is None:
        message = "A completion needs a summary of what was done."
        raise InvalidInput(message)
    return summary


# -- the verdict -----------------------------------------------------------------------------------


def accept(world: World, command: AcceptCompletion, context: Context) -> Decision:
    """Say yes, as a person or as the gate."""
    if kept := _judged_candidate(world, command):
        return _won(world, command, context, kept)
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
    if kept := _judged_candidate(world, command):
        return _candidate_rejected(world, command, context, kept)
    task, submission = _judged(world, command)
    if task is None or submission is None:
        return Decision(result=_result(command.task_id, "open"))
    report = _reasons(command, context)
    retry = after_failure(task, "rejected", submission.agent_id, context)
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


def _judged_candidate(
    world: World, command: AcceptCompletion | RejectCompletion
) -> Candidate | None:
    """Return the late work that the verdict is about, if it is about work that was kept."""
    task = world.tasks.get(command.task_id)
    if task is None or task.is_terminal:
        return None
    return next(
        (
            kept
            for kept in task.candidates
            if kept.lease_token == command.lease_token
            and not kept.is_rejected
            and kept.agent_id in world.agents
        ),
        None,
    )


def _won(world: World, command: AcceptCompletion, context: Context, kept: Candidate) -> Decision:
    """Late work is first through the gate: the live attempt is stopped, and loses nothing else."""
    _require_judge(command.principal)
    task = world.tasks[command.task_id]
    if task.waiting_on:
        return _not_yet(command, task)
    events: list[EventData] = []
    if held := world.assignments.get(task.id):
        events.append(
            TaskReleased(
                task_id=task.id,
                agent_id=held.agent_id,
                lease_token=held.lease_token,
                reason="stopped",
            )
        )
    report = context.body(command.report)
    accepted = CompletionAccepted(
        task_id=task.id,
        agent_id=kept.agent_id,
        lease_token=task.lease_token + 1,
        effect_id=command.effect_id,
        report=report.ref if report else None,
    )
    events += [*_handed_in(task, kept), accepted]
    return Decision(
        events=events, bodies=[report] if report else [], result=_result(task.id, "done")
    )


def _not_yet(command: AcceptCompletion, task: Task) -> Decision:
    """The work stays kept: what it must wait for was added after its gate had begun."""
    reason = f"Task {task.id} waits for {task.waiting_on} other tasks now."
    if not command.effect_id:
        raise WrongState(reason)
    abandoned = EffectAbandoned(effect_id=command.effect_id, task_id=task.id, reason=reason)
    return Decision(events=[abandoned], result=_result(task.id, "open"))


def _candidate_rejected(
    world: World, command: RejectCompletion, context: Context, kept: Candidate
) -> Decision:
    _require_judge(command.principal)
    report = _reasons(command, context)
    rejected = CandidateRejected(
        task_id=command.task_id,
        agent_id=kept.agent_id,
        lease_token=kept.lease_token,
        reasons=command.reasons,
        effect_id=command.effect_id,
        report=report.ref,
    )
    return Decision(events=[rejected], bodies=[report], result=_result(command.task_id, "open"))


def _reasons(command: RejectCompletion, context: Context) -> Body:
    if not command.reasons:
        message = "A rejection needs at least one reason: the next attempt starts from it."
        raise InvalidInput(message)
    report = context.body("\n".join(("Rejected:", *command.reasons, command.report)).strip())
    assert report is not None
    return report


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
        and command.lease_token in (None, submission.lease_token, submission.late_token or None)
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
        and command.lease_token
        in (submission.lease_token, submission.late_token or submission.lease_token)
        and (command.principal.kind != "agent" or command.principal.id == submission.agent_id)
    )


def _is_buried_attempt(world: World, command: CompleteTask) -> bool:
    """Whether the attempt that completed the task is told again after the task was archived."""
    if command.task_id in world.tasks:
        return False
    buried = world.tombstones.get(command.task_id)
    return (
        buried is not None and buried.state == "done" and buried.lease_token == command.lease_token
    )


_NEXT = {
    "done": "Ask for another task with request_next_task.",
    "in_review": "It is being checked. Ask for another task; a rejection comes back as a task.",
    "open": "It was rejected and waits for a new attempt.",
    "dead_letter": "It failed too often; a person has to look at it.",
}


def _result(task_id: str, state: str) -> CompletionResult:
    return CompletionResult(task_id=task_id, state=state, next_step=_NEXT[state])
