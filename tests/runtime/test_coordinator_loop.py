import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pm_agent.adapters.journal_memory import MemoryJournal, Store
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import Fenced, JournalUnavailable, Overloaded
from pm_agent.runtime import coordinator_loop
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from tests.runtime.coordinator import Disk, SettableClock, accepted, passes, running, writable_again
from tests.scenario import START_US, a_project, a_task, an_agent, claim, heartbeat, wait


async def test_a_reply_is_released_only_after_the_append() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        waiting = asyncio.create_task(loop.submit([a_project()], []))
        await disk.arrived.wait()
        assert not waiting.done()
        assert disk.store.events == []
        disk.may_append.set()
        (reply,) = await waiting
        assert reply.position == len(disk.store.events) == 1


async def test_who_asks_for_the_reply_to_a_request_hears_of_durable_ones_alone() -> None:
    disk = Disk()
    command = a_project()
    who, request_id = str(command.principal), command.request_id
    async with running(disk) as loop:
        async with append_under_way(loop, disk, command):
            assert await loop.reply_to(who, request_id) is None
        await passes()
        told = await loop.reply_to(who, request_id)
        assert told is not None
        assert json.loads(told.result)["project_id"] == "P-web"
        assert await loop.reply_to("person:else", request_id) is None
        (refused,) = await loop.submit([a_task(project_id="P-none")], [])
        assert await loop.reply_to(who, refused.request_id) == refused
    async with running(Disk(disk.store)) as loop:
        again = await loop.reply_to(who, request_id)
        assert (again, await loop.reply_to(who, refused.request_id)) == (told, None)


async def test_a_snapshot_taken_during_a_commit_waits_for_it() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        writing = asyncio.create_task(loop.submit([a_project()], []))
        await disk.arrived.wait()
        taking = asyncio.create_task(loop.snapshot())
        await asyncio.sleep(0)
        assert not taking.done()
        assert (await loop.health()).position == 0
        disk.may_append.set()
        await writing
        assert (await taking).position == 1


async def test_a_snapshot_taken_during_a_failing_commit_shows_nothing_of_it() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        disk.fails = True
        writing = asyncio.create_task(loop.submit([a_project()], []))
        await disk.arrived.wait()
        taking = asyncio.create_task(loop.snapshot())
        await asyncio.sleep(0)
        disk.may_append.set()
        with pytest.raises(JournalUnavailable):
            await writing
        disk.fails = False
        assert (await taking).position == 0


async def test_a_snapshot_asked_of_a_coordinator_that_is_shut_out_is_refused() -> None:
    store = Store()
    disk = Disk(store)
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        writing = asyncio.create_task(loop.submit([a_project()], []))
        await disk.arrived.wait()
        taking = asyncio.create_task(loop.snapshot())
        await asyncio.sleep(0)
        await MemoryJournal(store).activate()  # a newer coordinator takes over
        disk.may_append.set()
        with pytest.raises(Fenced):
            await writing
        async with asyncio.timeout(2):
            with pytest.raises(Fenced):
                await taking
        with pytest.raises(Fenced):
            await loop.snapshot()


async def test_agents_that_wait_still_wait_after_the_journal_came_back() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project(), an_agent(), wait("A-ada", until_us=START_US + 50_000_000))
        disk.fails = True
        with pytest.raises(JournalUnavailable):
            await loop.submit([a_task()], [])
        disk.fails = False
        await writable_again(loop)
        await accepted(loop, a_task())
        assert [held.agent_id for held in loop.engine.world.assignments.values()] == ["A-ada"]


async def test_no_effect_is_handed_out_before_its_event_is_durable() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project(), a_task(), an_agent())
        disk.may_append.clear()
        disk.arrived.clear()
        claiming = asyncio.create_task(loop.submit([claim()], []))
        await disk.arrived.wait()
        assert await loop.take_effects(0) == []
        disk.may_append.set()
        await claiming
        assert len(await loop.take_effects(0)) == 1


async def test_what_gathers_during_a_commit_goes_into_the_next_one() -> None:
    disk = Disk()
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        first = asyncio.create_task(loop.submit([a_project()], []))
        await disk.arrived.wait()
        others = [asyncio.create_task(loop.submit([a_task()], [])) for _ in range(20)]
        while (await loop.health()).n_waiting < 20:  # noqa: ASYNC110 - they only have to queue up
            await asyncio.sleep(0)
        disk.may_append.set()
        await first
        replies = [(await other)[0] for other in others]
        assert disk.n_batches == 2
        assert sorted(reply.position for reply in replies) == list(range(2, 22))


@asynccontextmanager
async def append_under_way(
    loop: CoordinatorLoop, disk: Disk, *commands: Command
) -> AsyncIterator["asyncio.Task[list[dict[str, Any]]]"]:
    """Hold up the append of these commands; it goes on at the end."""
    disk.may_append.clear()
    disk.arrived.clear()
    appending = asyncio.create_task(accepted(loop, *commands))
    await disk.arrived.wait()
    yield appending
    disk.may_append.set()
    await asyncio.wait([appending])


async def test_what_comes_during_an_append_is_decided_before_it_ends() -> None:
    disk = Disk()
    async with running(disk) as loop:
        async with append_under_way(loop, disk, a_project()):
            then = asyncio.create_task(accepted(loop, a_task()))
            await passes()
            assert loop.engine.world.position == 2
            assert disk.store.events == []
            assert not then.done()
        await then
        assert disk.n_batches == 2


