"""Event streams: in order, nothing missed after a break, nothing told to the wrong listener."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pm_agent.runtime.admission import Limits
from tests.api.conftest import ADMIN, LEAD, Stack, running
from tests.api.test_refusals import problem_in


class Listener:
    """One client of a stream; the app is called as a server calls it."""

    def __init__(self, stack: Stack, path: str, token: str, headers: dict[str, str]) -> None:
        path, _, query = path.partition("?")
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [
                (b"authorization", f"Bearer {token}".encode()),
                *((k.lower().encode(), v.encode()) for k, v in headers.items()),
            ],
            "client": ("test", 1),
        }
        self.start: dict[str, Any] = {}
        self.text = ""
        self.is_over = False
        self._gone = asyncio.Event()
        self._news = asyncio.Event()
        self._serving = asyncio.create_task(stack.app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.text += message["body"].decode()
            self.is_over = not message.get("more_body")
        self._news.set()

    async def until(self, is_so: Any) -> None:
        async with asyncio.timeout(5):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def leave(self) -> None:
        self._gone.set()
        async with asyncio.timeout(5):
            await self._serving

    def events(self) -> list[dict[str, Any]]:
        blocks = [block.splitlines() for block in self.text.split("\n\n")]
        data = [line for block in blocks for line in block if line.startswith("data: ")]
        return [json.loads(line[6:]) for line in data]

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events()]

    def made_project(self) -> bool:
        return "ProjectCreated" in self.kinds()

    @property
    def last_id(self) -> str:
        ids = [line for line in self.text.splitlines() if line.startswith("id: ")]
        return ids[-1][4:]


@asynccontextmanager
async def listening(
    stack: Stack, path: str = "/v1/events", token: str = LEAD, **headers: str
) -> AsyncIterator[Listener]:
    listener = Listener(stack, path, token, {k.replace("_", "-"): v for k, v in headers.items()})
    await listener.until(lambda: listener.start)
    yield listener
    await listener.leave()


async def test_a_listener_hears_what_happens_in_order(stack: Stack) -> None:
    async with listening(stack) as listener:
        await stack.project()
        await stack.task()
        await listener.until(lambda: "TaskCreated" in listener.kinds())
        assert dict(listener.start["headers"])[b"content-type"].startswith(b"text/event-stream")
        assert listener.kinds() == ["ProjectCreated", "TaskCreated"]
        created = listener.events()[1]
        assert created["fields"]["task_id"] == "T-1"
        assert created["position"] == stack.position == int(listener.last_id)
        assert "description" not in created["fields"]


async def test_a_client_that_comes_back_misses_nothing(stack: Stack) -> None:
    async with listening(stack) as listener:
        await stack.project()
        await listener.until(listener.kinds)
        last = listener.last_id
    await stack.task(title="while away")
    async with listening(stack, Last_Event_ID=last) as listener:
        await listener.until(listener.kinds)
        assert listener.kinds() == ["TaskCreated"]


async def test_what_memory_has_lost_is_read_from_the_journal(stack: Stack) -> None:
    await stack.project()
    stack.ingress.events.begin(stack.position)  # as after a restart from a snapshot
    await stack.task()
    async with listening(stack, "/v1/events?after=0", ADMIN) as listener:
        await listener.until(lambda: "TaskCreated" in listener.kinds())
        positions = [event["position"] for event in listener.events()]
        assert positions == list(range(1, stack.position + 1))
        await stack.task()
        await listener.until(lambda: listener.kinds().count("TaskCreated") == 2)


async def test_changes_of_access_are_told_to_administrators_alone(stack: Stack) -> None:
    await stack.project()
    for token, is_told in ((ADMIN, True), (LEAD, False)):
        async with listening(stack, "/v1/events?after=0", token) as listener:
            await listener.until(listener.made_project)
            assert ("TokenIssued" in listener.kinds()) is is_told


async def test_one_agent_hears_what_concerns_it(stack: Stack) -> None:
    await stack.project()
    ada, adas = await stack.agent("Ada")
    bob, bobs = await stack.agent("Bob")
    async with listening(stack, f"/v1/agents/{ada}/events", adas) as listener:
        await stack.task()
        await stack.task()
        await stack.claim(bob, bobs)
        mine = await stack.claim(ada, adas)
        await stack.ok("POST", f"/v1/tasks/{mine['task_id']}/cancel", LEAD, json={})
        await listener.until(lambda: "TaskAssigned" in listener.kinds())
        assert {
            e["fields"]["agent_id"] for e in listener.events() if "agent_id" in e["fields"]
        } == {ada}
    problem_in(await stack.call("GET", f"/v1/agents/{ada}/events", bobs), 403, "forbidden")


async def test_a_stream_ends_with_its_token(stack: Stack) -> None:
    owner = {"kind": "agent", "id": "Ada"}
    issued = await stack.ok("POST", "/v1/tokens", json={"owner": owner})
    other = await stack.ok("POST", "/v1/tokens", json={"owner": owner})
    async with (
        listening(stack, token=issued["token"]) as ended,
        listening(stack, token=other["token"]) as going,
    ):
        await stack.ok("DELETE", f"/v1/tokens/{issued['sha256']}")
        await ended.until(lambda: ended.is_over)
        assert not going.is_over


async def test_streams_end_when_the_server_stops(stack: Stack) -> None:
    async with listening(stack) as listener:
        stack.ingress.release_waiters()
        await listener.until(lambda: listener.is_over)


async def test_a_principal_has_only_so_many_streams() -> None:
    async with running(limits=Limits(streams=1)) as stack:
        async with listening(stack):
            problem_in(await stack.call("GET", "/v1/events", LEAD), 429, "rate_limited")
        async with listening(stack):
            pass


@pytest.mark.parametrize("place", ["x", "-1", "99999"])
async def test_a_place_that_does_not_exist_is_refused(
    stack: Stack, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pm_agent.runtime.replica.REACH_S", 0.01)
    for more in ({"headers": {"Last-Event-ID": place}}, {"params": {"after": place}}):
        problem_in(await stack.call("GET", "/v1/events", LEAD, **more), 422, "invalid_input")
