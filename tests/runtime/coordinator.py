"""The coordinator's loop in this process, on a disk that fails when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from pm_agent.adapters.journal_memory import MemoryJournal, Store
from pm_agent.catalog import CATALOG
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import JournalUnavailable
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.types import Catalog, Policy
from pm_agent.ports import Batch, Head, StoredEvent, StoredSnapshot
from pm_agent.runtime import coordinator_loop
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from tests.scenario import START_US


class SettableClock:
    def __init__(self) -> None:
        self.us = START_US

    def now_us(self) -> int:
        return self.us


class Disk(MemoryJournal):
    """A journal whose appends can be held up, fail, or get through without saying so."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(store)
        self.fails = self.is_silent = False
        self.n_probes = self.n_batches = 0
        self.may_append, self.may_read = asyncio.Event(), asyncio.Event()
        self.may_append.set()
        self.may_read.set()
        self.arrived = asyncio.Event()  # an append, a probe or a read

    async def append(self, batch: Batch) -> None:
        self.arrived.set()
        await self.may_append.wait()
        if self.fails and not self.is_silent:
            raise JournalUnavailable
        await super().append(batch)
        self.n_batches += 1
        if self.fails:
            raise JournalUnavailable

    async def probe(self) -> None:
        self.n_probes += 1
        self.arrived.set()
        if self.fails:
            raise JournalUnavailable
        await super().probe()

    async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
        found = await super().read(after, limit)
        self.arrived.set()
        await self.may_read.wait()
        return found


def builder(catalog: Catalog = CATALOG) -> coordinator_loop.BuildEngine:
    def build(saved: StoredSnapshot | None, head: Head, now_us: int) -> Engine:
        state: dict[str, Any] = {}
        if saved is not None:
            state["world"], state["outbox"] = snapshots.load(saved)
        policy = Policy(exploration=0.0)
        scorer = PriorityScorer()
        return Engine(catalog, scorer, policy, seed=1, started_us=now_us, head=head, **state)

    return build


@asynccontextmanager
async def running(
    journal: MemoryJournal | None = None,
    catalog: Catalog = CATALOG,
    clock: SettableClock | None = None,
    on_crash: Callable[[], None] = lambda: None,
) -> AsyncIterator[CoordinatorLoop]:
    loop = CoordinatorLoop(
        Disk() if journal is None else journal, builder(catalog), clock or SettableClock(), on_crash
    )
    await loop.start()
    try:
        yield loop
    finally:
        with suppress(AssertionError):  # of a loop that has crashed
            await loop.stop()


async def accepted(loop: CoordinatorLoop, *commands: Command) -> list[dict[str, Any]]:
    replies = await loop.submit([*commands], [])
    assert [reply.error for reply in replies] == [None] * len(commands)
    return [msgspec.json.decode(reply.result) for reply in replies]


async def writable_again(loop: CoordinatorLoop) -> None:
    async with asyncio.timeout(5):
        while not (await loop.health()).is_writable:  # noqa: ASYNC110 - recovery tells nobody
            await asyncio.sleep(0.001)


async def passes(n: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(n):
        await asyncio.sleep(0)
