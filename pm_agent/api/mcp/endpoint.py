"""The MCP endpoint: what stands between a socket and a server of the SDK, whatever it serves.

What may take its time goes to a manager that answers plain JSON when a call is quick and opens a
stream when there is progress to tell or 15 seconds have passed; closing the stream cancels the
call, in both eras. To be ready for that costs two tasks and a stream a call, more than half of the
SDK's work. So what the modern era's headers name as answered at once goes to another manager, which
has `json_response` on. Where a header lies, the SDK finds that the body differs, and refuses.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Receive, Scope, Send

from pm_agent.api.errors import PROBLEM_TYPE, Problem, headers_of
from pm_agent.api.mcp.fast_path import LOOPBACK, FastPath

# Lets a request in, noting on its scope who asks, or says why not.
Gate = Callable[[Scope], Awaitable[tuple[Problem, str] | None]]


class McpEndpoint:
    """ASGI application that serves one MCP server.

    Parameters
    ----------
    server
        What is served.
    gate
        Asked before the protocol begins, so that nobody unknown has a body read.
    allowed_hosts
        Host names under which it is served, beside the loopback ones.
    fast_path
        Asked before the SDK, if given.
    quick_tools
        Tools that neither wait nor tell progress.
    """

    def __init__(
        self,
        server: Server[Any],
        gate: Gate,
        allowed_hosts: tuple[str, ...],
        fast_path: FastPath | None = None,
        quick_tools: frozenset[str] = frozenset(),
    ) -> None:
        self._gate = gate
        self._fast_path = fast_path
        self._quick_tools = quick_tools
        self._patient, self._prompt = (
            StreamableHTTPSessionManager(
                app=server,
                stateless=True,
                json_response=is_prompt,
                security_settings=_security(allowed_hosts),
            )
            for is_prompt in (False, True)
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve inside the block; once in the endpoint's life."""
        async with self._patient.run(), self._prompt.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = await self._gate(scope)
        if refused is not None:
            problem, metadata = refused
            headers = [(b"content-type", PROBLEM_TYPE.encode()), *headers_of(problem, metadata)]
            start = {"type": "http.response.start", "status": problem.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": msgspec.json.encode(problem)})
            return
        # Blanks around a value are no part of it (RFC 9110, 5.5), but httptools leaves them there,
        # and the SDK would find that the header differs from the body.
        stripped = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        scope = {**scope, "headers": stripped}
        if self._fast_path is not None:
            again = await self._fast_path.serve(scope, receive, send)
            if again is None:
                return
            receive = again
        manager = self._prompt if self._is_prompt(stripped) else self._patient
        await manager.handle_request(scope, receive, send)

    def _is_prompt(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether a request is answered at once, as far as its headers say."""
        told = dict(headers)
        if told.get(b"mcp-method") != b"tools/call":
            return False
        return told.get(b"mcp-name", b"").decode("latin-1") in self._quick_tools


def _security(allowed_hosts: tuple[str, ...]) -> TransportSecuritySettings:
    """Loopback names and the configured ones; anything else may be DNS rebinding."""
    names = (*LOOPBACK, *allowed_hosts)
    hosts = [form for name in names for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )
