"""A host process: portfolio managers, workers and the effect runner as virtual actors in it.

A Ray process an agent would cost 56 MiB and half a percent of a core when idle; objects in one host
cost next to nothing. ``isolation="process"`` gives a worker a host of its own.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import ray

from actors.cluster import NAMESPACE
from actors.coordinator import RemoteCoordinator
from actors.portfolio import PortfolioManager
from actors.watch import CoordinatorWatch
from actors.worker import WorkerAgent
from pm_agent.bootstrap import build_effect_runner
from pm_agent.runtime.host import Host
from pm_agent.settings import Settings, WorkerSpec

MAX_CONCURRENCY = 100


class HostActor:
    """A shell around `Host`. A restart starts its parts and workers again, and they resume."""

    def __init__(self, settings_json: str, workers_json: list[str], *, is_main: bool) -> None:
        self._settings = Settings.model_validate_json(settings_json)
        self._workers = [WorkerSpec.model_validate_json(spec) for spec in workers_json]
        self._is_main = is_main
        self._host: Host | None = None
        self._watch = CoordinatorWatch(self._settings) if is_main else None
        self._starting = asyncio.Lock()
        # After a restart nobody calls: it must begin by itself.
        self._beginning = asyncio.get_running_loop().create_task(self._started())

    async def ready(self) -> None:
        await self._started()

    async def status(self) -> dict[str, Any]:
        return await (await self._started()).status()

    async def ask(self, actor_id: str, message: str) -> Any:
        return await (await self._started()).mailboxes.ask(actor_id, message)

    async def stop(self) -> None:
        if self._watch is not None:
            await self._watch.stop()
        if self._host is not None:
            await self._host.stop()

    async def _started(self) -> Host:
        async with self._starting:
            if self._host is None:
                self._host = await self._start()
        return self._host

    async def _start(self) -> Host:
        if self._watch is not None:
            self._watch.start()
        coordinator = RemoteCoordinator(self._settings.workspace)
        host = Host(
            coordinator,
            build_effect_runner(coordinator, self._settings) if self._is_main else None,
            partial(PortfolioManager, coordinator) if self._is_main else None,
        )
        await host.start()
        for spec in self._workers:
            host.mailboxes.activate(
                f"worker:{spec.name}",
                partial(WorkerAgent, coordinator, self._settings.url, spec),
            )
        return host


def launch(settings: Settings, workers: tuple[WorkerSpec, ...]) -> list[Any]:
    """Create the main host, and one more for every worker that wants a process of its own."""
    main = _main_name(settings)
    return [
        _create(settings, name, specs, is_main=name == main)
        for name, specs in _by_host(settings, workers).items()
    ]


def running(settings: Settings, workers: tuple[WorkerSpec, ...]) -> list[Any]:
    """Handles of those hosts that there are."""
    found = []
    for name in _by_host(settings, workers):
        with suppress(ValueError):
            found.append(ray.get_actor(name, namespace=NAMESPACE))
    return found


def _by_host(settings: Settings, workers: tuple[WorkerSpec, ...]) -> dict[str, list[WorkerSpec]]:
    """Workers by the name of the host that runs them."""
    main = _main_name(settings)
    own = {f"{main}:{spec.name}": [spec] for spec in workers if spec.isolation == "process"}
    return {main: [spec for spec in workers if spec.isolation == "host"], **own}


def _main_name(settings: Settings) -> str:
    return f"host:{settings.workspace}"


def _create(settings: Settings, name: str, specs: list[WorkerSpec], *, is_main: bool) -> Any:
    remote: Any = ray.remote(HostActor)
    return remote.options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=MAX_CONCURRENCY,
        num_cpus=0,
    ).remote(
        settings.model_dump_json(), [spec.model_dump_json() for spec in specs], is_main=is_main
    )
