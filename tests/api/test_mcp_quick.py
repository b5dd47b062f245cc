"""Which of the SDK's two ways a request of the modern era takes."""

import json
from typing import Any

import httpx
import pytest
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from tests.api.mcp_server import served
from tests.api.test_mcp_fast_path import modern


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the way of each request, in order."""
    taken: list[str] = []
    serve = StreamableHTTPSessionManager.handle_request

    async def noted(
        manager: StreamableHTTPSessionManager, scope: Scope, receive: Receive, send: Send
    ) -> None:
        taken.append("at once" if manager.json_response else "may wait")
        await serve(manager, scope, receive, send)

    monkeypatch.setattr(StreamableHTTPSessionManager, "handle_request", noted)
    return taken


async def test_only_what_is_answered_at_once_goes_without_tasks_and_streams(
    ways: list[str],
) -> None:
    async with served() as server, httpx.AsyncClient(trust_env=False) as http:

        async def ask(body: Any, headers: dict[str, str]) -> httpx.Response:
            return await http.post(server.url, content=json.dumps(body), headers=headers)

        quick = await ask(*modern("get_status"))
        assert quick.headers["content-type"].startswith("application/json")
        assert "result" in quick.json()
        unknown = await ask(*modern("no_such_tool"))
        assert "error" in unknown.json()
        _, token = await server.stack.agent("Ada")
        body, headers = modern("wait_for_task", timeout_s=0)
        waited = await ask(body, headers | {"Authorization": f"Bearer {token}"})
        assert waited.json()["result"]["structuredContent"]["outcome"] == "waiting"
        assert ways == ["at once", "may wait", "may wait"]


async def test_a_header_that_names_another_tool_is_refused(ways: list[str]) -> None:
    async with served() as server, httpx.AsyncClient(trust_env=False) as http:
        body, _ = modern("wait_for_task", timeout_s=1)
        _, headers = modern("get_status")
        refused = await http.post(server.url, content=json.dumps(body), headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020)
        assert server.stack.ingress.waiters.n_parked == 0
    assert ways == ["at once"]
