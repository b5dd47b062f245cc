"""Plain tool calls past the SDK: a shortcut for bursts, off unless the settings ask for it.

The SDK starts tasks, streams and cancel scopes for every call, which `benchmarks mcp` shows to be
most of a call's CPU at the door. A tool that answers at once needs none of them. What is taken here
is read strictly; whatever is odd in the least, and every tool that may wait, is handed on to the
SDK byte for byte, which then serves or refuses it. Authentication comes before, and authorisation,
pace, admission and metrics are those of `Tools`. A test compares the answers with the SDK's.
"""

from typing import Any, Literal

import msgspec
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION
from starlette.types import Message, Receive, Scope, Send

from pm_agent.api.mcp.door import Door
from pm_agent.api.mcp.tools import Outcome, Tools
from pm_agent.api.operations import BY_NAME

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY = 64 * 1024
_META = "io.modelcontextprotocol/"
_JSON = [(b"content-type", b"application/json")]
# Headers with a meaning here. One that comes twice, or another of the protocol's, is the SDK's.
_KNOWN = frozenset(
    {
        b"host",
        b"accept",
        b"content-type",
        b"mcp-protocol-version",
        b"mcp-method",
        b"mcp-name",
    }
)


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}
    meta: dict[str, Any] = msgspec.field(name="_meta", default_factory=dict)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: Literal["2.0"]
    id: int | str
    method: Literal["tools/call"]
    params: _Params


_decode = msgspec.json.Decoder(_Request).decode


class FastPath:
    """Answers plain tool calls itself.

    Parameters
    ----------
    tools
        What is called.
    identity
        The server's name and version, as the SDK tells them.
    allowed_hosts
        Host names under which it is served, beside the loopback ones.
    """

    def __init__(
        self, tools: Tools, identity: dict[str, Any], allowed_hosts: tuple[str, ...]
    ) -> None:
        self._tools = tools
        self._hosts = {host.encode() for host in (*LOOPBACK, *allowed_hosts)}
        self._closing = {"resultType": "complete", "_meta": {f"{_META}serverInfo": identity}}

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """Answer a request, or return how another reads it from its beginning."""
        headers = self._headers(scope)
        if headers is None:
            return receive
        body, again = await _body(receive)
        request = _request(body)
        if request is None or not _is_plain(request, headers):
            return again
        operation = BY_NAME.get(request.params.name)
        if operation is None or not operation.in_mcp or operation.parks:
            return again
        grant = Door.grant_of(scope)
        outcome = await self._tools.perform(operation, request.params.arguments, grant)
        answer = self._answer(request, outcome, is_modern=_is_modern(headers))
        length = (b"content-length", b"%d" % len(answer))
        await send({"type": "http.response.start", "status": 200, "headers": [*_JSON, length]})
        await send({"type": "http.response.body", "body": answer})
        return None

    def _headers(self, scope: Scope) -> dict[bytes, bytes] | None:
        """Return the headers with a meaning; None when there is anything to judge about them."""
        found: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _KNOWN:
                if name in found:
                    return None
                found[name] = value
            elif name == b"origin" or name.startswith(b"mcp-"):
                return None
        accept = found.get(b"accept", b"")
        is_plain = (
            scope["method"] == "POST"
            and found.get(b"host", b"").rpartition(b":")[0] in self._hosts
            and found.get(b"content-type", b"").startswith(b"application/json")
            and b"application/json" in accept
            and b"text/event-stream" in accept
        )
        return found if is_plain else None

    def _answer(self, request: _Request, outcome: Outcome, *, is_modern: bool) -> bytes:
        result: dict[str, Any] = {
            "content": [{"type": "text", "text": outcome.text}],
            "isError": outcome.is_error,
            "structuredContent": msgspec.Raw(outcome.structured),
        }
        if is_modern:
            result |= self._closing
        return msgspec.json.encode({"jsonrpc": "2.0", "id": request.id, "result": result})


async def _body(receive: Receive) -> tuple[bytes, Receive]:
    """Read a body, as far as it is short, and say how it can be read again."""
    messages: list[Message] = []
    body, is_whole = b"", False
    while not is_whole and len(body) <= MAX_BODY:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
    left = iter(messages)

    async def again() -> Message:
        message = next(left, None)
        return message if message is not None else await receive()

    return body if is_whole and len(body) <= MAX_BODY else b"", again


def _request(body: bytes) -> _Request | None:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        return None


def _is_modern(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"mcp-protocol-version") == LATEST_MODERN_VERSION.encode()


def _is_plain(request: _Request, headers: dict[bytes, bytes]) -> bool:
    """Whether headers and body agree, by the rules of the era that the request is of."""
    meta = request.params.meta
    if _is_modern(headers):
        return (
            headers.get(b"mcp-method") == b"tools/call"
            and headers.get(b"mcp-name") == request.params.name.encode()
            and meta.get(f"{_META}protocolVersion") == LATEST_MODERN_VERSION
            and meta.get(f"{_META}clientCapabilities") == {}
            and _is_identity(meta.get(f"{_META}clientInfo"))
        )
    version = headers.get(b"mcp-protocol-version", b"2025-03-26").decode("latin-1")
    return (
        version in HANDSHAKE_PROTOCOL_VERSIONS
        and b"mcp-method" not in headers
        and b"mcp-name" not in headers
        and not any(name.startswith(_META) for name in meta)
    )


def _is_identity(info: Any) -> bool:
    """Whether a client's name and version are of their form; it may leave them out."""
    if info is None:
        return True
    if not isinstance(info, dict):
        return False
    return set(info) == {"name", "version"} and all(isinstance(v, str) for v in info.values())
