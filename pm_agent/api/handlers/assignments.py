"""What the operations on assignments do: claims, verdicts and why."""

from random import random

import msgspec

from pm_agent.api.errors import retry_after_s
from pm_agent.api.handlers.call import LOOKED_BACK, Answer, Call, accepted, own
from pm_agent.api.handlers.tasks import require_known
from pm_agent.api.schemas import assignments as schemas
from pm_agent.domain import task
from pm_agent.domain.assignment import AcceptCompletion, ClaimTask, TaskAssigned, WaitForTask
from pm_agent.domain.envelope import Event
from pm_agent.domain.errors import NotAssigned, NotFound, WrongState
from pm_agent.domain.hold import LiftHold
from pm_agent.domain.ids import TaskId
from pm_agent.features.assignment import view as assignment_view
from pm_agent.features.assignment.decide import ClaimResult
from pm_agent.features.backlog import view as backlog_view
from pm_agent.features.instructions import view as instructions_view
from pm_agent.features.quality.decide import CompletionResult
from pm_agent.kernel.fencing import require_task
from pm_agent.kernel.types import Reply, Result


class ClaimAnswer(ClaimResult, frozen=True, kw_only=True):
    """``outcome`` is ``assigned`` (with the task), ``none`` or ``waiting`` (with the reason)."""

    task: backlog_view.TaskBrief | None = None


class ApprovalResult(Result, frozen=True, kw_only=True):
    """What an approval led to."""

    task_id: str
    state: str
    next_step: str


async def next_task(call: Call, given: schemas.RequestNextTaskInput) -> Answer:
    """Claim a task now."""
    return await _claimed(call, await call.submit(call.command(ClaimTask, own(call, given))))


async def wait(call: Call, given: schemas.WaitForTaskInput) -> Answer:
    """Claim a task, or wait until there is one."""
    command = call.command(WaitForTask, own(call, given))
    return await _claimed(call, accepted(await call.ingress.waiters.wait_for_task(command)))


async def _claimed(call: Call, reply: Reply) -> Answer:
    """Answer a claim; with a task comes all that is needed to start on it."""
    claim = msgspec.json.decode(reply.result, type=ClaimAnswer)
    if claim.outcome == "waiting":  # the time is up: who wants to wait on need not pause first
        pause_s = (
            retry_after_s(call.ingress.admission.load, random()) if call.ingress.leaving else 0
        )
        return call.reply(reply, msgspec.structs.replace(claim, retry_after_s=pause_s))
    if claim.outcome != "assigned":
        return call.reply(reply)
    if not _is_whole(call.world.tasks.get(claim.task_id), claim):
        await call.ingress.reach(reply.position)
    if claim.task_id not in call.world.tasks:  # the replica lags, or it is archived
        return call.reply(reply, claim)
    brief = await brief_of(call, claim.task_id)
    return call.reply(reply, msgspec.structs.replace(claim, task=brief))


async def brief_of(call: Call, task_id: TaskId) -> backlog_view.TaskBrief:
    """All that is needed to start on a task, or to help with it."""
    texts = await call.ingress.texts(backlog_view.context_refs(call.world, task_id))
    before = instructions_view.came_before(call.world, call.world.tasks[task_id], texts)
    return backlog_view.task_brief(call.world, task_id, texts, before)


def _is_whole(known: task.Task | None, claim: ClaimAnswer) -> bool:
    """Whether the replica knows all that was before this assignment, so that nobody has to wait.

    That is its dependencies' results, and how the attempt before it ended.
    """
    if known is None or known.waiting_on:
        return False
    return known.attempt == claim.attempt or (
        known.attempt == claim.attempt - 1 and known.state == "open"
    )


async def approve(call: Call, given: schemas.ApproveTaskInput) -> Answer:
    """Accept a completion in review, or late work; any other task is freed of its approval hold.

    The choice follows from the task's state, so that a repeated request is the same command again.
    """
    state = require_task(call.world, given.task_id).state
    if state in ("in_review", "done") or given.lease_token is not None:
        reply = await call.submit(call.command(AcceptCompletion, given))
        judged = msgspec.json.decode(reply.result, type=CompletionResult)
        next_step = "It is done; tasks that waited for it can start."
        result = ApprovalResult(task_id=judged.task_id, state=judged.state, next_step=next_step)
        return call.reply(reply, result)
    lift = LiftHold(
        request_id=call.request_id,
        principal=call.principal,
        scope="task",
        target_id=given.task_id,
        kind="approval",
    )
    reply = await call.ingress.submit(lift)
    if reply.error is not None and reply.error.code == NotFound.code:
        message = f"Task {given.task_id} is {state} and waits for no approval."
        raise WrongState(message)
    next_step = "It can be given to an agent once all it depends on is done."
    result = ApprovalResult(task_id=given.task_id, state=state, next_step=next_step)
    return call.reply(accepted(reply), result)


async def explain(call: Call, given: schemas.ExplainAssignmentInput) -> Answer:
    """Read why an agent got a task."""
    event = await _assignment_event(call, given.task_id, given.attempt)
    assert isinstance(event.data, TaskAssigned)
    past = await call.ingress.history(given.task_id, LOOKED_BACK)
    return call.read(assignment_view.explain(event, event.data, past=past))


async def _assignment_event(call: Call, task_id: str, attempt: int | None) -> Event:
    require_known(call.world, task_id)
    held = call.world.assignments.get(task_id)
    if held is not None and held.decided_at and attempt in (None, held.attempt):
        current = await call.ingress.event_at(held.decided_at)
        if current is not None:
            return current
    found: Event | None = None
    for event in await call.ingress.history(task_id, LOOKED_BACK):
        if isinstance(event.data, TaskAssigned) and attempt in (None, event.data.attempt):
            found = event
    if found is None:
        which = "was never assigned" if attempt is None else f"had no attempt {attempt}"
        message = f"Task {task_id} {which}."
        raise NotAssigned(message, "There is nothing to explain; see get_task_context.")
    return found
