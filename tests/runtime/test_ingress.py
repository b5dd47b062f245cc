import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.bootstrap import engine_builder
from pm_agent.domain.access import AccessRefused, IssueToken
from pm_agent.domain.assignment import TaskAssigned, WaitForTask
from pm_agent.domain.envelope import SYSTEM, Command, Principal
from pm_agent.domain.errors import (
    HandingOver,
    JournalUnavailable,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from pm_agent.domain.ids import AgentId
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.types import Policy, Reply
from pm_agent.runtime import batcher as batcher_module
from pm_agent.runtime import ingress as ingress_module
from pm_agent.runtime.admission import Limits
from pm_agent.runtime.backend import Feed, Health
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.runtime.ingress import Ingress
from tests.scenario import (
    ADA,
    BOB,
    a_project,
    a_task,
    agent_principal,
    an_agent,
    claim,
    complete,
    wait,
)

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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ingress_module, batcher_module):
        monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
        monkeypatch.setattr(module, "RETRY_MAX_S", 0.004)


def result_of(reply: Reply) -> dict[str, Any]:
    return msgspec.json.decode(reply.result, type=dict[str, Any])


def a_wait(ingress: Ingress, agent_id: str = ADA, seconds: float = 30) -> WaitForTask:
    return wait(agent_id, ingress.now_us() + int(seconds * 1_000_000))


async def parked(ingress: Ingress, line: Line, command: WaitForTask) -> asyncio.Task[Reply]:
    """Let an agent wait; return when its offer stands."""
    before = line.engine.presence.offers.get(command.agent_id)
    waiting = asyncio.create_task(ingress.wait_for_task(command))
    async with asyncio.timeout(5):
        while line.engine.presence.offers.get(command.agent_id) is before:  # noqa: ASYNC110 - presence tells nobody
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting


# -- micro-batches ---------------------------------------------------------------------------------


async def test_many_submits_become_few_calls() -> None:
    async with running() as (line, ingress):
        line.is_free.clear()
        submits = [asyncio.create_task(ingress.submit(a_task()))]
        await line.called.wait()
        submits += [asyncio.create_task(ingress.submit(a_task())) for _ in range(199)]
        await asyncio.sleep(0)
        line.is_free.set()
        replies = await asyncio.gather(*submits)
        assert [len(commands) for commands, _ in line.calls] == [1, 199]
        made = [str(result_of(reply)["task_id"]) for reply in replies]
        assert made == [f"T-{n}" for n in range(1, 201)]


async def test_a_batch_is_never_larger_than_a_step() -> None:
    async with running() as (line, ingress):
        await asyncio.gather(*(ingress.submit(a_task()) for _ in range(600)))
        assert [len(commands) for commands, _ in line.calls] == [256, 256, 88]


async def test_each_caller_gets_its_own_reply_or_refusal() -> None:
    async with running() as (_, ingress):
        task, refusal = await asyncio.gather(
            ingress.submit(a_task()), ingress.submit(claim("A-nobody"))
        )
        assert task.error is None
        assert refusal.error is not None


async def test_a_caller_that_goes_away_leaves_the_others_alone() -> None:
    async with running() as (line, ingress):
        line.is_free.clear()
        first = asyncio.create_task(ingress.submit(a_task()))
        second = asyncio.create_task(ingress.submit(a_task()))
        await line.called.wait()
        first.cancel()
        line.is_free.set()
        assert (await second).error is None
        assert len(line.engine.world.tasks) == 2  # what was sent is done all the same


async def test_signs_of_life_go_with_the_next_batch_once_an_agent() -> None:
    async with running() as (line, ingress):
        for _ in range(3):
            ingress.hear(agent_principal(ADA))
        ingress.hear(Principal("person", "pat", "admin"))
        await ingress.submit(a_task())
        assert [heard for _, heard in line.calls] == [[ADA]]


# -- a coordinator that is away --------------------------------------------------------------------


async def test_a_retry_keeps_the_request_id_and_has_one_effect() -> None:
    async with running() as (line, ingress):
        line.n_cut_before, line.n_cut_after = 1, 1
        reply = await ingress.submit(a_task())
        assert reply.error is None
        assert len({commands[0].request_id for commands, _ in line.calls}) == 1
        assert len(line.calls) == 3
        assert len(line.engine.world.tasks) == 1


async def test_it_gives_up_after_a_while_and_serves_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batcher_module, "GIVE_UP_S", 0.02)
    async with running() as (line, ingress):
        line.n_cut_before = 1_000_000
        with pytest.raises(Unavailable):
            await ingress.submit(a_task())
        assert len(line.calls) > 2
        line.n_cut_before = 0
        assert (await ingress.submit(a_task())).error is None


