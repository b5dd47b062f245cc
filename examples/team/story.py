"""Five agents work as a team, over MCP: woken, helped, relieved, unblocked, told.

What each one says is fixed, so that the story can be played again and checked; what the others
learn of it, and who is chosen, is PM Agent's. Played by ``run.py``, and by the project's tests.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from pm_agent.client import AsyncClient

Json = dict[str, Any]
Connect = Callable[[str], AbstractAsyncContextManager[Client]]

SKILLS = {
    "Ada": ["python"],
    "Bob": ["python"],
    "Cleo": ["sql"],
    "Dan": ["python", "docs"],
    "Eve": ["python"],
}
STUCK = "The tests cannot reach the database: connection refused on port 5432."
FIX = "Start it with 'make database' first; it listens on port 5432 then."


class Agent:
    """One agent: its tools, and what every result tells it besides."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.inbox = 0
        self.directives: list[str] = []

    async def call(self, tool: str, **arguments: Any) -> Json:
        """Call a tool; a refusal ends the story."""
        result = await self._client.call_tool(tool, arguments)
        found: Json = result.structured_content or {}
        if result.is_error:
            raise RuntimeError(f"{tool}: {found.get('code')} {found.get('detail')}")
        self.inbox, self.directives = found["inbox"], found["directives"]
        return found

    async def read(self) -> list[Json]:
        """Read what waits, and let it go."""
        page = await self.call("read_messages")
        messages: list[Json] = page.get("messages", [])
        await self.call("read_messages", acknowledge=[m["message_id"] for m in messages])
        return messages


def connector(url: str, era: str = "2026-07-28") -> Connect:
    """How agents connect to the MCP endpoint at an address, each with its own token."""

    @asynccontextmanager
    async def connect(token: str) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode=era) as client:
                yield client

    return connect


async def play(admin: AsyncClient, connect: Connect) -> Json:
    """Play the whole story; return what came of each part."""
    project: str = (await admin.create_project("Shop")).project_id
    team: dict[str, Agent] = {}
    async with AsyncExitStack() as stack:
        for name, skills in SKILLS.items():
            made = await admin.register_agent(name, skills=skills, project_ids=[project])
            client = await stack.enter_async_context(connect(made.access_token))
            team[name] = Agent(client)
        woken = await _woken(admin, project, team)
        lease, helped = await _helped(admin, project, team)
        return {
            "woken": woken,
            "helped": helped,
            "handed_over": await _handed_over(team, lease),
            "unblocked": await _unblocked(admin, project, team),
            "told": await _told(team),
        }


async def _woken(admin: AsyncClient, project: str, team: dict[str, Agent]) -> Json:
    """Eve subscribes and waits; a task that she did not ask for passes her by."""
    eve = team["Eve"]
    await eve.call("subscribe", labels=["outage"])
    waiting = asyncio.create_task(eve.call("wait_for_task", timeout_s=45))
    await asyncio.sleep(0.2)  # she waits before there is anything to be had
    await admin.create_task(project, title="Tidy the README", skills=["docs"])
    await admin.create_task(project, title="The shop is down", labels=["outage"], priority="high")
    given = await waiting
    lease = {"task_id": given["task_id"], "lease_token": given["lease_token"]}
    await eve.call("complete_task", **lease, summary="A worker had run out of memory.")
    return {"title": given["task"]["title"], "agent": "A-eve"}


async def _helped(admin: AsyncClient, project: str, team: dict[str, Agent]) -> tuple[Json, Json]:
    """Ada is stuck on a query; Cleo, the one who knows SQL, answers. Ada's lease comes first."""
    ada, cleo = team["Ada"], team["Cleo"]
    await admin.create_task(
        project, title="Speed up the order list", description="It takes 9 s.", skills=["python"]
    )
    given = await ada.call("request_next_task")
    lease = {"task_id": given["task_id"], "lease_token": given["lease_token"]}
    asked = await ada.call(
        "request_collaboration", **lease, need="Which index does this query need?", skills=["sql"]
    )
    await cleo.call("get_agent_status")  # any call tells her that something waits
    assert cleo.inbox == 1, cleo.inbox
    (call_for_help,) = await cleo.read()
    taken = await cleo.call(
        "respond_to_collaboration",
        collaboration_id=call_for_help["about_id"],
        accept=True,
        note="One on (shop_id, created_at).",
    )
    (answer,) = await ada.read()
    await ada.call(
        "report_task_progress", **lease, percent=60, note="Index added.", where="branch orders"
    )
    return lease, {
        "invited": asked["invited"],
        "context": taken["task"]["description"],
        "answer": answer["text"],
    }


async def _handed_over(team: dict[str, Agent], lease: Json) -> Json:
    """Ada has to go; Bob takes the very same task over, with what is known of it."""
    ada, bob = team["Ada"], team["Bob"]
    await ada.call("handoff_task", **lease, to="A-bob", note="Only the tests are missing.")
    await bob.call("get_agent_status")
    assert bob.directives, "a handoff is urgent"
    (offer,) = await bob.read()
    taken = await bob.call("respond_to_handoff", handoff_id=offer["about_id"], accept=True)
    mine = {"task_id": taken["task_id"], "lease_token": taken["lease_token"]}
    await bob.call("complete_task", **mine, summary="With tests.", evidence={"branch": "orders"})
    (yes,) = await ada.read()
    return {
        "from_token": lease["lease_token"],
        "to_token": taken["lease_token"],
        "recovery": taken["task"]["recovery"],
        "answer": yes["text"],
    }


async def _unblocked(admin: AsyncClient, project: str, team: dict[str, Agent]) -> Json:
    """A person helps Dan; when Ada meets the same thing later, the fix is remembered."""
    dan, ada = team["Dan"], team["Ada"]
    for title in ("Test the basket", "Test the checkout"):
        await admin.create_task(project, title=title, skills=["python"], priority="urgent")
    first = await dan.call("request_next_task")
    lease = {"task_id": first["task_id"], "lease_token": first["lease_token"]}
    stuck = await dan.call("report_blocker", **lease, description=STUCK, blocker_type="environment")
    await admin.resolve_blocker(stuck["blocker_id"], resolution=FIX)
    await dan.call("complete_task", **lease, summary="Green.")
    second = await ada.call("request_next_task")
    lease = {"task_id": second["task_id"], "lease_token": second["lease_token"]}
    again = await ada.call("report_blocker", **lease, description=STUCK, blocker_type="environment")
    context = await ada.call("get_task_context", task_id=lease["task_id"])
    (shown,) = context["blockers"]
    fixed = await ada.call(
        "report_fix",
        blocker_id=again["blocker_id"],
        lease_token=lease["lease_token"],
        worked=True,
    )
    await ada.call("complete_task", **lease, summary="Green, too.")
    return {"step": again.get("step", ""), "shown": shown, "state": fixed["state"]}


async def _told(team: dict[str, Agent]) -> Json:
    """One says something to all."""
    words = "The order list has an index now; please rebase."
    for agent in team.values():
        await agent.read()
    sent = await team["Bob"].call("broadcast_update", text=words)
    heard = {name: [m["text"] for m in await agent.read()] for name, agent in team.items()}
    return {"delivered": sent["delivered"], "heard": sorted(n for n, m in heard.items() if m)}
