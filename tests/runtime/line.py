"""A coordinator in this process that tests can hold up, and an ingress that follows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import msgspec

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.bootstrap import engine_builder
from pm_agent.domain.access import IssueToken
from pm_agent.domain.assignment import WaitForTask
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.errors import Unavailable
from pm_agent.domain.ids import AgentId
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel.types import Policy, Reply
from pm_agent.runtime.backend import Feed
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.runtime.ingress import Ingress
from tests.scenario import ADA, BOB, a_project, agent_principal, an_agent, wait

SECRET = "secret-of-ada"


class Line(CoordinatorLoop):
    """A coordinator whose calls are counted and can be held up, cut before or after their work."""

    def __init__(self) -> None:
        build = engine_builder(Policy(exploration=0.0), PriorityScorer(), seed=1)
        super().__init__(MemoryJournal(), build, SystemClock())
        self.calls: list[tuple[list[Command], list[AgentId]]] = []
        self.called = asyncio.Event()
        self.is_free, self.may_feed = asyncio.Event(), asyncio.Event()
        self.cut = asyncio.Event()  # ends a follow once, as a restart does
        self.is_free.set()
        self.may_feed.set()
        self.n_cut_before = self.n_cut_after = 0
        self.error: type[Unavailable] = Unavailable

    async def submit(self, commands: list[Command], heard: list[AgentId]) -> list[Reply]:
        self.calls.append((commands, heard))
        self.called.set()
        await self.is_free.wait()
        if self.n_cut_before:
            self.n_cut_before -= 1
            raise self.error
        replies = await super().submit(commands, heard)
        if self.n_cut_after:
            self.n_cut_after -= 1
            raise self.error
        return replies

    async def follow(self, after: int) -> AsyncIterator[Feed]:
        feeds = super().follow(after)
        while True:
            coming = asyncio.ensure_future(anext(feeds))
            cut = asyncio.create_task(self.cut.wait())
            await asyncio.wait({coming, cut}, return_when=asyncio.FIRST_COMPLETED)
            is_cut = cut.done()
            cut.cancel()
            if is_cut:
                self.cut.clear()
                coming.cancel()
                raise Unavailable
            await self.may_feed.wait()
            yield coming.result()


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Line, Ingress]]:
    """Run a coordinator with the project P-web and two agents, and an ingress that follows it."""
    line = Line()
    await line.start()
    issue = IssueToken(
        request_id="token",
        principal=SYSTEM,
        sha256=sha256(SECRET.encode()).hexdigest(),
        owner=agent_principal(ADA),
    )
    await line.submit([a_project(), an_agent(), an_agent(BOB), issue], [])
    line.calls.clear()
    line.called.clear()
    ingress = Ingress(line, SystemClock())
    await ingress.start()
    await ingress.reach(4)
    try:
        yield line, ingress
    finally:
        line.is_free.set()
        await ingress.stop()
        await line.stop()


def result_of(reply: Reply) -> dict[str, Any]:
    return msgspec.json.decode(reply.result, type=dict[str, Any])


def a_wait(ingress: Ingress, agent_id: str = ADA, seconds: float = 30) -> WaitForTask:
    return wait(agent_id, ingress.now_us() + int(seconds * 1_000_000))


async def parked(ingress: Ingress, line: Line, command: WaitForTask) -> asyncio.Task[Reply]:
    """Let an agent wait; return when its offer stands."""
    before = line.engine.presence.offers.get(command.agent_id)
    waiting = asyncio.create_task(ingress.waiters.wait_for_task(command))
    async with asyncio.timeout(5):
        while line.engine.presence.offers.get(command.agent_id) is before:  # noqa: ASYNC110 - presence tells nobody
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting
