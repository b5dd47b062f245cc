import asyncio

from pm_agent.domain.assignment import TaskAssigned
from tests.runtime.line import a_wait, parked, result_of, running
from tests.scenario import ADA, BOB, a_task, complete, wait


async def test_a_parked_waiter_is_woken_by_a_new_task_and_told_its_lease() -> None:
    async with running() as (line, ingress):
        waiting = await parked(ingress, line, a_wait(ingress))
        assert ingress.waiters.n_parked == 1
        await ingress.submit(a_task())
        async with asyncio.timeout(2):
            reply = await waiting
        told = result_of(reply)
        assert (told["outcome"], told["lease_token"]) == ("assigned", 1)
        assert ingress.waiters.n_parked == 0
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
        ingress.waiters.wake(ADA, old)  # as a replica that lags would
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await ingress.submit(a_task())
        async with asyncio.timeout(2):
            assert result_of(await waiting)["task_id"] == "T-2"


async def test_a_task_that_is_there_is_given_without_parking() -> None:
    async with running() as (line, ingress):
        await ingress.submit(a_task())
        reply = await ingress.waiters.wait_for_task(a_wait(ingress))
        assert result_of(reply)["outcome"] == "assigned"
        assert len(line.calls) == 2
        assert ingress.waiters.n_parked == 0


async def test_a_wait_ends_when_its_time_is_up() -> None:
    async with running() as (_, ingress):
        reply = await ingress.waiters.wait_for_task(a_wait(ingress, seconds=0.02))
        assert result_of(reply)["outcome"] == "waiting"
        assert ingress.waiters.n_parked == 0


async def test_a_newer_wait_of_the_same_agent_takes_over() -> None:
    async with running() as (line, ingress):
        older = await parked(ingress, line, a_wait(ingress))
        newer = await parked(ingress, line, a_wait(ingress))
        async with asyncio.timeout(2):
            assert result_of(await older)["outcome"] == "waiting"
        assert ingress.waiters.n_parked == 1
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
        assert ingress.waiters.n_parked == 0


async def test_a_cancelled_wait_withdraws_its_offer() -> None:
    async with running() as (line, ingress):
        waiting = await parked(ingress, line, a_wait(ingress))
        waiting.cancel()
        async with asyncio.timeout(2):
            while line.engine.presence.offers:  # noqa: ASYNC110 - presence tells nobody
                await asyncio.sleep(0)
        assert ingress.waiters.n_parked == 0
        await ingress.submit(a_task())
        assert line.engine.world.assignments == {}


async def test_a_cancelled_wait_that_was_taken_over_withdraws_nothing() -> None:
    async with running() as (line, ingress):
        line.is_free.clear()
        older = asyncio.create_task(ingress.waiters.wait_for_task(a_wait(ingress)))
        await line.called.wait()
        newer = asyncio.create_task(ingress.waiters.wait_for_task(a_wait(ingress)))
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


async def test_waits_that_began_together_end_apart() -> None:
    async with running() as (line, ingress):
        until_us = ingress.now_us() + 50_000_000
        waiting = [await parked(ingress, line, wait(who, until_us)) for who in (ADA, BOB)]
        untils = {offer.until_us for offer in line.engine.presence.offers.values()}
        assert len(untils) == 2
        assert all(until_us - 11_000_000 <= until <= until_us for until in untils)
        ingress.release_waiters()
        await asyncio.gather(*waiting)
