import asyncio

import pytest

from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import JournalUnavailable, Unavailable
from pm_agent.runtime import batcher as batcher_module
from tests.runtime.line import result_of, running
from tests.scenario import ADA, a_task, agent_principal, claim


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
