"""Slow operations: begun with 202, gone on by themselves, asked after at any replica.

What begins one is a request like any other, so how it ended is in the journal under its request id.
The operation's id names that request: no replica has to remember it, and none that ends takes it
along. Only while it runs, and when the core refused it, is there more than the journal knows: the
replica that runs it knows its own, and the coordinator remembers refusals for a while.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple, Self

import msgspec

from pm_agent.api.convert import result_json
from pm_agent.api.errors import Problem, Refused, problem_from
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.handlers.workspace import handed_over
from pm_agent.api.schemas import workspace as schemas
from pm_agent.domain.errors import NotFound, Unavailable
from pm_agent.domain.time import SECOND_US
from pm_agent.kernel.types import Result

# An import of 10,000 tasks takes seconds. After this, who ran it is thought to have ended.
LONGEST_US = 120 * SECOND_US
AGAIN = "Send the request again with the same request id: it takes effect once."
HAND_OVER = "hand_over"  # the one that is about the server: nothing of it is in the journal


class OperationAnswer(Result, frozen=True, kw_only=True):
    """A slow request that goes on by itself."""

    operation_id: str
    operation: str
    state: Literal["running", "done", "failed"]
    result: dict[str, Any] | None = None  # of the operation, when it is done
    problem: Problem | None = None  # why it failed


class Begun(NamedTuple):
    """A slow request, as its operation's id names it. The id is no authority: its owner has one."""

    operation: str
    request_id: str
    owner: str
    at_us: int
    epoch: int  # of the coordinator then

    @property
    def id(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def of(cls, operation_id: str) -> Self:
        """Read an id.

        Raises
        ------
        NotFound
        """
        try:
            raw = base64.b64decode(
                operation_id + "=" * (-len(operation_id) % 4), altchars=b"-_", validate=True
            )
            return msgspec.json.decode(raw, type=cls)
        except ValueError as error:
            raise _unknown(operation_id) from error


def begin(call: Call, operation: str, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """Let a slow operation go on by itself, and say where to ask after it."""
    now_us, epoch = call.ingress.now_us(), call.world.tables.epoch
    begun = Begun(operation, call.request_id, str(call.principal), now_us, epoch)
    call.ingress.jobs.start((begun.owner, begun.request_id), work)
    result = OperationAnswer(operation_id=begun.id, operation=operation, state="running")
    body = result_json(result, now_us)
    return Answer(body, call.world.position, status=202, location=f"/v1/operations/{begun.id}")


async def get_operation(call: Call, given: schemas.OperationInput) -> Answer:
    """Read how far a slow operation is.

    Raises
    ------
    NotFound, Unavailable
        There is none of the caller's, or the coordinator cannot be asked how it ended.
    """
    begun = Begun.of(given.operation_id)
    if begun.owner != str(call.principal):
        raise _unknown(given.operation_id)
    ended = await _ended(call, begun)
    answer = OperationAnswer(operation_id=begun.id, operation=begun.operation, state="running")
    if isinstance(ended, bytes):
        result = msgspec.json.decode(ended)
        answer = msgspec.structs.replace(answer, state="done", result=result)
    elif ended is not None:
        failed = problem_from(ended, begun.operation, call.ingress.admission.load)
        answer = msgspec.structs.replace(answer, state="failed", problem=failed)
    return call.read(answer)


async def _ended(call: Call, begun: Begun) -> bytes | Exception | None:
    """Return the result of a slow request or why it failed; None while it runs."""
    job = call.ingress.jobs.find((begun.owner, begun.request_id))
    if job is not None and not job.done():
        return None
    error = job.exception() if job is not None and not job.cancelled() else None
    if job is not None and not job.cancelled() and error is None:
        answer: Answer = job.result()
        return answer.body
    if isinstance(error, Exception) and not isinstance(error, Unavailable):
        return error
    # Nothing is known here: begun elsewhere, ended with a replica, or sent and never answered.
    if begun.operation == HAND_OVER:
        return await _handed_over(call, begun)
    reply = await call.ingress.reply_to(begun.owner, begun.request_id)
    if reply is not None:
        return Refused(reply.error) if reply.error is not None else reply.result
    if error is None and call.ingress.now_us() - begun.at_us < LONGEST_US:
        return None  # another replica is at it
    return Unavailable("Nothing came of it: who worked on it has ended.", AGAIN)


async def _handed_over(call: Call, begun: Begun) -> bytes | None:
    """Result of a handover that another replica makes, or made."""
    health = await call.ingress.health()
    is_over = not health.is_writable or health.epoch > begun.epoch
    return msgspec.json.encode(handed_over(health.position, begun.epoch)) if is_over else None


def _unknown(operation_id: str) -> NotFound:
    return NotFound(f"There is no operation {operation_id[:40]} of yours here.", AGAIN)
