"""The MCP endpoint: what stands between a socket and a server of the SDK, whatever it serves.

It answers plain JSON when a call is quick and opens a stream when there is progress to tell or
15 seconds have passed; `json_response` stays off, since it would drop the progress of
`wait_for_task`. Closing the stream cancels the call, in both eras.
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
    """

    def __init__(
        self,
        server: Server[Any],
        gate: Gate,
        allowed_hosts: tuple[str, ...],
        fast_path: FastPath | None = None,
    ) -> None:
        self._gate = gate
        self._fast_path = fast_path
        self._manager = StreamableHTTPSessionManager(
            app=server,
            stateless=True,
            json_response=False,
            security_settings=_security(allowed_hosts),
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve inside the block; once in the endpoint's life."""
        async with self._manager.run():
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
        await self._manager.handle_request(scope, receive, send)


def _security(allowed_hosts: tuple[str, ...]) -> TransportSecuritySettings:
    """Loopback names and the configured ones; anything else may be DNS rebinding."""
    names = (*LOOPBACK, *allowed_hosts)
    hosts = [form for name in names for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )
