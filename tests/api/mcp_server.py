"""The stack behind a real socket, and the official client for it in both eras."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import uvicorn
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from pm_agent.api.operations import BY_NAME
from tests import ambiguous_journal
from tests.api.conftest import Stack, running
from tests.http_server import Server

ERAS = ("legacy", "2026-07-28")
_asked = itertools.count(1)


async def call_tool(client: Client, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    """Call a tool; once more, with the same request id, whenever an append ended in doubt."""
    if not ambiguous_journal.SHARE:
        return await client.call_tool(tool, arguments)
    if BY_NAME[tool].kind == "command":
        arguments = {"request_id": f"called-{next(_asked)}"} | arguments
    while True:
        result = await client.call_tool(tool, arguments)
        if (result.structured_content or {}).get("code") != "journal_unavailable":
            return result
        await asyncio.sleep(0.001)  # the journal is read again meanwhile


class Served:
    """The stack behind a real socket, as agents reach it."""

    def __init__(self, stack: Stack, port: int) -> None:
        self.stack = stack
        self.url = f"http://127.0.0.1:{port}/mcp"

    @asynccontextmanager
    async def client(
        self, token: str, era: str = ERAS[1], tools: str = ""
    ) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(
                f"{self.url}?tools={tools}" if tools else self.url, http_client=http
            )
            async with Client(transport, mode=era) as client:
                yield client


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Served]:
    async with running(**options) as stack:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = uvicorn.Config(stack.app, port=port, log_level="warning", lifespan="off")
        server = Server(config)
        serving = asyncio.create_task(server.serve())
        await stack.until(lambda: server.started)
        try:
            yield Served(stack, port)
        finally:
            server.should_exit = True
            await serving
