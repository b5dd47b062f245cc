"""Managed workers in hosts of their own: they do tasks, and outlive what is killed under them."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray

from actors.host import HostActor, launch
from pm_agent.settings import PythonSpec, ShellSpec, WorkerSpec
from tests.actors.conftest import Json, Product, a_project, until

EXECUTOR = """
import json, pathlib, sys

task = json.loads(sys.stdin.readline())
seen = pathlib.Path(sys.argv[1]) / task["task_id"]
print(json.dumps({"type": "progress", "percent": 50, "note": "begun"}), flush=True)
if task["title"] == "slow" and not seen.exists():
    seen.touch()
    sys.stdin.read()  # until it is killed, or whoever started it is
    sys.exit(3)
print(json.dumps({"type": "result", "summary": "did " + task["title"]}))
"""


async def work(task: Json, workspace: Path, report: Any) -> str:
    await report.progress(50, "begun")
    return f"did {task['title']} in Python"


def shell_worker(tmp_path: Path, project_id: str, **more: Any) -> WorkerSpec:
    script = tmp_path / "executor.py"
    script.write_text(EXECUTOR)
    name = f"shell {uuid4().hex[:8]}"
    return WorkerSpec(
        name=name,
        executor=ShellSpec(argv=(sys.executable, str(script), str(tmp_path))),
        folder=tmp_path / name,
        project_ids=(project_id,),
        **more,
    )


@asynccontextmanager
async def hosting(product: Product, *specs: WorkerSpec) -> AsyncIterator[Any]:
    """Run workers in one more host process, beside the product's own."""
    kind: Any = ray.remote(HostActor)
    handle = kind.options(num_cpus=0, max_restarts=-1, max_concurrency=100).remote(
        product.settings.model_dump_json(), [s.model_dump_json() for s in specs], is_main=False
    )
    await handle.ready.remote()
    try:
        yield handle
    finally:
        await handle.stop.remote()
        ray.kill(handle)


async def executor_of(handle: Any) -> int:
    """Process id of a running executor in this host."""

    async def look() -> int:
        status = await handle.status.remote()
        return next((s["executor_pid"] for s in status.values() if s["executor_pid"]), 0)

    return int(await until(look))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_worker_in_a_process_of_its_own_does_a_task(
    product: Product, tmp_path: Path
) -> None:
    async with product.client() as admin:
        project_id = await a_project(admin)
        spec = WorkerSpec(
            name=f"python {uuid4().hex[:8]}",
            executor=PythonSpec(callable="tests.actors.test_workers:work"),
            folder=tmp_path,
            project_ids=(project_id,),
            isolation="process",
        )
        handles = launch(product.settings, (spec,))
        assert len(handles) == 2
        try:
            await handles[1].ready.remote()
            task_id = (await admin.create_task(project_id, title="it")).task_id

            async def submission() -> str:
                context = await admin.get_task_context(task_id, response_format="detailed")
                return context.submission if context.state == "done" else ""

            assert await until(submission) == "did it in Python"
            (status,) = (await handles[1].status.remote()).values()
            assert status["done"] == 1
            assert spec.name not in str(await handles[0].status.remote())
        finally:
            await handles[1].stop.remote()
            ray.kill(handles[1])


async def test_a_killed_executor_is_a_failed_attempt_and_a_retry_does_the_task(
    product: Product, tmp_path: Path
) -> None:
    async with product.client() as admin:
        project_id = await a_project(admin)
        specs = [shell_worker(tmp_path, project_id) for _ in range(2)]
        async with hosting(product, *specs) as handle:
            task_id = (await admin.create_task(project_id, title="slow")).task_id
            await until_begun(tmp_path / task_id)
            os.kill(await executor_of(handle), signal.SIGKILL)

            async def is_done() -> bool:
                return (await admin.get_task_context(task_id)).state == "done"

            await until(is_done)
            status = (await handle.status.remote()).values()
            assert sorted((s["done"], s["failed"]) for s in status) == [(0, 1), (1, 0)]
        context = await admin.get_task_context(task_id, response_format="detailed")
    assert context.submission == "did slow"
    assert context.attempts[0].outcome == "failed"
    assert "SIGKILL" in str(context.attempts[0])


async def test_a_worker_resumes_under_its_name_when_its_host_is_killed(
    product: Product, tmp_path: Path
) -> None:
    async with product.client() as admin:
        project_id = await a_project(admin)
        async with hosting(product, shell_worker(tmp_path, project_id)) as handle:
            task_id = (await admin.create_task(project_id, title="slow")).task_id
            await until_begun(tmp_path / task_id)
            held = (await admin.get_task_context(task_id)).assignment
            os.kill(parent_of(await executor_of(handle)), signal.SIGKILL)

            async def is_done() -> bool:
                return (await admin.get_task_context(task_id)).state == "done"

            await until(is_done)
        context = await admin.get_task_context(task_id, response_format="detailed")
    assert held is not None
    assert (context.attempt, context.submitted_by) == (1, held.agent_id)


async def until_begun(mark: Path) -> None:
    async def look() -> bool:
        return mark.exists()  # noqa: ASYNC240 - a stat of a local file

    await until(look)
