"""MCP over raw sockets: a client of the SDK would use more CPU than the server and be measured."""

import asyncio
from typing import Any, Literal, cast

import msgspec

from benchmarks.load_generator import parse_reply

Era = Literal["legacy", "modern"]
ERAS: tuple[Era, ...] = ("legacy", "modern")
LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def call_tool(host: str, token: str, era: Era, name: str, arguments: dict[str, Any]) -> bytes:
    """Bytes of a request that calls a tool."""
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {token}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"MCP-Protocol-Version: {LEGACY if era == 'legacy' else MODERN}",
    ]
    if era == "modern":
        params["_meta"] = META
        head += ["Mcp-Method: tools/call", f"Mcp-Name: {name}"]
    body = msgspec.json.encode(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    )
    head += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


class Wire(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(cls, host: str, port: int) -> "Wire":
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    async def ask(self, request: bytes) -> dict[str, Any]:
        """Send a request and return its JSON-RPC result.

        Raises
        ------
        RuntimeError
            The answer is none: the message holds it.
        """
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return result_of(await self._waiting)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        body = body_of(self._buffer)
        if body is not None and self._waiting is not None and not self._waiting.done():
            self._buffer.clear()
            self._waiting.set_result(body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("Closed by the server."))


def body_of(buffer: bytearray) -> bytes | None:
    """Body of the one response in a buffer, in chunks or with a length; None while incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    if b"transfer-encoding: chunked" not in bytes(buffer[:end]).lower():
        parsed = parse_reply(buffer)
        return None if parsed is None else parsed[0].body
    if not buffer.endswith(_LAST_CHUNK):
        return None
    chunks, at = bytearray(), end + 4
    while (size := int(buffer[at : (line := buffer.index(b"\r\n", at))], 16)) > 0:
        chunks += buffer[line + 2 : line + 2 + size]
        at = line + 2 + size + 2
    return bytes(chunks)


def result_of(body: bytes) -> dict[str, Any]:
    """Result in a JSON body, or in the last event of a stream.

    Raises
    ------
    RuntimeError
        There is none, or it is an error.
    """
    if not body.startswith(b"{"):
        lines = [line for line in body.splitlines() if line.startswith(b"data: {")]
        body = lines[-1][6:] if lines else b"{}"
    result: dict[str, Any] | None = msgspec.json.decode(body).get("result")
    if result is None or result.get("isError"):
        raise RuntimeError(body[:500].decode())
    return result
