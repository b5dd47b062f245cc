import asyncio
import json
from typing import Any

import httpx
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import HEADER_MISMATCH, CallToolResult, TextContent

from pm_agent.api.operations import OPERATIONS
from pm_agent.domain.access import ROLE_SCOPES
from pm_agent.runtime.admission import Lag, Limits
from tests.api.conftest import ADMIN, LEAD
from tests.api.mcp_server import ERAS, call_tool, served

LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
LEGACY = {"Authorization": f"Bearer {ADMIN}", "Accept": "application/json, text/event-stream"}


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await call_tool(client, tool, arguments)
    assert not result.is_error, result.content
    structured: dict[str, Any] = result.structured_content
    assert json.loads(text_of(result)) == structured
    return structured


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def refused(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await call_tool(client, tool, arguments)
    assert result.is_error
    problem: dict[str, Any] = result.structured_content
    assert problem["next_step"]
    assert text_of(result).startswith(f"{problem['code']}: ")
    return problem


@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_goes_from_registration_to_done(era: str) -> None:
    async with served() as server:
        stack = server.stack
        await stack.project()
        task_id = await stack.task(description="Add a login page.", skills=["python"])
        _, token = await stack.agent("Ada")
        async with server.client(token, era) as client:
            registered = await call(client, "register_agent", name="Ada", skills=["python"])
            assert registered["agent_id"] == "A-ada"
            assert "access_token" not in registered
            claimed = await call(client, "wait_for_task", timeout_s=5)
            assert claimed["outcome"] == "assigned"
            assert claimed["task"]["description"] == "Add a login page."
            mine = {"task_id": task_id, "lease_token": claimed["lease_token"]}
            await call(client, "report_task_progress", **mine, percent=40, usage={"cost_usd": 0.25})
            await call(client, "log_decision", **mine, decision="Use cookies.")
            await call(client, "log_artifact", **mine, name="branch", uri="git:login")
            stopped = await call(client, "report_blocker", **mine, description="No secret.")
            await call(
                client, "resolve_blocker", blocker_id=stopped["blocker_id"], resolution="In vault."
            )
            context = await call(client, "get_task_context", task_id=task_id)
            assert context["cost_usd"] == 0.25
            assert context["closed_blockers"][0]["resolution"] == "In vault."
            done = await call(client, "complete_task", **mine, summary="Done.")
            assert done["state"] == "done"
            assert (await call(client, "get_agent_status"))["state"] == "free"
            assert (await call(client, "explain_assignment", task_id=task_id))["recomputed"]


@pytest.mark.parametrize("era", ERAS)
async def test_tools_are_listed_by_the_role_of_the_token(era: str) -> None:
    async with served() as server:
        _, worker = await server.stack.agent("Ada")
        listed = {}
        for role, token in (("worker", worker), ("lead", LEAD), ("admin", ADMIN)):
            async with server.client(token, era) as client:
                listed[role] = (await client.list_tools()).tools
    names = {role: [tool.name for tool in tools] for role, tools in listed.items()}
    assert names["worker"] == [o.name for o in OPERATIONS if o.tier == "core"]
    assert names["lead"] == [o.name for o in OPERATIONS if o.tier in ("core", "wider", "lead")]
    assert names["admin"] == [o.name for o in OPERATIONS if o.in_mcp]
    assert len(names["worker"]) <= 12
    for tool in listed["admin"]:
        assert tool.description
        assert tool.description.startswith("Call this ")
        assert tool.output_schema is not None
        assert tool.annotations is not None
        assert tool.annotations.open_world_hint is False


async def test_what_every_worker_carries_in_its_context_stays_small() -> None:
    async with served() as server:
        _, token = await server.stack.agent("Ada")
        async with server.client(token) as client:
            listed = (await client.list_tools()).tools
    sent = [tool.model_dump_json(by_alias=True, exclude_none=True) for tool in listed]
    assert sum(map(len, sent)) < 36_000  # about 9,000 tokens


async def test_the_address_asks_for_other_tiers_of_what_the_role_may() -> None:
    async with served() as server:
        _, worker = await server.stack.agent("Ada")
        listed = {}
        for asked in ("core,wider", "all", "lead"):
            async with server.client(worker, tools=asked) as client:
                listed[asked] = {tool.name for tool in (await client.list_tools()).tools}
        async with server.client(worker, tools="everything") as client:
            with pytest.raises(MCPError, match="the tiers are core, wider, lead, admin"):
                await client.list_tools()
    assert {"wait_for_task", "create_task"} <= listed["core,wider"] <= listed["all"]
    may = ROLE_SCOPES["worker"]
    assert listed["all"] == {o.name for o in OPERATIONS if o.in_mcp and o.scope in may}
    assert not listed["lead"] & listed["core,wider"]


async def test_a_hidden_tool_is_refused_all_the_same() -> None:
    async with served() as server:
        await server.stack.project()
        task_id = await server.stack.task()
        _, worker = await server.stack.agent("Ada")
        before = server.stack.position
        async with server.client(worker) as client:
            problem = await refused(client, "update_task", task_id=task_id, title="Mine")
            assert problem["code"] == "forbidden"
            with pytest.raises(MCPError, match="There is no tool issue_token"):
                await client.call_tool("issue_token", {"owner": {"kind": "person", "id": "eve"}})
        assert server.stack.position == before


async def test_refusals_name_the_field_and_the_next_step() -> None:
    async with served() as server:
        await server.stack.project()
        await server.stack.task()
        agent_id, token = await server.stack.agent("Ada")
        before = server.stack.position
        async with server.client(token) as client:
            problem = await refused(client, "report_task_progress", task_id="T-1", percent=101)
            assert problem["code"] == "invalid_input"
            assert {e["field"] for e in problem["errors"]} == {"lease_token", "percent"}
            problem = await refused(client, "get_task_context", task_id="T-99")
            assert problem["code"] == "unknown_task"
            problem = await refused(client, "request_next_task", agent_id="A-bob")
            assert problem["code"] == "forbidden"
            assert agent_id in problem["next_step"]
        async with server.client(ADMIN) as client:
            problem = await refused(client, "request_next_task")
            assert problem["code"] == "invalid_input"
        assert server.stack.position == before


async def test_overload_and_haste_are_results_that_say_when_to_come_back() -> None:
    async with served(limits=Limits(claims_per_s=0.1, claims_burst=1)) as server:
        await server.stack.project()
        await server.stack.task()
        _, token = await server.stack.agent("Ada")
        async with server.client(token) as client:
            await call(client, "request_next_task")
            result = await client.call_tool("request_next_task", {})
            assert result.is_error
            assert result.structured_content["code"] == "rate_limited"
            assert 1 <= result.structured_content["retry_after_s"] <= 10
            assert "retry_after_s: " in text_of(result)
            lag = server.stack.ingress.admission.lag = Lag()
            lag.seconds = 0.5
            problem = await refused(client, "search_tasks")
            assert problem["code"] == "overloaded"
            assert problem["status"] == 503
            assert 1 <= problem["retry_after_s"] <= 9
            lag.seconds = 2.0
            problem = await refused(client, "heartbeat_agent")
            assert problem["code"] == "overloaded"


async def test_a_result_says_when_it_may_be_old() -> None:
    async with served() as server:
        await server.stack.project()
        task_id = await server.stack.task()
        position = server.stack.position
        async with server.client(ADMIN) as client:
            fresh = await call(client, "get_task_context", task_id=task_id)
            assert "stale_at_position" not in fresh
            await server.stack.loop.stop()
            await server.stack.until(lambda: server.stack.ingress.is_stale)
            old = await call(client, "get_task_context", task_id=task_id)
            assert old["stale_at_position"] == position
            assert old["title"] == fresh["title"]


async def test_a_waiting_agent_is_woken_by_a_new_task() -> None:
    async with served() as server:
        await server.stack.project()
        _, token = await server.stack.agent("Ada")
        async with server.client(token) as client:
            waiting = asyncio.create_task(call(client, "wait_for_task", timeout_s=20))
            await server.stack.until(lambda: server.stack.ingress.waiters.n_parked)
            task_id = await server.stack.task()
            async with asyncio.timeout(5):
                claimed = await waiting
        assert claimed["task_id"] == task_id
        assert claimed["task"]["title"] == "Build it"


@pytest.mark.parametrize("era", ERAS)
async def test_a_long_wait_reports_progress(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pm_agent.api.mcp.tools.PROGRESS_EVERY_S", 0.1)
    told = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with served() as server:
        _, token = await server.stack.agent("Ada")
        async with server.client(token, era) as client:
            result = await client.call_tool(
                "wait_for_task", {"timeout_s": 1}, progress_callback=note
            )
        assert result.structured_content["outcome"] == "waiting"
    assert told
    assert told[0] == (1, None, "Waiting for a task.")


async def test_without_a_token_nothing_is_served() -> None:
    async with served() as server, httpx.AsyncClient() as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            response = await http.post(server.url, json={}, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert response.json()["code"] == "unauthenticated"


async def test_a_foreign_host_name_is_refused() -> None:
    async with served() as server, httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {ADMIN}", "Host": "evil.example"}
        response = await http.post(server.url, json={}, headers=headers)
        assert response.status_code == 421


async def test_a_page_of_another_origin_is_refused() -> None:
    async with served() as server, httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {ADMIN}", "Origin": "http://evil.example"}
        response = await http.post(server.url, json={}, headers=headers)
        assert response.status_code == 403


async def test_a_configured_host_name_is_served() -> None:
    async with served(allowed_hosts=("pm.example",)) as server, httpx.AsyncClient() as http:
        for host, origin in (("pm.example", "https://pm.example"), ("pm.example:8443", "")):
            headers = {**LEGACY, "Host": host, **({"Origin": origin} if origin else {})}
            response = await http.post(server.url, json=LISTING, headers=headers)
            assert response.status_code == 200, response.text


async def test_blanks_around_a_header_are_no_part_of_it() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": ERAS[1],
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "list_projects", "arguments": {}, "_meta": meta}
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    async with served() as server:
        answer = await post_by_hand(
            server.url,
            asked,
            f"MCP-Protocol-Version: {ERAS[1]} ",
            "Mcp-Method: \t tools/call\t",
            "Mcp-Name:list_projects  ",
        )
        assert b"200 OK" in answer
        assert b'"projects":[]' in answer
        answer = await post_by_hand(
            server.url,
            asked,
            f"MCP-Protocol-Version: {ERAS[1]}",
            "Mcp-Method: tools/call",
            "Mcp-Name: get_status",
        )
        assert b"400 Bad Request" in answer
        assert str(HEADER_MISMATCH).encode() in answer


async def post_by_hand(url: str, body: str, *headers: str) -> bytes:
    """No HTTP client of repute sends such blanks."""
    host, port = url.split("/")[2].split(":")
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: {host}:{port}",
        f"Authorization: Bearer {ADMIN}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join([*head, "", body]).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_both_spellings_of_the_address_work_without_redirect() -> None:
    async with served() as server, httpx.AsyncClient() as http:
        for url in (server.url, server.url + "/"):
            response = await http.post(url, json=LISTING, headers=LEGACY)
            assert response.status_code == 200


async def test_a_cancelled_wait_withdraws_its_offer() -> None:
    async with served() as server:
        stack = server.stack
        await stack.project()
        agent_id, token = await stack.agent("Ada")
        async with server.client(token) as client:
            waiting = asyncio.create_task(call(client, "wait_for_task", timeout_s=40))
            await stack.until(lambda: stack.stands(agent_id))
            waiting.cancel()
            await stack.until(lambda: not stack.stands(agent_id))
        assert stack.ingress.waiters.n_parked == 0
        task_id = await stack.task()
        assert (await stack.ok("GET", f"/v1/tasks/{task_id}/context"))["state"] == "open"


@pytest.mark.parametrize("era", ERAS)
async def test_a_lost_connection_withdraws_the_offer_too(era: str) -> None:
    async with served() as server:
        stack = server.stack
        agent_id, token = await stack.agent("Ada")

        async def wait() -> None:
            async with server.client(token, era) as client:
                await client.call_tool("wait_for_task", {"timeout_s": 40})

        waiting = asyncio.create_task(wait())
        await stack.until(lambda: stack.stands(agent_id))
        waiting.cancel()
        await asyncio.wait((waiting,))
        await stack.until(lambda: not stack.stands(agent_id))


async def test_a_legacy_client_cancels_its_own_wait_by_a_notification() -> None:
    async with served() as server, httpx.AsyncClient() as http:
        stack = server.stack
        agent_id, token = await stack.agent("Ada")
        _, other = await stack.agent("Bob")
        mine, another = (LEGACY | {"Authorization": f"Bearer {t}"} for t in (token, other))
        params = {"name": "wait_for_task", "arguments": {"timeout_s": 40}}
        asked = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
        waiting = asyncio.create_task(http.post(server.url, json=asked, headers=mine))
        await stack.until(lambda: stack.stands(agent_id))
        for headers, request_id in ((another, 7), (mine, 8), (mine, 7)):
            assert stack.stands(agent_id)
            told = {
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": request_id},
            }
            answer = await http.post(server.url, json=told, headers=headers)
            assert answer.status_code == 202
            await asyncio.sleep(0.05)
        await stack.until(lambda: not stack.stands(agent_id))
        assert "You cancelled this request." in (await waiting).text
        assert stack.ingress.waiters.n_parked == 0
