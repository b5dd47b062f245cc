"""What crosses between Ray actors: msgpack bytes. Small batches travel inline with the call."""

from typing import Any, Union

import msgspec

from pm_agent.catalog import DECIDERS
from pm_agent.domain import errors
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import PMError
from pm_agent.domain.ids import AgentId
from pm_agent.kernel.types import ErrorInfo, Reply
from pm_agent.runtime.backend import EffectJob, Feed

AnyCommand: Any = Union[tuple(DECIDERS)]  # noqa: UP007 - built from the catalog


class Submission(msgspec.Struct, frozen=True):
    """Commands on their way to the coordinator, with agents that were heard."""

    commands: list[AnyCommand]
    heard: list[AgentId]


class Answer(msgspec.Struct, frozen=True):
    """Replies in the order of the commands, or why there are none."""

    replies: list[Reply] = []
    error: ErrorInfo | None = None


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_submission = msgspec.msgpack.Decoder(Submission).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_feed = msgspec.msgpack.Decoder(Feed).decode
decode_jobs = msgspec.msgpack.Decoder(list[EffectJob]).decode

_ERRORS: dict[str, type[PMError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PMError)
}


def encode_submission(commands: list[Command], heard: list[AgentId]) -> bytes:
    """Bytes of a submission."""
    return encode(Submission(commands, heard))


def raise_for(error: ErrorInfo) -> None:
    """Raise an error that came over the wire as what it was."""
    raise _ERRORS.get(error.code, PMError)(error.message, error.next_step)


def cause_of(error: Exception) -> Exception:
    """Return the refusal inside an error that Ray carried, or the error itself."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, PMError):
        return type(cause)(cause.message, cause.next_step)
    return error
