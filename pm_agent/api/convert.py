"""Between the wire and the core: one converter for all operations.

Fields have the same names on both sides, except those in the tables here; a test compares every
input model with its command. Results go out as they are: the structs' own JSON, with the time and
the notices added.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel

from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import (
    AcceptCompletion,
    ClaimTask,
    RejectCompletion,
    WaitForTask,
)
from pm_agent.domain.envelope import DEFAULT_WORKSPACE, Command, Principal
from pm_agent.domain.errors import InvalidInput
from pm_agent.domain.ids import agent_id, project_id
from pm_agent.domain.message import AcknowledgeMessages
from pm_agent.domain.notice import Notice
from pm_agent.domain.project import CreateProject
from pm_agent.domain.subscription import Subscribe, TaskFilter
from pm_agent.domain.task import PRIORITIES, CreateTask, TaskDraft
from pm_agent.domain.time import SECOND_US, iso
from pm_agent.kernel.types import Result

MICRO = 1_000_000  # micro-dollars in a dollar
Json = dict[str, Any]
C = TypeVar("C", bound=Command)


class Mapped(NamedTuple):
    """How one wire field is called inside, and how its value is translated."""

    inside: str
    translate: Callable[[Any, int], Any]  # (value, now_us)


def _microusd(usd: float, now_us: int) -> int:
    return round(usd * MICRO)


def _priority(word: str, now_us: int) -> int:
    return PRIORITIES.index(word)


def _instant_us(when: datetime, now_us: int) -> int:
    if when.tzinfo is None:
        message = "until: the instant has no time zone."
        raise InvalidInput(message, "Write it as in 2026-01-31T12:00:00Z.")
    return int(when.timestamp()) * SECOND_US + when.microsecond


def _from_now(seconds: int, now_us: int) -> int:
    return now_us + seconds * SECOND_US


def _same(value: Any, now_us: int) -> Any:
    return value


# Fields that differ between wire and command, wherever they stand.
MAPPED: dict[str, Mapped] = {
    "priority": Mapped("priority", _priority),
    "cost_usd": Mapped("cost_microusd", _microusd),
    "cost_cap_usd": Mapped("cost_cap_microusd", _microusd),
    "until": Mapped("until_us", _instant_us),
    "tasks": Mapped("drafts", _same),
}
# The same for one command only; a gate's timeout_s is another matter than a wait's.
MAPPED_IN: dict[type[Command], dict[str, Mapped]] = {
    WaitForTask: {"timeout_s": Mapped("until_us", _from_now)},
    Subscribe: {
        "min_priority": Mapped("min_priority", _priority),
        "webhook_url": Mapped("url", _same),
    },
    AcknowledgeMessages: {"acknowledge": Mapped("message_ids", _same)},
}
# Fields that the operation's handler reads and its command does not have.
OF_HANDLER: dict[type[Command], frozenset[str]] = {
    AcknowledgeMessages: frozenset({"thread_id", "limit", "response_format"}),
}
# Fields that follow from another one.
DERIVED: dict[type[Command], dict[str, Callable[[Json], str]]] = {
    CreateProject: {"project_id": lambda fields: project_id(fields["name"])},
    RegisterAgent: {"agent_id": lambda fields: agent_id(fields["name"])},
}
# Flat on the wire, one struct inside: callers need not nest what they say.
NESTED: dict[type[Command], tuple[str, frozenset[str]]] = {
    CreateTask: ("draft", frozenset(TaskDraft.__struct_fields__)),
    Subscribe: ("filter", frozenset(TaskFilter.__struct_fields__)),
}
# Fields that only the system sets.
INTERNAL: dict[type[Command], frozenset[str]] = {
    ClaimTask: frozenset({"is_offered", "match"}),
    Subscribe: frozenset({"secret"}),
    AcceptCompletion: frozenset({"effect_id"}),
    RejectCompletion: frozenset({"effect_id"}),
}


def to_command(
    kind: type[C],
    given: BaseModel,
    principal: Principal,
    request_id: str,
    now_us: int,
    *,
    workspace_id: str = DEFAULT_WORKSPACE,
) -> C:
    """Make the command that an input asks for.

    Raises
    ------
    InvalidInput
        A value cannot be translated.
    """
    left_out = {"request_id", *OF_HANDLER.get(kind, ())}
    dumped = given.model_dump(exclude_none=True, exclude=left_out)
    fields: Json = _inside(dumped, now_us, MAPPED | MAPPED_IN.get(kind, {}))
    for name, derive in DERIVED.get(kind, {}).items():
        fields.setdefault(name, derive(fields))
    nested = NESTED.get(kind)
    if nested is not None:
        name, names = nested
        fields[name] = {field: fields.pop(field) for field in names if field in fields}
    fields["request_id"] = _inside(request_id, now_us, {})
    fields["principal"] = principal
    fields["workspace_id"] = workspace_id
    return msgspec.convert(fields, kind)


def _inside(value: Any, now_us: int, mapped: dict[str, Mapped]) -> Any:
    if isinstance(value, dict):
        fields = {}
        for name, given in value.items():
            known = mapped.get(name)
            if known is None:
                fields[name] = _inside(given, now_us, mapped)
            else:
                fields[known.inside] = _inside(known.translate(given, now_us), now_us, mapped)
        return fields
    if isinstance(value, list):
        return [_inside(one, now_us, mapped) for one in value]
    if isinstance(value, str) and "\x00" in value:  # PostgreSQL cannot keep it
        message = "A text holds the character U+0000."
        raise InvalidInput(message, "Remove the NUL characters.")
    return value


# -- out ------------------------------------------------------------------------------------------

encode = msgspec.json.encode


def result_json(
    result: bytes | Result,
    now_us: int,
    notice: Notice | None = None,
    stale_at: int | None = None,
    left_out: dict[str, int] | None = None,
) -> bytes:
    """JSON object of a result, with the server's time and what its agent must be told.

    ``stale_at`` marks a result read at that position while the coordinator could not be heard,
    ``left_out`` one in its concise form.

    Joined as bytes: the core encoded the result already, and decoding it again would be the
    costliest step of a request.
    """
    body = result if isinstance(result, bytes) else encode(result)
    told = b""
    if notice is not None:
        told = b',"directives":%b,"inbox":%d' % (encode(notice.directives), notice.inbox)
    if stale_at is not None:
        told += b',"stale_at_position":%d' % stale_at
    if left_out:
        told += b',"left_out":%b' % encode(left_out)
    start = body[:-1] + b"," if len(body) > len(b"{}") else b"{"
    return b"".join((start, b'"server_time":"', iso(now_us).encode(), b'"', told, b"}"))


ADDED = {
    "server_time": {"type": "string", "description": "The server's time, ISO 8601 UTC."},
    "directives": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What you must do or stop doing now. Only for agents.",
    },
    "inbox": {
        "type": "integer",
        "description": "How many messages wait for you; see read_messages. Only for agents.",
    },
    "left_out": {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "description": "Present when the concise form leaves out items: how many, by list.",
    },
    "stale_at_position": {
        "type": "integer",
        "description": "Present while the journal cannot be reached: this was so at that position, "
        "and there may be news.",
    },
}


def result_schema(result: type[Result]) -> Json:
    """Schema of one result, complete in itself, as MCP wants it."""
    (root,), components = msgspec.json.schema_components([result], ref_template="#/$defs/{name}")
    name = str(root["$ref"]).rsplit("/", 1)[-1]
    schema: Json = with_added(components.pop(name))
    if components:
        schema["$defs"] = components
    return schema


def with_added(schema: Json) -> Json:
    """Return a result's schema with the fields that every result has."""
    return {**schema, "properties": {**schema["properties"], **ADDED}}
