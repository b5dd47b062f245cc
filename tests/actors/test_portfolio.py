"""The portfolio managers in the main host: what they propose becomes events of the journal."""

import asyncio

import ray

from pm_agent.domain.project import ProjectUpdated
from pm_agent.domain.task import CriticalPathsSet
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import unseal
from tests.actors.conftest import Product, a_project


async def test_after_an_import_critical_paths_and_the_retry_hint_are_set(product: Product) -> None:
    async with product.client() as admin:
        project_id = await a_project(admin)
        drafts = [
            {"title": "first", "key": "a", "estimate_min": 10},
            {"title": "second", "key": "b", "estimate_min": 20, "dependencies": ["a"]},
            {"title": "third", "key": "c", "estimate_min": 40, "dependencies": ["b"]},
        ]
        await admin.import_tasks(project_id, drafts)
        position = admin.position
    wanted = {CriticalPathsSet, ProjectUpdated}
    async with asyncio.timeout(30):
        async for feed in product.coordinator.follow(position):
            for event in map(unseal, feed.events):
                if getattr(event.data, "project_id", "") == project_id:
                    wanted.discard(type(event.data))
                    assert event.principal == f"system:portfolio-{project_id}"
            if not wanted:
                break
    world, _ = snapshots.load(await product.coordinator.snapshot(project_id))
    minutes = {task.title: task.critical_path_min for task in world.tasks.values()}
    assert minutes == {"first": 60, "second": 40, "third": 0}
    assert world.projects[project_id].retry_after_s == 60
    status = ray.get(product.hosts[0].ask.remote(f"portfolio:{project_id}", "status"))
    assert status["proposals"] >= 2
