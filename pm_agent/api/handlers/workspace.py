"""What the operations on the workspace and the server do."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from pm_agent.api.convert import result_json
from pm_agent.api.errors import Problem, problem_from
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import workspace as schemas
from pm_agent.domain.errors import Unavailable
from pm_agent.features.backlog import status as backlog_status
from pm_agent.kernel.types import Result


class OperationAnswer(Result, frozen=True, kw_only=True):
    """A slow request that goes on by itself."""

    operation_id: str
    operation: str
    state: Literal["running", "done", "failed"]
    result: dict[str, Any] | None = None  # of the operation, when it is done
    problem: Problem | None = None  # why it failed


class HandOverAnswer(Result, frozen=True, kw_only=True):
    """Where the journal stands that another server may take over."""

    position: int
    epoch: int  # of the server that handed over; its successor's is higher
    next_step: str


async def status(call: Call, given: schemas.StatusInput) -> Answer:
    """Read the whole workspace."""
    ingress = call.ingress
    signs = await ingress.signs(a.agent_id for a in backlog_status.suspected(call.world))
    status = backlog_status.workspace_status(
        call.world, parked=ingress.n_parked, is_stale=ingress.is_stale, signs=signs
    )
    return call.read(status)


async def hand_over(call: Call, given: schemas.HandOverInput) -> Answer:
    """Let another server take over; about the server, so nothing of it is in the journal."""
    health = await call.ingress.hand_over(given.drain_s)
    result = HandOverAnswer(
        position=health.position,
        epoch=health.epoch,
        next_step="Start the new server on the same journal; this one reads on until it is ended.",
    )
    body = result_json(result, call.ingress.now_us())
    return Answer(body, health.position)


def begin(call: Call, operation: str, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """Let a slow operation go on by itself, and say where to ask after it."""
    job = call.ingress.jobs.start(call.principal, operation, work)
    result = OperationAnswer(operation_id=job.id, operation=operation, state="running")
    body = result_json(result, call.ingress.now_us())
    return Answer(body, call.world.position, status=202, location=f"/v1/operations/{job.id}")


async def get_operation(call: Call, given: schemas.OperationInput) -> Answer:
    """Read how far a slow operation is."""
    job = call.ingress.jobs.find(call.principal, given.operation_id)
    result = OperationAnswer(operation_id=job.id, operation=job.operation, state="running")
    if job.task.done():
        error = None if job.task.cancelled() else job.task.exception()
        if job.task.cancelled() or error is not None:
            cause = error if isinstance(error, Exception) else Unavailable()
            failed = problem_from(cause, job.operation, call.ingress.admission.load)
            result = msgspec.structs.replace(result, state="failed", problem=failed)
        else:
            found = msgspec.json.decode(job.task.result().body)
            result = msgspec.structs.replace(result, state="done", result=found)
    return call.read(result)
