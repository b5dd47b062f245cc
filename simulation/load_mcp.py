"""An agent that speaks MCP, with the two calls of `pm_agent.client` that a loaded agent makes."""

from contextlib import AsyncExitStack
from ssl import SSLContext
from typing import Any, Self

import httpx2
import msgspec
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from pm_agent.api.handlers.assignments import ClaimAnswer
from pm_agent.client import ApiError
from pm_agent.features.quality.decide import CompletionResult

PATIENCE_S = 90.0  # longer than any long poll


class McpClient:
    """One agent's connection through the protocol's official client.

    Parameters
    ----------
    url, token
        Of the server, and of the agent.
    trust
        Which authorities to trust; loading them takes 40 ms, so agents share it.
    """

    def __init__(self, url: str, token: str, trust: SSLContext) -> None:
        self._url, self._trust = f"{url}/mcp", trust
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stack = AsyncExitStack()
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        http = httpx2.AsyncClient(headers=self._headers, timeout=PATIENCE_S, verify=self._trust)
        await self._stack.enter_async_context(http)
        transport = streamable_http_client(self._url, http_client=http)
        self._client = await self._stack.enter_async_context(Client(transport))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def wait_for_task(self, agent_id: str, timeout_s: float) -> ClaimAnswer:
        told = await self._call("wait_for_task", agent_id=agent_id, timeout_s=timeout_s)
        return msgspec.convert(told, ClaimAnswer)

    async def complete_task(self, task_id: str, lease_token: int, summary: str) -> CompletionResult:
        told = await self._call(
            "complete_task", task_id=task_id, lease_token=lease_token, summary=summary
        )
        return msgspec.convert(told, CompletionResult)

    async def _call(self, tool: str, **arguments: object) -> dict[str, Any]:
        assert self._client is not None
        try:
            result = await self._client.call_tool(tool, arguments)
        except (MCPError, httpx2.HTTPError, TimeoutError) as error:
            raise ApiError("unreachable", f"{tool}: {type(error).__name__}: {error}") from error
        told: dict[str, Any] = result.structured_content or {}
        if result.is_error:
            raise ApiError(str(told.get("code", "mcp_error")), str(told.get("detail", "")))
        return told