async def test_a_journal_that_cannot_be_written_is_told_at_once() -> None:
    async with running() as (line, ingress):
        line.n_cut_before, line.error = 1, JournalUnavailable
        with pytest.raises(JournalUnavailable):
            await ingress.submit(a_task())
        assert len(line.calls) == 1


async def test_an_unexpected_failure_of_a_call_reaches_its_callers() -> None:
    async with running() as (line, ingress):
        line.n_cut_before, line.error = 1, RuntimeError  # type: ignore[assignment]  # no refusal
        async with asyncio.timeout(2):
            with pytest.raises(Unavailable):
                await ingress.submit(a_task())
        assert (await ingress.submit(a_task())).error is None


# -- waiting agents --------------------------------------------------------------------------------


async def test_a_parked_waiter_is_woken_by_a_new_task_and_told_its_lease() -> None:
    async with running() as (line, ingress):
        waiting = await parked(ingress, line, a_wait(ingress))
        assert ingress.n_parked == 1
        await ingress.submit(a_task())
        async with asyncio.timeout(2):
            reply = await waiting
        told = result_of(reply)
        assert (told["outcome"], told["lease_token"]) == ("assigned", 1)
        assert ingress.n_parked == 0
        held = line.engine.world.assignments["T-1"]
        assert held.agent_id == ADA
        assert held.is_offered  # the connection may be dead: nobody has confirmed it
        assert line.engine.presence.heard_at(ADA) < held.granted_at_us
        again = result_of(await ingress.submit(a_wait(ingress)))  # as who lost the reply would
        assert again | {"lease_until": ""} == told | {"lease_until": ""}


async def test_news_of_a_lease_from_before_the_wait_wakes_nobody() -> None:
    async with running() as (line, ingress):
        waiting = await parked(ingress, line, a_wait(ingress))
        position = ingress.events.position
        await ingress.submit(a_task())
        await waiting
        (old,) = [
            e for e in ingress.events.after(position) or () if isinstance(e.data, TaskAssigned)
        ]
        await ingress.submit(complete("T-1", 1))
        waiting = await parked(ingress, line, a_wait(ingress))
        ingress._parked[ADA].set_result(old)  # as a replica that lags would
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await ingress.submit(a_task())
        async with asyncio.timeout(2):
            assert result_of(await waiting)["task_id"] == "T-2"


async def test_a_task_that_is_there_is_given_without_parking() -> None:
    async with running() as (line, ingress):
        await ingress.submit(a_task())
        reply = await ingress.wait_for_task(a_wait(ingress))
        assert result_of(reply)["outcome"] == "assigned"
        assert len(line.calls) == 2
        assert ingress.n_parked == 0


async def test_a_wait_ends_when_its_time_is_up() -> None:
    async with running() as (_, ingress):
        reply = await ingress.wait_for_task(a_wait(ingress, seconds=0.02))
        assert result_of(reply)["outcome"] == "waiting"
        assert ingress.n_parked == 0


async def test_a_newer_wait_of_the_same_agent_takes_over() -> None:
    async with running() as (line, ingress):
        older = await parked(ingress, line, a_wait(ingress))
        newer = await parked(ingress, line, a_wait(ingress))
        async with asyncio.timeout(2):
            assert result_of(await older)["outcome"] == "waiting"
        assert ingress.n_parked == 1
        await ingress.submit(a_task())
        async with asyncio.timeout(2):
            assert result_of(await newer)["outcome"] == "assigned"


async def test_a_waiter_stands_again_with_a_coordinator_that_was_restarted() -> None:
    async with running() as (line, ingress):
        waiting = await parked(ingress, line, a_wait(ingress))
        line.engine.presence.withdraw(ADA)  # a new process knows of no offers
        line.cut.set()
        async with asyncio.timeout(5):
            while ADA not in line.engine.presence.offers:  # noqa: ASYNC110 - presence tells nobody
                await asyncio.sleep(0.001)
            await line.submit([a_task()], [])
            assert result_of(await waiting)["outcome"] == "assigned"


async def test_all_waits_end_with_nothing_when_the_server_stops() -> None:
    async with running() as (line, ingress):
        waiting = [await parked(ingress, line, a_wait(ingress, who)) for who in (ADA, BOB)]
        ingress.release_waiters()
        async with asyncio.timeout(2):
            replies = await asyncio.gather(*waiting)
        assert [result_of(reply)["outcome"] for reply in replies] == ["waiting"] * 2
        assert ingress.n_parked == 0


