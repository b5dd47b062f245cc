import asyncio
from collections.abc import AsyncIterator

import pytest

from pm_agent.domain.errors import Unavailable
from pm_agent.ports import StoredEvent
from pm_agent.runtime import replica as replica_module
from pm_agent.runtime.backend import Feed
from tests.runtime.line import running
from tests.scenario import a_task, claim


async def test_reach_waits_until_the_replica_holds_a_position() -> None:
    async with running() as (line, ingress):
        line.may_feed.clear()
        reply = await ingress.submit(a_task())
        reaching = asyncio.create_task(ingress.reach(reply.position))
        await asyncio.sleep(0)
        assert not reaching.done()
        line.may_feed.set()
        assert await reaching
        assert "T-1" in ingress.world.tasks
        assert await ingress.reach(1)


async def test_reach_gives_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "REACH_S", 0.01)
    async with running() as (_, ingress):
        assert not await ingress.reach(1_000)


async def test_the_replica_is_the_coordinators_world() -> None:
    async with running() as (line, ingress):
        await asyncio.gather(*(ingress.submit(a_task(description=f"{i}")) for i in range(50)))
        reply = await ingress.submit(claim())
        assert await ingress.reach(reply.position)
        assert ingress.world.fingerprint() == line.engine.world.fingerprint()
        assert not ingress.is_stale
        assert (await ingress.health()).position == ingress.world.position


async def test_texts_come_from_memory_or_the_journal() -> None:
    async with running() as (_, ingress):
        reply = await ingress.submit(a_task(description="All of it."))
        await ingress.reach(reply.position)
        ref = ingress.world.tasks["T-1"].description
        assert await ingress.texts([ref, None]) == {ref: "All of it."}
        ingress._replica._bodies.clear()
        assert await ingress.texts([ref, "0" * 64]) == {ref: "All of it."}
        assert list(ingress._replica._bodies) == [ref]


async def test_a_follower_begins_again_when_the_coordinator_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as (line, ingress):
        follow, cut, stale = line.follow, asyncio.Event(), asyncio.Event()

        async def broken(after: int) -> AsyncIterator[Feed]:
            if not cut.is_set():
                cut.set()
                raise Unavailable
            if ingress.is_stale:
                stale.set()
            async for feed in follow(after):
                yield feed

        monkeypatch.setattr(line, "follow", broken)
        await ingress.stop()
        await ingress.start()
        await cut.wait()
        reply = await ingress.submit(a_task())
        assert await ingress.reach(reply.position)
        assert not ingress.is_stale


async def test_a_replica_that_cannot_go_on_is_marked_stale(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as (_, ingress):

        def fail(stored: StoredEvent) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(replica_module, "unseal", fail)
        assert (await ingress.submit(a_task())).error is None
        async with asyncio.timeout(5):
            while not ingress.is_stale:  # noqa: ASYNC110 - the follower tells nobody
                await asyncio.sleep(0.001)
    assert "the replica stops at position 4" in caplog.text
