import asyncio

import pytest

from pm_agent.adapters.journal_memory import Store
from pm_agent.domain.errors import Fenced, JournalUnavailable
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.invariants import check_world
from pm_agent.ports import StoredEvent, StoredSnapshot
from pm_agent.runtime import coordinator_loop
from tests.runtime.coordinator import Disk, accepted, passes, running
from tests.scenario import a_project, a_task, an_agent, claim, complete


async def test_a_restart_gives_the_same_world_from_the_snapshot_taken_at_the_end() -> None:
    store = Store()
    async with running(Disk(store)) as loop:
        await accepted(loop, a_project(), an_agent(), a_task(), a_task(), claim())
        fingerprint = loop.engine.world.fingerprint()
    (saved,) = store.snapshots
    assert saved.position == len(store.events)
    async with running(Disk(store)) as loop:
        assert loop.engine.world.fingerprint() == fingerprint
        assert not list(check_world(loop.engine.world))
        await accepted(loop, complete("T-1", 1))


async def test_a_coordinator_that_hands_over_finishes_what_it_took_and_takes_nothing_more() -> None:
    store = Store()
    disk = Disk(store)
    async with running(disk) as loop:
        await accepted(loop, a_project(), an_agent(), a_task(), claim())
        assert len(await loop.take_effects(0)) == 1
        disk.may_append.clear()
        disk.arrived.clear()
        under_way = asyncio.create_task(loop.submit([a_task()], []))
        await disk.arrived.wait()
        waiting = asyncio.create_task(loop.submit([a_task()], []))
        await asyncio.sleep(0)
        handing = asyncio.create_task(loop.hand_over())
        await asyncio.sleep(0)
        disk.may_append.set()
        for reply in (*await under_way, *await waiting):
            assert reply.error is None
        handed = await handing
        assert await loop.hand_over() == handed
        assert not handed.is_writable
        assert handed.position == len(store.events) == store.snapshots[-1].position
        with pytest.raises(Fenced, match="handed"):
            await loop.submit([a_task()], [])
        assert await loop.take_effects(0) == []
        assert [e.kind for e in await loop.history("T-1", 9)] == ["TaskCreated", "TaskAssigned"]
        async with running(Disk(store)) as successor:
            health = await successor.health()
            assert (health.position, health.epoch) == (handed.position, handed.epoch + 1)
            assert len(await successor.take_effects(0)) == 1  # whose answer the old one lacked
            await accepted(successor, complete("T-1", 1))


async def test_a_snapshot_is_taken_on_the_way_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_loop, "SNAPSHOT_EVERY", 10)
    monkeypatch.setattr(coordinator_loop, "SNAPSHOT_EVENTS_PER_TASK", 0)
    store = Store()
    async with running(Disk(store)) as loop:
        await accepted(loop, a_project())
        for _ in range(12):
            await accepted(loop, a_task())
        await passes(100)  # it is encoded piece by piece
        assert [saved.position for saved in store.snapshots] == [10]
        saved, fingerprint = store.snapshots[0], loop.engine.world.fingerprint()
        # What no later event says can only come from the snapshot.
        world, _ = snapshots.load(saved)
        assert world.position == 10
        disk = Disk(store)
        reads: list[int] = []
        read = disk.read

        async def noting(after: int, limit: int = 1000) -> list[StoredEvent]:
            reads.append(after)
            return await read(after, limit)

        monkeypatch.setattr(disk, "read", noting)
        async with running(disk) as again:
            assert again.engine.world.fingerprint() == fingerprint
            assert min(reads) == 10


async def test_a_snapshot_that_cannot_be_saved_costs_nothing_but_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinator_loop, "SNAPSHOT_EVERY", 1)

    async def refuse(_: StoredSnapshot) -> None:
        raise JournalUnavailable

    disk = Disk()
    monkeypatch.setattr(disk, "save_snapshot", refuse)
    async with running(disk) as loop:
        await accepted(loop, a_project())
        await asyncio.sleep(0)
        await accepted(loop, a_task())


async def test_a_request_answered_before_a_restart_gets_the_same_reply_after_it() -> None:
    store = Store()
    command = a_task()
    async with running(Disk(store)) as loop:
        await accepted(loop, a_project())
        (first,) = await loop.submit([command], [])
    async with running(Disk(store)) as loop:
        (second,) = await loop.submit([command], [])
        assert (second.result, second.position) == (first.result, first.position)
        assert len(store.events) == 2


async def test_a_projects_own_snapshot_holds_its_work_alone() -> None:
    async with running() as loop:
        await accepted(loop, a_project(), a_project("P-app"), a_task(), a_task("x", "P-app"))
        world, _ = snapshots.load(await loop.snapshot("P-app"))
        assert list(world.tasks) == ["T-2"]
        assert await loop.projects() == ["P-web", "P-app"]