async def test_a_cancelled_wait_withdraws_its_offer() -> None:
    async with running() as (line, ingress):
        waiting = await parked(ingress, line, a_wait(ingress))
        waiting.cancel()
        async with asyncio.timeout(2):
            while line.engine.presence.offers:  # noqa: ASYNC110 - presence tells nobody
                await asyncio.sleep(0)
        assert ingress.n_parked == 0
        await ingress.submit(a_task())
        assert line.engine.world.assignments == {}


async def test_a_cancelled_wait_that_was_taken_over_withdraws_nothing() -> None:
    async with running() as (line, ingress):
        line.is_free.clear()
        older = asyncio.create_task(ingress.wait_for_task(a_wait(ingress)))
        await line.called.wait()
        newer = asyncio.create_task(ingress.wait_for_task(a_wait(ingress)))
        await asyncio.sleep(0)
        older.cancel()
        await asyncio.wait((older,))
        line.is_free.set()
        await ingress.submit(a_task())
        async with asyncio.timeout(2):
            assert result_of(await newer)["outcome"] == "assigned"


async def test_each_waiter_gets_a_task_of_its_own() -> None:
    async with running() as (line, ingress):
        waiting = [await parked(ingress, line, a_wait(ingress, who)) for who in (ADA, BOB)]
        await asyncio.gather(ingress.submit(a_task()), ingress.submit(a_task()))
        async with asyncio.timeout(2):
            replies = await asyncio.gather(*waiting)
        assert {result_of(reply)["task_id"] for reply in replies} == {"T-1", "T-2"}


# -- reading what was written ----------------------------------------------------------------------


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
    monkeypatch.setattr(ingress_module, "REACH_S", 0.01)
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
        ingress._bodies.clear()
        assert await ingress.texts([ref, "0" * 64]) == {ref: "All of it."}
        assert list(ingress._bodies) == [ref]


async def test_history_and_single_events_are_read_from_the_journal() -> None:
    async with running() as (_, ingress):
        reply = await ingress.submit(a_task())
        (event,) = await ingress.history("T-1")
        assert event.kind == "TaskCreated"
        assert await ingress.event_at(reply.position) == event
        assert await ingress.event_at(99) is None


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


# -- who, and how many -----------------------------------------------------------------------------


async def test_tokens_are_known_by_their_hash() -> None:
    async with running() as (_, ingress):
        assert ingress.authenticate(SECRET).principal == agent_principal(ADA)
        for secret in ("", "wrong", sha256(SECRET.encode()).hexdigest()):
            with pytest.raises(Unauthenticated):
                ingress.authenticate(secret)


async def test_an_agent_that_claims_in_a_loop_is_told_when_to_come_back() -> None:
    limits = Limits(claims_per_s=0.5, claims_burst=2)
    ingress = Ingress(Line(), SystemClock(), limits)
    ada = agent_principal(ADA)
    ingress.require_pace(ada, "claim")
    ingress.require_pace(ada, "claim")
    with pytest.raises(RateLimited) as refused:
        ingress.require_pace(ada, "claim")
    assert 0 < refused.value.retry_after_s <= 2
    assert ADA in refused.value.message
    ingress.require_pace(ada, "progress")  # whoever works may say so as often as need be
    ingress.require_pace(agent_principal(BOB), "claim")
    for _ in range(9):
        ingress.require_pace(Principal("person", "pat", "lead"), "claim")


async def test_strangers_are_limited_by_their_address() -> None:
    ingress = Ingress(Line(), SystemClock(), Limits(strangers_per_s=0.01, strangers_burst=1))
    ingress.refuse_stranger("192.0.2.1")
    with pytest.raises(RateLimited):
        ingress.refuse_stranger("192.0.2.1")
    ingress.refuse_stranger("192.0.2.2")


async def test_refusals_are_counted_once_when_the_append_that_notes_them_ends_in_doubt() -> None:
    async with running() as (line, ingress):
        ingress.refuse_stranger("192.0.2.1", "no token")
        line.error, line.n_cut_after = JournalUnavailable, 1
        with pytest.raises(JournalUnavailable):
            await ingress.note_access()
        ingress.refuse_stranger("192.0.2.1", "no token")
        await ingress.note_access()  # the same note once more: it was written
        await ingress.note_access()
        last = (await ingress.health()).position
        events = [await ingress.event_at(position) for position in range(1, last + 1)]
    noted = [event.data for event in events if event and isinstance(event.data, AccessRefused)]
    assert [[one.n for one in note.refusals] for note in noted] == [[1], [1]]


# -- a journal that fails --------------------------------------------------------------------------


