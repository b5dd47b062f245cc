"""The official MCP client, in both eras of its protocol, through HAProxy and Serve."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.actors.conftest import Product, a_project, until


@asynccontextmanager
async def connected(product: Product, token: str, mode: str | None) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{product.settings.url}/mcp", http_client=http)
        chosen = Client(transport) if mode is None else Client(transport, mode=mode)
        async with chosen as client:
            yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content
    return found


@pytest.mark.parametrize("mode", ["legacy", None], ids=["legacy", "default"])
async def test_an_mcp_agent_registers_waits_reports_and_completes(
    product: Product, mode: str | None
) -> None:
    name = f"mcp {uuid4().hex[:8]}"
    async with product.client() as admin:
        project_id = await a_project(admin)
        owner = {"kind": "agent", "id": f"A-{name.replace(' ', '-')}", "role": "worker"}
        token = (await admin.issue_token(owner=owner)).token
        async with connected(product, token, mode) as agent:
            registered = await call(
                agent, "register_agent", name=name, skills=["python"], project_ids=[project_id]
            )
            assert registered["agent_id"] == owner["id"]
            waiting = asyncio.create_task(call(agent, "wait_for_task", timeout_s=40))

            async def is_parked() -> bool:
                return bool((await admin.get_status()).parked)

            await until(is_parked)
            task_id = (await admin.create_task(project_id, title="By MCP")).task_id
            claimed = await waiting
            assert (claimed["outcome"], claimed["task_id"]) == ("assigned", task_id)
            assert claimed["task"]["title"] == "By MCP"
            lease = {"task_id": task_id, "lease_token": claimed["lease_token"]}
            await call(agent, "report_task_progress", percent=50, note="half", **lease)
            done = await call(agent, "complete_task", summary="done by MCP", **lease)
            assert done["state"] == "done"
        history = (await admin.get_task_history(task_id)).events
    told = [event.event for event in history]
    assert told[-2:] == ["CompletionSubmitted", "CompletionAccepted"]