async def test_what_was_decided_during_an_append_that_fails_is_refused_and_leaves_no_trace() -> (
    None
):
    disk = Disk()
    async with running(disk) as loop:
        async with append_under_way(loop, disk, a_project()) as appending:
            then = asyncio.create_task(accepted(loop, a_task()))
            await passes()
            disk.fails = True
        for refused in (appending, then):
            with pytest.raises(JournalUnavailable):
                await refused
        disk.fails = False
        await writable_again(loop)
        assert disk.store.events == []
        assert loop.engine.world.position == 0


async def test_a_refusal_that_rests_on_an_append_under_way_waits_for_it() -> None:
    disk = Disk()
    async with running(disk) as loop:
        async with append_under_way(loop, disk, a_project()):
            again = asyncio.create_task(loop.submit([a_project()], []))
            await passes()
            assert not again.done()
        (reply,) = await again
        assert reply.error is not None
        assert disk.n_batches == 1


async def test_a_refusal_that_rests_on_an_append_that_fails_is_not_given() -> None:
    disk = Disk()
    async with running(disk) as loop:
        async with append_under_way(loop, disk, a_project()):
            again = asyncio.create_task(loop.submit([a_project()], []))
            await passes()
            disk.fails = True
        with pytest.raises(JournalUnavailable):
            await again


async def test_who_asks_for_a_snapshot_is_served_before_more_is_decided() -> None:
    disk = Disk()
    async with running(disk) as loop:
        async with append_under_way(loop, disk, a_project()):
            decided = asyncio.create_task(accepted(loop, a_task()))
            await passes()
            asking = asyncio.create_task(loop.snapshot())
            await passes()
            waiting = asyncio.create_task(accepted(loop, a_task()))
            await passes()
            assert loop.engine.world.position == 2
        assert (await asking).position == 2
        await asyncio.gather(decided, waiting)


async def test_offers_left_or_answered_ahead_of_a_failing_append_stand_as_before_it() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, a_project(), an_agent(), wait("A-ada", until_us=START_US + 50_000_000))
        async with append_under_way(loop, disk, a_project("P-app")):
            given = asyncio.create_task(accepted(loop, a_task()))
            await passes()
            assert loop.engine.presence.offers == {}
            disk.fails = True
        with pytest.raises(JournalUnavailable):
            await given
        disk.fails = False
        await writable_again(loop)
        assert list(loop.engine.presence.offers) == ["A-ada"]


async def test_a_batch_holds_at_most_256_commands() -> None:
    disk = Disk()
    async with running(disk) as loop:
        async with append_under_way(loop, disk, a_project()):
            groups = [[a_task() for _ in range(100)] for _ in range(5)]
            waiting = [asyncio.create_task(accepted(loop, *group)) for group in groups]
            await passes(20)
            assert loop.engine.world.position == 1 + 200
        await asyncio.gather(*waiting)


async def test_commands_without_events_need_no_commit() -> None:
    disk = Disk()
    async with running(disk) as loop:
        await accepted(loop, an_agent(), heartbeat())
        (reply,) = await loop.submit([claim("A-nobody")], [])
        assert reply.error is not None
        assert disk.n_batches == 1


async def test_signs_of_life_without_a_command_are_heard() -> None:
    clock = SettableClock()
    async with running(clock=clock) as loop:
        await accepted(loop, an_agent())
        clock.us += 5_000_000
        assert await loop.submit([], ["A-ada"]) == []
        assert loop.engine.presence.heard_at("A-ada") == clock.us


async def test_too_many_waiting_commands_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_loop, "MAX_WAITING", 10)
    disk = Disk()
    async with running(disk) as loop:
        disk.may_append.clear()
        disk.arrived.clear()
        waiting = [asyncio.create_task(loop.submit([a_project("P-a")], []))]
        await disk.arrived.wait()
        tasks = [a_project(f"P-{i}") for i in range(11)]
        waiting.append(asyncio.create_task(loop.submit([*tasks], [])))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="11 commands wait"):
            await loop.submit([a_project("P-b")], [])
        disk.may_append.set()
        await asyncio.gather(*waiting)


async def test_the_clock_alone_ends_a_lease() -> None:
    clock = SettableClock()
    async with running(clock=clock) as loop:
        await accepted(loop, a_project(), an_agent(sends_heartbeats=True), a_task(), claim())
        loop_news = loop.follow(loop.engine.world.position)
        kinds = []
        for seconds in (121, 61):  # suspect, then lost
            clock.us += seconds * 1_000_000
            await loop.submit([], [])  # whatever wakes it; the alarm is what counts
            async with asyncio.timeout(5):
                kinds.append((await anext(loop_news)).events[0].kind)
        await loop_news.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert kinds == ["LeaseSuspected", "AssignmentExpired"]


async def test_a_waiting_agent_is_given_a_task_as_soon_as_there_is_one() -> None:
    clock = SettableClock()
    async with running(clock=clock) as loop:
        until_us = clock.us + 30_000_000
        (_, _, waiting) = await accepted(loop, a_project(), an_agent(), wait("A-ada", until_us))
        assert waiting["outcome"] == "waiting"
        await accepted(loop, a_task())
        assert list(loop.engine.world.assignments) == ["T-1"]