async def test_reads_are_marked_stale_while_the_coordinator_cannot_write() -> None:
    async with running() as (line, ingress):
        marks = [ingress.is_stale]
        line.n_cut_before, line.error = 1, JournalUnavailable
        with pytest.raises(JournalUnavailable):
            await ingress.submit(a_task())
        marks.append(ingress.is_stale)
        assert (await ingress.submit(a_task())).error is None
        marks.append(ingress.is_stale)
        assert marks == [False, True, False]


async def test_trouble_is_noticed_without_a_write_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress_module, "WATCH_S", 0.001)
    async with running() as (line, ingress):
        healthy = await line.health()
        for is_writable in (False, True):
            said = msgspec.structs.replace(healthy, is_writable=is_writable)

            async def health(said: Health = said) -> Health:
                return said

            monkeypatch.setattr(line, "health", health)
            async with asyncio.timeout(5):
                while ingress.is_stale is is_writable:  # noqa: ASYNC110 - the watch tells nobody
                    await asyncio.sleep(0.001)


async def test_a_coordinator_that_is_frozen_makes_reads_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingress_module, "WATCH_S", 0.001)
    monkeypatch.setattr(ingress_module, "HEALTH_S", 0.005)
    async with running() as (line, ingress):

        async def frozen() -> Health:
            return await asyncio.Event().wait()  # type: ignore[return-value]  # it never returns

        monkeypatch.setattr(line, "health", frozen)
        async with asyncio.timeout(5):
            while not ingress.is_stale:  # noqa: ASYNC110 - the watch tells nobody
                await asyncio.sleep(0.001)


async def test_a_replica_that_cannot_go_on_is_marked_stale(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as (_, ingress):

        async def fail(feed: Feed) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(ingress, "_take", fail)
        assert (await ingress.submit(a_task())).error is None
        async with asyncio.timeout(5):
            while not ingress.is_stale:  # noqa: ASYNC110 - the follower tells nobody
                await asyncio.sleep(0.001)
    assert "the replica stops at position 4" in caplog.text


# -- handing over ----------------------------------------------------------------------------------


async def test_a_server_that_hands_over_lets_work_end_and_takes_none_on() -> None:
    async with running() as (line, ingress):
        await ingress.submit(a_task())
        given = result_of(await ingress.submit(claim()))
        waiting = await parked(ingress, line, a_wait(ingress, BOB))
        handing = asyncio.create_task(ingress.hand_over(drain_s=0.05))
        async with asyncio.timeout(2):
            assert result_of(await waiting)["outcome"] == "waiting"
        for command in (claim(), a_wait(ingress), an_agent("A-new")):
            with pytest.raises(HandingOver):
                await ingress.submit(command)
        done = await ingress.submit(complete("T-1", given["lease_token"]))
        assert done.error is None
        async with asyncio.timeout(2):
            health = await handing
        assert not health.is_writable
        assert health.position == done.position
        assert BOB not in line.engine.presence.offers
        with pytest.raises(HandingOver):
            await ingress.submit(a_task())
        saved = await line._journal.load_snapshot(snapshots.SCHEMA_VERSION)
        assert saved is not None
        assert saved.position == health.position


async def test_handing_over_waits_for_what_is_under_way() -> None:
    async with running() as (line, ingress):
        line.is_free.clear()
        writing = asyncio.create_task(ingress.submit(a_task()))
        await line.called.wait()
        handing = asyncio.create_task(ingress.hand_over(drain_s=0))
        again = asyncio.create_task(ingress.hand_over(drain_s=0))
        await asyncio.sleep(0.01)
        assert not handing.done()
        line.is_free.set()
        assert (await writing).error is None
        assert await handing == await again


async def test_a_handover_that_fails_leaves_the_server_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as (line, ingress):

        async def away() -> Health:
            raise Unavailable

        monkeypatch.setattr(line, "hand_over", away)
        with pytest.raises(Unavailable):
            await ingress.hand_over(drain_s=0)
        assert (await ingress.submit(a_task())).error is None


async def test_waits_that_began_together_end_apart() -> None:
    async with running() as (line, ingress):
        until_us = ingress.now_us() + 50_000_000
        waiting = [await parked(ingress, line, wait(who, until_us)) for who in (ADA, BOB)]
        untils = {offer.until_us for offer in line.engine.presence.offers.values()}
        assert len(untils) == 2
        assert all(until_us - 11_000_000 <= until <= until_us for until in untils)
        ingress.release_waiters()
        await asyncio.gather(*waiting)


def test_a_result_is_read_from_a_reply() -> None:
    reply: Any = Reply(request_id="r", position=1, result=msgspec.json.encode({"outcome": "none"}))
    assert result_of(reply) == {"outcome": "none"}
