"""The shortcut past the SDK answers as the SDK does, or leaves the request to it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from pm_agent.api.mcp.fast_path import MAX_BODY, FastPath
from tests.api.conftest import ADMIN
from tests.api.mcp_server import ERAS, Served, served

META = {
    "io.modelcontextprotocol/protocolVersion": ERAS[1],
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
BASE = {
    "Authorization": f"Bearer {ADMIN}",
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
}


def modern(name: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, str]]:
    params = {"name": name, "arguments": arguments, "_meta": META}
    headers = {"MCP-Protocol-Version": ERAS[1], "Mcp-Method": "tools/call", "Mcp-Name": name}
    return {"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": params}, BASE | headers


def legacy(name: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, str]]:
    params = {"name": name, "arguments": arguments, "_meta": {"progressToken": 3}}
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    return body, BASE | {"MCP-Protocol-Version": "2025-06-18"}


class Counted:
    """The pair of servers, and how often the shortcut was taken."""

    def __init__(self, plain: Served, fast: Served, taken: list[str]) -> None:
        self.plain = plain
        self.fast = fast
        self.taken = taken

    async def both(self, http: httpx.AsyncClient, body: Any, headers: Any) -> tuple[Any, Any]:
        """Return what each of the two servers answers."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answers = []
        for server in (self.plain, self.fast):
            response = await http.post(server.url, content=sent, headers=headers)
            answers.append((response.status_code, _told(response.text)))
        return answers[0], answers[1]


def _told(text: str) -> Any:
    """JSON of an answer, from a stream or not, without what differs from call to call."""
    body = next((line[6:] for line in text.splitlines() if line.startswith("data: ")), text)
    if not body.startswith("{"):
        return body
    told = json.loads(body)
    result = told.get("result", {})
    result.get("structuredContent", {}).pop("server_time", None)
    for content in result.get("content", []):
        content["text"] = content["text"].partition(',"server_time"')[0]
    return told


@asynccontextmanager
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counted]:
    taken: list[str] = []
    serve = FastPath.serve

    async def counted(self: FastPath, scope: Scope, receive: Receive, send: Send) -> Any:
        again = await serve(self, scope, receive, send)
        taken.append("sdk" if again is not None else "fast")
        return again

    monkeypatch.setattr(FastPath, "serve", counted)
    async with served() as plain, served(mcp_fast_path=True) as fast:
        yield Counted(plain, fast, taken)


async def test_plain_calls_are_answered_as_the_sdk_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(monkeypatch) as servers, httpx.AsyncClient() as http:
        for make in (modern, legacy):
            for asked in (
                make("list_projects"),
                make("get_task_context", task_id="T-9"),  # refused: there is none
                make("search_tasks", limit=1_000),  # refused: not a valid input
                make("create_task", project_id="P-ü", title='"<&>\u2028'),
            ):
                theirs, ours = await servers.both(http, *asked)
                assert ours == theirs
                assert ours[0] == 200
    assert servers.taken == ["fast"] * 8


# What is changed of a plain request: fields of its body, and headers.
ODD: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
    ({}, {"Mcp-Name": "get_status"}),
    ({}, {"Mcp-Method": "tools/list"}),
    ({}, {"MCP-Protocol-Version": "2099-01-01"}),
    ({}, {"MCP-Protocol-Version": "2025-11-25"}),
    ({}, {"Mcp-Param-Region": "x"}),
    ({}, {"Mcp-Session-Id": "x"}),
    ({}, {"Origin": "http://evil.example"}),
    ({}, {"Host": "evil.example:80"}),
    ({}, {"Host": "localhost"}),
    ({}, {"Accept": "application/json"}),
    ({}, {"Content-Type": "text/plain"}),
    ({"id": None}, {}),
    ({"id": 1.5}, {}),
    ({"jsonrpc": "1.0"}, {}),
    ({"method": "tools/list"}, {}),
    ({"more": 1}, {}),
    ({"params": {"name": "list_projects"}}, {}),
    ({"params": {"name": "list_projects", "_meta": META, "requestState": "x"}}, {}),
    ({"params": {"name": "list_projects", "_meta": META, "arguments": []}}, {}),
    ({"params": {"name": "nothing", "_meta": META}}, {"Mcp-Name": "nothing"}),
    ({"params": {"name": "issue_token", "_meta": META}}, {"Mcp-Name": "issue_token"}),
)


async def test_what_is_odd_is_left_to_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    body, usual = modern("list_projects")
    async with pair(monkeypatch) as servers, httpx.AsyncClient() as http:
        for change, headers in ODD:
            theirs, ours = await servers.both(http, {**body, **change}, usual | headers)
            assert ours == theirs, (change, headers)
    assert servers.taken == ["sdk"] * len(ODD)


async def test_no_body_is_too_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    body, headers = modern("list_projects")
    large = json.dumps({**body, "params": {**body["params"], "arguments": {"x": "y" * MAX_BODY}}})
    async with pair(monkeypatch) as servers, httpx.AsyncClient() as http:
        for sent in (b"", b"{", b"[]", b"null", b"\xff", large.encode()):
            theirs, ours = await servers.both(http, sent, headers)
            assert ours == theirs
        assert servers.taken == ["sdk"] * 6
        for headers in (BASE, BASE | {"Authorization": "Bearer wrong"}):
            listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            theirs, ours = await servers.both(http, listing, headers)
            assert ours == theirs
        assert ours[0] == 401


async def test_a_tool_that_may_wait_is_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(monkeypatch) as servers, httpx.AsyncClient() as http:
        await servers.fast.stack.agent("Ada")
        body, headers = modern("wait_for_task", agent_id="A-ada", timeout_s=0)
        response = await http.post(servers.fast.url, json=body, headers=headers)
        assert response.json()["result"]["structuredContent"]["outcome"] == "waiting"
    assert servers.taken == ["sdk"]
