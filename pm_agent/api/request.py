"""What a request says: the few headers that operations read, its body, and both together."""

import re
from typing import Any, NamedTuple

import pydantic_core
from starlette.types import Receive, Scope

from pm_agent.api.errors import MalformedJson, TooLarge
from pm_agent.api.operations import Operation
from pm_agent.domain.errors import InvalidInput, PreconditionRequired

MAX_DEPTH = 16  # levels of JSON; no input has more than 5
MAX_POSITION_DIGITS = 15
Fields = dict[str, Any]
_TAG = re.compile(r'(?:W/)?"?([0-9]{1,15})"?')


class Headers(NamedTuple):
    """The few request headers that operations read."""

    authorization: str = ""
    content_type: str = ""
    content_length: str = ""
    idempotency_key: str = ""
    if_match: str | None = None  # an empty one is not the same as none
    last_event_id: str = ""
    prefer: str = ""
    x_pm_position: str | None = None  # as above


_WANTED = {name.replace("_", "-").encode(): name for name in Headers._fields}


def headers_in(scope: Scope) -> Headers:
    """Pick them out of a request."""
    found = {
        _WANTED[name]: value.decode("latin-1").strip()
        for name, value in scope["headers"]
        if name in _WANTED
    }
    return Headers(**found)


async def read_body(receive: Receive, limit: int, declared: str) -> bytes:
    """Read a request's body, refusing it as soon as it is known to be too large.

    Raises
    ------
    TooLarge
    """
    message = f"The body is larger than {limit // (1024 * 1024)} MiB."
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(message)
    chunks: list[bytes] = []
    size = 0
    while True:
        part = await receive()
        if part["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = part.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLarge(message)
        chunks.append(chunk)
        if not part.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class ClientGone(Exception):
    """The client closed the connection before it got an answer."""


def fields_in(operation: Operation, body: bytes, content_type: str) -> Fields:
    """Return the fields of a body.

    Raises
    ------
    MalformedJson, InvalidInput
    """
    if operation.takes_ndjson and content_type.partition(";")[0] == "application/x-ndjson":
        lines = enumerate(body.splitlines(), start=1)
        return {"tasks": [_json(line, f"Line {n}") for n, line in lines if line.strip()]}
    if not body:
        return {}
    parsed = _json(body, "The body")
    if isinstance(parsed, dict):
        return parsed
    if operation.takes_ndjson and isinstance(parsed, list):
        return {"tasks": parsed}
    message = "body: it is not a JSON object."
    raise InvalidInput(message, 'Send an object, such as {"title": "..."}.')


def _json(raw: bytes, what: str) -> Any:
    try:
        parsed = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedJson(f"{what} is not JSON: {error}.") from error
    # Counting is much cheaper than walking, and most bodies have no more brackets than levels.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(parsed) > MAX_DEPTH:
        raise MalformedJson(f"{what} is more than {MAX_DEPTH} levels deep.")
    return parsed


def _depth(value: Any) -> int:
    """Levels of nesting; the parser itself refuses what would be too deep for this."""
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, inside), default=0)


def merge_headers(
    operation: Operation, fields: Fields, headers: Headers, *, require_if_match: bool = False
) -> None:
    """Take request id and version from headers, where the body does not say them.

    Raises
    ------
    InvalidInput
        Header and body contradict each other.
    PreconditionRequired
        The change does not say which version it is of, and has to here.
    """
    if operation.streams and headers.last_event_id:
        merge(fields, "after", headers.last_event_id, "Last-Event-ID")
    if operation.read_only:
        return
    if headers.idempotency_key:
        merge(fields, "request_id", headers.idempotency_key, "Idempotency-Key")
    wanted = headers.if_match
    if wanted is not None and wanted != "*" and operation.has_version:
        tag = _TAG.fullmatch(wanted)
        if tag is None:
            message = f"If-Match: {wanted[:40]!r} is not an ETag of ours."
            raise InvalidInput(message, "Send the ETag of what you change, unchanged.")
        merge(fields, "expected_version", int(tag[1]), "If-Match")
    says_version = wanted is not None or fields.get("expected_version") is not None
    if require_if_match and operation.has_version and not says_version:
        raise PreconditionRequired


def merge(fields: Fields, name: str, value: str | int, where: str) -> None:
    """Add a field that was said elsewhere than in the body.

    Raises
    ------
    InvalidInput
        The body says something else.
    """
    if fields.get(name) is None:  # null in a body says nothing
        fields[name] = value
    elif fields[name] != value:
        message = f"{name}: the body says something else than {where}."
        raise InvalidInput(message, "Say it in one place only.")


def position_in(header: str | None) -> int:
    """Return the position that a query waits for; 0: none.

    Raises
    ------
    InvalidInput
    """
    if header is None:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) <= MAX_POSITION_DIGITS):
        message = "X-PM-Position: it is not a position of ours."
        raise InvalidInput(message, "Send the header of an answer unchanged, or leave it out.")
    return int(header)
