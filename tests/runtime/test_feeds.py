import asyncio

import pytest

from pm_agent.adapters.journal_memory import Store
from pm_agent.runtime import feeds
from tests.runtime.coordinator import Disk, accepted, running
from tests.scenario import a_project, a_task


async def test_a_follower_that_is_behind_catches_up_from_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "KEPT_EVENTS", 5)
    monkeypatch.setattr(feeds, "FEED_EVENTS", 3)
    async with running() as loop:
        await accepted(loop, a_project(), *(a_task() for _ in range(19)))
        positions: list[int] = []
        async for feed in loop.follow(0):
            assert len(feed.events) <= 3
            positions += [event.position for event in feed.events]
            if positions[-1] == 20:
                break
        assert positions == list(range(1, 21))


async def test_a_follower_gets_each_event_once_with_its_texts_as_they_come() -> None:
    async with running() as loop:
        following = aiter(loop.follow(0))
        await accepted(loop, a_project())
        assert [e.position for e in (await anext(following)).events] == [1]
        coming = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        await accepted(loop, a_task(description="Words."))
        feed = await coming
        assert [e.position for e in feed.events] == [2]
        assert [body.text for body in feed.bodies] == ["Words."]


async def test_what_comes_while_a_follower_reads_the_journal_is_not_missed() -> None:
    store = Store()
    async with running(Disk(store)) as loop:
        await accepted(loop, a_project())
    disk = Disk(store)
    async with running(disk) as loop:  # from its snapshot: nothing is kept in memory
        disk.may_read.clear()
        disk.arrived.clear()
        coming = asyncio.ensure_future(anext(aiter(loop.follow(1))))
        await disk.arrived.wait()
        await accepted(loop, a_task())
        disk.may_read.set()
        async with asyncio.timeout(2):
            feed = await coming
        assert [event.kind for event in feed.events] == ["TaskCreated"]
