import asyncio
from hashlib import sha256

import msgspec
import pytest

from pm_agent.domain.errors import HandingOver, JournalUnavailable, Unauthenticated, Unavailable
from pm_agent.kernel import snapshot as snapshots
from pm_agent.runtime import ingress as ingress_module
from pm_agent.runtime.backend import Health
from tests.runtime.line import SECRET, a_wait, parked, result_of, running
from tests.scenario import ADA, BOB, a_task, agent_principal, an_agent, claim, complete


async def test_tokens_are_known_by_their_hash() -> None:
    async with running() as (_, ingress):
        assert ingress.authenticate(SECRET).principal == agent_principal(ADA)
        for secret in ("", "wrong", sha256(SECRET.encode()).hexdigest()):
            with pytest.raises(Unauthenticated):
                ingress.authenticate(secret)


async def test_history_and_single_events_are_read_from_the_journal() -> None:
    async with running() as (_, ingress):
        reply = await ingress.submit(a_task())
        (event,) = await ingress.history("T-1")
        assert event.kind == "TaskCreated"
        assert await ingress.event_at(reply.position) == event
        assert await ingress.event_at(99) is None


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
