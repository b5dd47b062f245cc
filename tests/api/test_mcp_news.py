"""Change notifications, over the official client in the modern era."""

import asyncio
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from tests.api.conftest import ADMIN
from tests.api.mcp_server import ERAS, served

MODERN = ERAS[1]


async def heard(listening: Any, n: int) -> set[str]:
    """Next addresses that are told of; the list of resources is told of as 'list'."""
    found: set[str] = set()
    async with asyncio.timeout(5):
        async for event in listening:
            if isinstance(event, ResourcesListChanged):
                found.add("list")
            elif isinstance(event, ResourceUpdated):
                found.add(str(event.uri))
            if len(found) >= n:
                break
    return found


async def test_a_change_is_told_to_who_listens_and_to_nobody_else() -> None:
    async with served() as server:
        stack = server.stack
        await stack.project()
        await stack.project("Other")
        task_id = await stack.task()
        await stack.agent("Ada")
        mine = ["pm://projects/P-web/board", f"pm://tasks/{task_id}", "pm://agents/A-ada/inbox"]
        async with (
            server.client(ADMIN, MODERN) as client,
            client.listen(resource_subscriptions=mine) as listening,
        ):
            await stack.task("P-other")  # of another project
            await stack.task()
            assert await heard(listening, 1) == {"pm://projects/P-web/board"}
            await stack.ok("PATCH", f"/v1/tasks/{task_id}", json={"title": "New"})
            assert await heard(listening, 2) == set(mine[:2])
            await stack.ok("POST", "/v1/agents/A-ada/messages", json={"text": "Hello."})
            assert await heard(listening, 1) == {"pm://agents/A-ada/inbox"}
        await stack.until(lambda: not stack.ingress.pace.streams)  # leaving ends it


async def test_a_new_project_changes_the_list_of_resources() -> None:
    async with (
        served() as server,
        server.client(ADMIN, MODERN) as client,
        client.listen(resources_list_changed=True, tools_list_changed=True) as listening,
    ):
        await server.stack.project()
        assert await heard(listening, 1) == {"list"}
        await server.stack.task()
        await server.stack.project("Next")
        assert await heard(listening, 1) == {"list"}


async def test_who_may_not_read_a_resource_hears_nothing_of_it() -> None:
    async with served() as server:
        await server.stack.project()
        _, token = await server.stack.agent("Ada")
        await server.stack.agent("Bob")
        async with server.client(token, MODERN) as client:
            for uri in ("pm://agents/A-bob/inbox", "pm://tasks/T-99", "pm://nothing"):
                with pytest.raises(MCPError):
                    async with client.listen(resource_subscriptions=[uri]):
                        pass
        assert not server.stack.ingress.pace.streams


async def test_a_stream_ends_when_the_server_stops() -> None:
    async with (
        served() as server,
        server.client(ADMIN, MODERN) as client,
        client.listen(resources_list_changed=True) as listening,
    ):
        server.stack.ingress.release_waiters()
        assert await heard(listening, 1) == set()


async def test_the_server_says_what_it_tells_of() -> None:
    async with served() as server, server.client(ADMIN, "auto") as client:  # asks the server
        assert client.protocol_version == MODERN
        told = client.server_capabilities
    assert told.resources is not None
    assert told.tools is not None
    assert told.prompts is not None
    assert (told.resources.subscribe, told.resources.list_changed) == (True, True)
    assert (told.tools.list_changed, told.prompts.list_changed) == (False, False)


async def test_streams_are_counted_with_the_others_of_their_holder() -> None:
    async with served() as server, server.client(ADMIN, MODERN) as client:
        limit = server.stack.ingress.pace.max_streams
        streams = [client.listen(resources_list_changed=True) for _ in range(limit)]
        for stream in streams:
            await stream.__aenter__()
        with pytest.raises(MCPError, match="streams open already"):
            async with client.listen(resources_list_changed=True):
                pass
        for stream in reversed(streams):
            await stream.__aexit__(None, None, None)
