"""The whole product over real HTTP, through HAProxy: what an agent sees from its first call on."""

import asyncio
from typing import Any

from tests.actors.conftest import Product, a_project, an_agent, until


async def test_an_agent_is_woken_by_a_new_task_and_takes_it_to_done(product: Product) -> None:
    async with product.client() as admin:
        project_id = await a_project(admin)
        agent_id, token = await an_agent(admin, project_id)
        async with product.client(token) as agent:
            waiting = asyncio.create_task(agent.wait_for_task(agent_id, timeout_s=40))

            async def is_parked() -> bool:
                return bool((await admin.get_status()).parked)

            await until(is_parked)
            made = await admin.create_task(project_id, title="Build it", description="All of it.")
            claimed = await waiting
            assert (claimed.outcome, claimed.task_id) == ("assigned", made.task_id)
            lease: dict[str, Any] = {"lease_token": claimed.lease_token}
            task_id = claimed.task_id
            await agent.report_task_progress(task_id, percent=40, note="half", **lease)

            async def written() -> str:
                context = await agent.get_task_context(task_id, response_format="detailed")
                return context.instructions

            assert "Build it" in await until(written)
            done = await agent.complete_task(task_id, summary="built", **lease)
            assert done.state == "done"
            context = await agent.get_task_context(task_id, response_format="detailed")
            assert (context.state, context.submission) == ("done", "built")
