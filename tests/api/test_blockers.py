"""A blocker from its report to its answer, with the real clients: HTTP, and MCP of both eras."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from pm_agent.adapters.gates_command import CommandGate
from pm_agent.adapters.llm_rules import RuleBasedWriter
from pm_agent.adapters.notify_webhook import WebhookNotifier
from pm_agent.client import ApiError, AsyncClient
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.effects import EffectRunner
from tests.api.conftest import LEAD, Stack
from tests.api.mcp_server import ERAS, Served, call_tool, served
from tests.api.test_leases import Hands, hands, later

__all__ = ["hands"]
Json = dict[str, Any]
Call = Callable[..., Awaitable[Json]]
WAYS = ("http", *ERAS)
STUCK = "The tests cannot reach the database: connection refused on port 5432."
FIX = "Start it with 'make database' first."


class Refused(Exception):
    """An operation was refused with this code."""


@asynccontextmanager
async def caller(server: Served, way: str, token: str) -> AsyncIterator[Call]:
    """Call operations by name, as an agent would over HTTP or MCP."""
    async with AsyncExitStack() as stack:
        if way == "http":
            url = server.url.removesuffix("/mcp")
            http = await stack.enter_async_context(AsyncClient(url, token, patience_s=5))

            async def over_http(name: str, **fields: Any) -> Json:
                try:
                    found = await getattr(http, name)(**fields)
                except ApiError as error:
                    raise Refused(error.code) from error
                reply: Json = msgspec.to_builtins(found)
                return reply

            yield over_http
        else:
            client = await stack.enter_async_context(server.client(token, way))

            async def over_mcp(name: str, **fields: Any) -> Json:
                result = await call_tool(client, name, fields)
                found: Json = result.structured_content or {}
                if result.is_error:
                    raise Refused(found["code"])
                return found

            yield over_mcp


class Team:
    """Agents and a lead who reach the same server in one way."""

    def __init__(self, stack: Stack, lead: Call, agents: dict[str, Call]) -> None:
        self.stack = stack
        self.lead = lead
        self.agents = agents

    async def stuck(
        self, name: str, report: str = STUCK, blocker_type: str = "other"
    ) -> tuple[Json, Json]:
        """An agent gets a new task and reports a blocker; returns lease and reply."""
        await self.stack.task(title=f"Work for {name}")
        claimed = await self.agents[name]("request_next_task", agent_id=f"A-{name.lower()}")
        lease = {"task_id": claimed["task_id"], "lease_token": claimed["lease_token"]}
        told = await self.agents[name](
            "report_blocker", **lease, description=report, blocker_type=blocker_type
        )
        return lease, told

    async def step(self, name: str, lease: Json) -> Json:
        """The step under way, as the agent sees it."""
        context = await self.agents[name]("get_task_context", task_id=lease["task_id"])
        (blocker,) = context["blockers"]
        step: Json = blocker["step"]
        return step

    async def advised(self, name: str, lease: Json, blocker_id: str) -> Json:
        """The advice that was asked for, once it is written."""
        blockers = self.stack.loop.engine.world.blockers
        await self.stack.until(lambda: (step := blockers[blocker_id].step) and step.text)
        return await self.step(name, lease)

    async def ask_again(self, name: str, lease: Json, blocker_id: str) -> Json:
        """An agent asks for help with a blocker by itself."""
        ask = self.agents[name]
        return await ask("request_collaboration", **lease, need="Who knows?", blocker_id=blocker_id)

    async def listed(self, blocker_id: str) -> Json:
        found = await self.lead("list_blockers", include_resolved=True)
        return next(one for one in found["blockers"] if one["blocker_id"] == blocker_id)


@asynccontextmanager
async def team(way: str, *names: str) -> AsyncIterator[Team]:
    async with served() as server, AsyncExitStack() as stack:
        await server.stack.project()
        lead = await stack.enter_async_context(caller(server, way, LEAD))
        agents = {}
        for name in names:
            _, token = await server.stack.agent(name)
            agents[name] = await stack.enter_async_context(caller(server, way, token))
        runner = EffectRunner(
            server.stack.loop, RuleBasedWriter(), CommandGate(), WebhookNotifier(SystemClock())
        )
        running = asyncio.create_task(runner.run())
        try:
            yield Team(server.stack, lead, agents)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.mark.parametrize("way", WAYS)
async def test_what_helped_is_remembered_and_what_did_not_is_not_offered_again(
    way: str, hands: Hands
) -> None:
    async with team(way, "Ada") as t:
        ada = t.agents["Ada"]
        lease, told = await t.stuck("Ada")
        assert (told["state"], told["step"]) == ("open", "advice")
        advice = await t.advised("Ada", lease, told["blocker_id"])
        assert advice["step"] == "advice"
        judged = {"blocker_id": told["blocker_id"], "lease_token": lease["lease_token"]}
        failed = await ada("report_fix", **judged, worked=False, note="The port is closed still.")
        assert failed["step"] == "escalate"
        for _ in range(3):  # people take their time, so that a known fix is worth a try
            await later(t.stack, hands, minutes=18)
            await ada("heartbeat_agent", agent_id="A-ada")
        await t.lead("resolve_blocker", blocker_id=told["blocker_id"], resolution=FIX)
        await ada("complete_task", **lease, summary="Green.")
        for n_before in (1, 2):
            lease, told = await t.stuck("Ada")
            assert told["step"] == "known_fix"
            offered = await t.step("Ada", lease)
            assert offered["text"] == FIX
            assert f"worked {n_before} of {n_before} times" in offered["why"]
            judged = {"blocker_id": told["blocker_id"], "lease_token": lease["lease_token"]}
            fixed = await ada("report_fix", **judged, worked=True)
            assert fixed["state"] == "resolved"
            await ada("complete_task", **lease, summary="Green, too.")
        story = await t.listed(told["blocker_id"])
        assert [(s["step"], s["outcome"]) for s in story["steps"]] == [("known_fix", "worked")]
        lease, told = await t.stuck("Ada")
        cases = (await t.lead("list_blockers"))["cases"]
        counts = {r["step"]: (r["worked"], r["tried"]) for case in cases for r in case["remedies"]}
        assert counts == {"known_fix": (3, 3), "advice": (0, 1)}


@pytest.mark.parametrize("way", WAYS)
async def test_a_person_is_asked_again_until_one_has_seen_it_and_answers(
    way: str, hands: Hands
) -> None:
    async with team(way, "Ada", "Bob") as t:
        lease, told = await t.stuck("Ada", "Which colour shall it be?", "needs_input")
        blocker_id = told["blocker_id"]
        with pytest.raises(Refused, match="wrong_state"):
            await t.lead("acknowledge_blocker", blocker_id=blocker_id)
        while (await t.listed(blocker_id))["steps"][-1]["step"] != "escalate":
            await later(t.stack, hands, minutes=20)
        await later(t.stack, hands, minutes=31)
        asked = (await t.listed(blocker_id))["steps"][-1]
        assert asked["times"] == 2
        await t.lead("acknowledge_blocker", blocker_id=blocker_id)
        await later(t.stack, hands, minutes=23 * 60)
        seen = (await t.listed(blocker_id))["steps"][-1]
        assert (seen["times"], seen["acknowledged_by"]) == (2, "person:lena")
        await later(t.stack, hands, minutes=2 * 60)
        assert (await t.listed(blocker_id))["steps"][-1]["times"] == 3
        await t.lead("resolve_blocker", blocker_id=blocker_id, resolution="Blue.")
        with pytest.raises(Refused, match="wrong_state"):
            await t.lead("resolve_blocker", blocker_id=blocker_id, resolution="Red.")
        await later(t.stack, hands, minutes=10)  # the pause after the lease that was lost
        taken = await t.agents["Bob"]("request_next_task", agent_id="A-bob")
        assert taken["task_id"] == lease["task_id"]
        assert any("Blue." in line for line in taken["task"]["recovery"])


@pytest.mark.parametrize("way", WAYS)
async def test_a_helper_reads_which_blocker_it_is_and_the_answer_is_remembered(way: str) -> None:
    async with team(way, "Ada", "Bob") as t:
        ada, bob = t.agents["Ada"], t.agents["Bob"]
        lease, told = await t.stuck("Ada", blocker_type="needs_input")
        assert told["step"] == "ask_help"
        await t.stack.until(lambda: t.stack.loop.engine.world.collaborations)
        (letter,) = (await bob("read_messages", agent_id="A-bob"))["messages"]
        assert (letter["kind"], letter["blocker_id"]) == ("help_wanted", told["blocker_id"])
        yes = {"collaboration_id": letter["about_id"], "accept": True}
        taken = await bob("respond_to_collaboration", **yes)
        assert taken["blocker"]["blocker_id"] == taken["blocker_id"] == told["blocker_id"]
        assert taken["blocker"]["description"] == STUCK
        await bob("resolve_blocker", blocker_id=taken["blocker_id"], resolution=FIX)
        (story, *_) = (await ada("list_blockers", include_resolved=True))["blockers"]
        assert [(s["step"], s["outcome"]) for s in story["steps"]] == [("ask_help", "worked")]
        await ada("complete_task", **lease, summary="Green.")
        lease, told = await t.stuck("Ada", blocker_type="needs_input")
        cases = (await t.lead("list_blockers"))["cases"]
        (known,) = (r for case in cases for r in case["remedies"] if r["step"] == "known_fix")
        assert (known["text"], known["by"], known["worked"]) == (FIX, "agent:A-bob", 1)
        asked = await t.ask_again("Ada", lease, told["blocker_id"])
        assert asked["blocker_id"] == told["blocker_id"]
        with pytest.raises(Refused, match="unknown_blocker"):
            await t.ask_again("Ada", lease, "B-99")
