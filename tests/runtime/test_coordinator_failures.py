import asyncio
from typing import Any

import msgspec
import pytest

from pm_agent.adapters.journal_memory import Store
from pm_agent.catalog import CATALOG
from pm_agent.domain.agent import HeartbeatAgent
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import Fenced, JournalUnavailable, Unavailable
from pm_agent.domain.project import CreateProject
from pm_agent.kernel.types import Catalog, Context, Decision
from tests.runtime.coordinator import Disk, accepted, running, writable_again
from tests.scenario import a_project, a_task, an_agent, claim, heartbeat

# -- appends that fail ----------------------------------------------------------------------------


async def test_a_failed_append_releases_no_reply_and_leaves_no_trace() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project())
        before = loop.engine
        fingerprint = before.world.fingerprint()
        disk.fails = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_task()], [])
        assert not (await loop.health()).is_writable
        assert "journal" in (await loop.health()).reason
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_task()], [])
        disk.fails = False
        await writable_again(loop)
        assert loop.engine is not before
        assert loop.engine.world.fingerprint() == fingerprint
        await accepted(loop, a_task())
        assert len(disk.store.events) == 2


async def test_commands_that_wait_behind_a_failed_append_are_refused_too() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        first = asyncio.create_task(loop.submit([a_project()], []))
        await disk.arrived.wait()
        second = asyncio.create_task(loop.submit([a_project("P-app")], []))
        await asyncio.sleep(0)
        disk.fails = True
        disk.may_append.set()
        found = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(one) for one in found] == [JournalUnavailable] * 2
        disk.fails = False
        await writable_again(loop)
        assert (await loop.health()).n_waiting == 0


async def test_it_probes_until_the_journal_can_be_written_again() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.fails = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_project()], [])
        async with asyncio.timeout(5):
            while disk.n_probes < 4:
                disk.arrived.clear()
                await disk.arrived.wait()
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_project()], [])
        disk.fails = False
        await writable_again(loop)
        await accepted(loop, a_project())


async def test_reads_go_on_while_the_journal_cannot_be_written() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project(), a_task(description="All of it."))
        disk.fails = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_task()], [])
        assert [event.kind for event in await loop.history("T-1", 10)] == ["TaskCreated"]
        assert (await loop.event_at(1)) == disk.store.events[0]
        refs = list(disk.store.bodies)
        assert [body.text for body in await loop.bodies(refs)] == ["All of it."]
        feed = await anext(aiter(loop.follow(0)))
        assert len(feed.events) == 2
        assert await loop.take_effects(0) == []
        disk.fails = False


async def test_an_append_of_unknown_outcome_has_one_effect_and_its_stored_reply() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project())
        command = a_task()
        disk.fails = disk.is_silent = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([command], [])
        disk.fails = False
        await writable_again(loop)
        (reply,) = await loop.submit([command], [])
        assert msgspec.json.decode(reply.result)["task_id"] == "T-1"
        assert reply.position == 2
        assert [event.kind for event in disk.store.events] == ["ProjectCreated", "TaskCreated"]
        await accepted(loop, a_task())
        assert list(loop.engine.world.tasks) == ["T-1", "T-2"]


async def test_followers_get_the_events_of_an_append_of_unknown_outcome() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project())
        following = loop.follow(1)
        news = asyncio.ensure_future(anext(aiter(following)))
        await asyncio.sleep(0)
        disk.fails = disk.is_silent = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_task()], [])
        disk.fails = False
        async with asyncio.timeout(5):
            feed = await news
        assert [event.kind for event in feed.events] == ["TaskCreated"]


async def test_effects_of_an_append_of_unknown_outcome_are_handed_out() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project(), an_agent(), a_task())
        taking = asyncio.create_task(loop.take_effects(5))
        await asyncio.sleep(0)
        disk.fails = disk.is_silent = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([claim()], [])
        disk.fails = False
        async with asyncio.timeout(2):
            (job,) = await taking
        assert job.effect.task_id == "T-1"


async def test_stopping_ends_a_loop_whose_journal_stays_away() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.fails = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_project()], [])
        async with asyncio.timeout(5):
            await loop.stop()


# -- fencing --------------------------------------------------------------------------------------


async def test_a_fenced_loop_refuses_and_writes_nothing_more() -> None:
    store = Store()
    async with running(Disk(store)) as older:
        await accepted(older, a_project())
        async with running(Disk(store)) as newer:
            assert newer.engine.epoch == older.engine.epoch + 1
            await accepted(newer, a_task())
            for _ in range(2):
                with pytest.raises(Fenced) as refused:
                    await older.submit([a_task("late")], [])
                assert refused.value.next_step
            health = await older.health()
            assert not health.is_writable
            assert "epoch" in health.reason
            await accepted(newer, a_task())
    assert [event.epoch for event in store.events] == [1, 2, 2]


async def test_a_loop_that_learns_of_its_successor_by_probing_gives_up() -> None:
    store = Store()
    disk = Disk(store)
    async with running(disk) as older:
        disk.fails = True
        with pytest.raises(JournalUnavailable):
            await older.submit([a_project()], [])
        async with running(Disk(store)):
            disk.fails = False
            async with asyncio.timeout(5):
                while "epoch" not in (await older.health()).reason:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.001)
            with pytest.raises(Fenced):
                await older.submit([a_project()], [])


async def test_after_stop_commands_are_refused() -> None:
    async with running() as loop:
        pass
    with pytest.raises(Unavailable, match="stopping"):
        await loop.submit([a_project()], [])


# -- bugs -----------------------------------------------------------------------------------------


def with_decider(command: type[Command], decide: Any) -> Catalog:
    return msgspec.structs.replace(CATALOG, deciders={**CATALOG.deciders, command: decide})


async def test_a_bug_in_a_decider_harms_its_command_alone() -> None:
    def broken(world: Any, command: HeartbeatAgent, context: Context) -> Decision:
        raise ZeroDivisionError

    async with running(catalog=with_decider(HeartbeatAgent, broken)) as loop:
        replies = await loop.submit([an_agent(), heartbeat(), a_project()], [])
        codes = [reply.error.code if reply.error else "" for reply in replies]
        assert codes == ["", "decision_failed", ""]
        await accepted(loop, a_task())


async def test_a_broken_invariant_stops_the_coordinator() -> None:
    def broken(world: Any, command: CreateProject, context: Context) -> Decision:
        raise AssertionError

    crashed: list[bool] = []
    catalog = with_decider(CreateProject, broken)
    disk = Disk()
    async with running(disk, catalog, on_crash=lambda: crashed.append(True)) as loop:
        both = [loop.submit([a_project()], []), loop.submit([an_agent()], [])]
        found = await asyncio.gather(*both, return_exceptions=True)
        assert [type(one) for one in found] == [Unavailable] * 2
        assert "internal error" in str(found[0])
        assert crashed == [True]
        with pytest.raises(Unavailable):
            await loop.submit([an_agent()], [])
    assert disk.store.events == []
