import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from pm_agent.adapters.journal_memory import MemoryJournal, Store
from pm_agent.catalog import CATALOG
from pm_agent.domain.agent import HeartbeatAgent
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import Fenced, JournalUnavailable, Overloaded, Unavailable
from pm_agent.domain.project import CreateProject
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.invariants import check_world
from pm_agent.kernel.types import Catalog, Context, Decision, Policy
from pm_agent.ports import Batch, Head, InstructionBrief, StoredEvent, StoredSnapshot
from pm_agent.runtime import coordinator_loop
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from tests.scenario import (
    START_US,
    a_project,
    a_task,
    an_agent,
    claim,
    complete,
    heartbeat,
    wait,
)


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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_loop, "PROBE_FIRST_S", 0.001)
    monkeypatch.setattr(coordinator_loop, "PROBE_MAX_S", 0.002)


async def accepted(loop: CoordinatorLoop, *commands: Command) -> list[dict[str, Any]]:
    replies = await loop.submit([*commands], [])
    assert [reply.error for reply in replies] == [None] * len(commands)
    return [msgspec.json.decode(reply.result) for reply in replies]


async def writable_again(loop: CoordinatorLoop) -> None:
    async with asyncio.timeout(5):
        while not (await loop.health()).is_writable:  # noqa: ASYNC110 - recovery tells nobody
            await asyncio.sleep(0.001)


# -- one step, one commit --------------------------------------------------------------------------


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


async def passes(n: int = 5) -> None:
    """Let everything run that can."""
    for _ in range(n):
        await asyncio.sleep(0)


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


# -- appends that fail -----------------------------------------------------------------------------


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


# -- fencing ---------------------------------------------------------------------------------------


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


# -- bugs ------------------------------------------------------------------------------------------


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


# -- snapshots and restarts ------------------------------------------------------------------------


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


# -- followers -------------------------------------------------------------------------------------


async def test_a_follower_that_is_behind_catches_up_from_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinator_loop, "KEPT_EVENTS", 5)
    monkeypatch.setattr(coordinator_loop, "FEED_EVENTS", 3)
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


# -- effects ---------------------------------------------------------------------------------------


async def test_an_effect_is_handed_out_again_after_its_lease_until_it_is_answered() -> None:
    clock = SettableClock()
    async with running(clock=clock) as loop:
        await accepted(loop, a_project(), an_agent(), a_task(description="Words."), claim())
        (job,) = await loop.take_effects(0)
        assert isinstance(job.brief, InstructionBrief)
        assert job.brief.description == "Words."
        assert await loop.take_effects(0) == []
        clock.us += coordinator_loop.EFFECT_LEASE_US
        assert await loop.take_effects(0) == [job]
        await accepted(loop, complete("T-1", 1))
        clock.us += coordinator_loop.EFFECT_LEASE_US
        assert await loop.take_effects(0) == []


async def test_waiting_for_effects_ends_as_soon_as_there_is_one() -> None:
    async with running() as loop:
        await accepted(loop, a_project(), an_agent(), a_task())
        taking = asyncio.create_task(loop.take_effects(30))
        await asyncio.sleep(0)
        await accepted(loop, claim())
        async with asyncio.timeout(2):
            (job,) = await taking
        assert job.effect.lease_token == 1


async def test_a_gate_comes_with_all_that_it_needs() -> None:
    async with running() as loop:
        await accepted(loop, a_project(completion="command"), an_agent(), a_task(), claim())
        await loop.take_effects(0)
        await accepted(loop, complete("T-1", 1))
        (job,) = await loop.take_effects(0)
        assert job.gate_request is not None
        assert (job.gate_request.task_id, job.gate_request.agent_id) == ("T-1", "A-ada")


async def test_after_a_restart_effects_are_handed_out_at_once() -> None:
    store = Store()
    async with running(Disk(store)) as loop:
        await accepted(loop, a_project(), an_agent(), a_task(), claim())
        (job,) = await loop.take_effects(0)
    async with running(Disk(store)) as loop:
        assert await loop.take_effects(0) == [job]


async def test_a_waiting_agent_is_given_a_task_as_soon_as_there_is_one() -> None:
    clock = SettableClock()
    async with running(clock=clock) as loop:
        until_us = clock.us + 30_000_000
        (_, _, waiting) = await accepted(loop, a_project(), an_agent(), wait("A-ada", until_us))
        assert waiting["outcome"] == "waiting"
        await accepted(loop, a_task())
        assert list(loop.engine.world.assignments) == ["T-1"]
