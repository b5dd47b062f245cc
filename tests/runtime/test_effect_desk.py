import asyncio

from pm_agent.adapters.journal_memory import Store
from pm_agent.ports import InstructionBrief
from pm_agent.runtime import effect_desk
from tests.runtime.coordinator import Disk, SettableClock, accepted, running
from tests.scenario import a_project, a_task, an_agent, claim, complete


async def test_an_effect_is_handed_out_again_after_its_lease_until_it_is_answered() -> None:
    clock = SettableClock()
    async with running(clock=clock) as loop:
        await accepted(loop, a_project(), an_agent(), a_task(description="Words."), claim())
        (job,) = await loop.take_effects(0)
        assert isinstance(job.brief, InstructionBrief)
        assert job.brief.description == "Words."
        assert await loop.take_effects(0) == []
        clock.us += effect_desk.EFFECT_LEASE_US
        assert await loop.take_effects(0) == [job]
        await accepted(loop, complete("T-1", 1))
        clock.us += effect_desk.EFFECT_LEASE_US
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
