"""``pm-agent up``: start the server, embedded Ray included, and run until told to stop."""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import uvicorn

from pm_agent.bootstrap import (
    admit_admin,
    build_coordinator,
    build_effect_runner,
    build_ingress,
    ensure_admin_secret,
    journal_place,
)
from pm_agent.cli.console import DataOption, out, refusals, settings_with
from pm_agent.domain.errors import PortInUse, RayNotAvailable, StartError
from pm_agent.runtime.ingress import Ingress
from pm_agent.settings import Settings, WorkerSpec, load_workers

STOP_S = 10.0
CRASHED = 70  # exit code of an internal error, as in sysexits.h


def up(
    data: DataOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of HTTP and MCP.")] = None,
    workers: Annotated[Path | None, typer.Option(help="TOML file of managed workers.")] = None,
    scorer: Annotated[str | None, typer.Option(help="factors, priority or learned.")] = None,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="One process, without Ray.")] = False,
) -> None:
    """Start PM Agent and serve until Ctrl-C."""
    settings = settings_with(data=data, host=host, port=port, workers=workers, scorer=scorer)
    with refusals():
        require_tls_files(settings)
        is_first = not settings.admin_token_path.exists()
        if no_ray:
            asyncio.run(_run_bare(settings, is_first=is_first))
        else:
            with running_on_ray(settings):
                how = "Ray Serve with HAProxy" if settings.haproxy else "Ray Serve"
                _announce(settings, how, is_first=is_first)
                _wait_for_signal()
            out.print("stopped")


@contextmanager
def running_on_ray(settings: Settings) -> Iterator[list[Any]]:
    """Run the whole product on Ray inside the block; yields the handles of the hosts."""
    specs = load_workers(settings.workers) if settings.workers else ()
    require_free_port(settings)
    settings = settings.model_copy(update={"data": settings.data.resolve()})
    ensure_admin_secret(settings)
    from actors import cluster

    cluster.start(settings)
    try:
        yield _deploy(settings, specs)
    finally:
        # Ctrl-C reaches Ray's own processes too, so an orderly end may find nobody to talk to.
        undeploying = threading.Thread(target=_undeploy, args=(settings, specs), daemon=True)
        undeploying.start()
        undeploying.join(STOP_S)
        leaving = threading.Thread(target=cluster.stop, daemon=True)
        leaving.start()
        leaving.join(STOP_S)
        cluster.end_leftovers()


def require_tls_files(settings: Settings) -> None:
    """Refuse early and clearly when certificate or key cannot be read."""
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None and not os.access(path, os.R_OK):
            message = f"The TLS file {path} cannot be read."
            raise StartError(message, "Correct PM_AGENT_TLS_CERT and PM_AGENT_TLS_KEY.")
    if settings.tls_key is not None and settings.tls_cert is None:
        message = "There is a TLS key without a certificate."
        raise StartError(message, "Set PM_AGENT_TLS_CERT too.")


def require_free_port(settings: Settings) -> None:
    """Refuse early and clearly when the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            message = f"Port {settings.port} on {settings.host} cannot be used: {error.strerror}."
            raise PortInUse(message) from error


def _deploy(settings: Settings, specs: tuple[WorkerSpec, ...]) -> list[Any]:
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    import serve_app
    from actors import coordinator, host
    from actors.wire import cause_of

    handle = coordinator.launch(settings)
    try:
        ray.get(handle.ready.remote())
    except ray.exceptions.RayTaskError as error:
        raise cause_of(error) from error
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    options = HTTPOptions(host=settings.host, port=settings.port, **_tls_of_serve(settings))
    serve.start(http_options=options, logging_config=quiet)
    serve.run(
        serve_app.application(settings),
        name="pm-agent",
        route_prefix="/",
        logging_config=quiet,
    )
    _require_served(settings)
    handles = host.launch(settings, specs)
    ray.get([h.ready.remote() for h in handles])
    if settings.learn_every_h:
        from actors import learner

        learner.launch(settings)
    return handles


def _tls_of_serve(settings: Settings) -> dict[str, Any]:
    """TLS of Serve's own proxy; HAProxy has its own (`actors.exposure`)."""
    if settings.haproxy or settings.tls_cert is None:
        return {}
    key = settings.tls_key or settings.tls_cert
    return {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(key)}


def _require_served(settings: Settings) -> None:
    """Refuse to go on when a Serve that was there before us listens somewhere else."""
    give_up_at = time.monotonic() + STOP_S
    while True:
        with suppress(OSError), socket.create_connection((settings.host, settings.port), 1):
            return
        if time.monotonic() > give_up_at:
            message = (
                f"Nothing listens on {settings.host}:{settings.port}. Ray Serve ran on this "
                "cluster already and keeps the address it was started with."
            )
            raise RayNotAvailable(
                message, "Give 'pm-agent up' that address, or end that Serve with 'serve shutdown'."
            )
        time.sleep(0.1)


def _undeploy(settings: Settings, specs: tuple[WorkerSpec, ...]) -> None:
    """Stop what runs of ours. An embedded Ray ends as a whole after that, and faster."""
    import ray
    from ray import serve
    from ray.serve.exceptions import RayServeException

    from actors import coordinator, host, learner

    is_joined = settings.ray_address != "local"
    hosts = host.running(settings, specs)
    _stop(hosts)
    if is_joined:
        with suppress(RayServeException):  # it was not up yet
            serve.delete("pm-agent")
            if not serve.status().applications:
                serve.shutdown()  # type: ignore[no-untyped-call]  # Ray says nothing of it
    learners, writers = learner.running(settings), coordinator.running(settings)
    _stop([*learners, *writers])
    if is_joined:
        for actor in (*hosts, *learners, *writers):  # else who comes next finds these, long over
            ray.kill(actor, no_restart=True)


def _stop(actors: list[Any]) -> None:
    import ray

    if actors:
        ray.wait([a.stop.remote() for a in actors], num_returns=len(actors), timeout=STOP_S)


class _Server(uvicorn.Server):
    """Ends parked requests when told to stop, instead of waiting for them."""

    def __init__(self, config: uvicorn.Config, ingress: Ingress) -> None:
        super().__init__(config)
        self._ingress = ingress
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._ingress.release_waiters)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Keep signals from others: passed on, they would end the process with the journal open."""
        before = {n: signal.signal(n, self.handle_exit) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def _run_bare(settings: Settings, *, is_first: bool) -> None:
    require_free_port(settings)
    async with running_bare(settings) as (app, ingress):
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=2,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        _announce(settings, "one process, without Ray", is_first=is_first)
        await _Server(config, ingress).serve()
    out.print("stopped")


@asynccontextmanager
async def running_bare(settings: Settings) -> AsyncIterator[tuple[Any, Ingress]]:
    """Run the same objects in this process; yields the ASGI app and its ingress."""
    from actors import lessons
    from actors.portfolio import PortfolioManager
    from actors.scorers import CurrentScorer
    from actors.worker import WorkerAgent
    from pm_agent.api.http import build_app  # 20 MiB, which no other command needs
    from pm_agent.runtime.host import Host

    specs = load_workers(settings.workers) if settings.workers else ()
    secret = ensure_admin_secret(settings)
    # As the actor does: memory that cannot be trusted must not go on serving.
    scorer = CurrentScorer(settings)
    coordinator = build_coordinator(settings, on_crash=lambda: os._exit(CRASHED), scorer=scorer)
    await coordinator.start()
    beside = [asyncio.create_task(scorer.follow())]
    if settings.learn_every_h:
        lesson = partial(lessons.in_a_child, settings)
        beside.append(asyncio.create_task(lessons.every(settings.learn_every_h, lesson)))
    await admit_admin(coordinator, secret)
    host = Host(
        coordinator,
        build_effect_runner(coordinator, settings),
        partial(PortfolioManager, coordinator),
    )
    await host.start()
    for spec in specs:
        host.mailboxes.activate(
            f"worker:{spec.name}",
            partial(WorkerAgent, coordinator, settings.url, spec),
        )
    try:
        ingress = build_ingress(coordinator, settings)
        app = build_app(
            ingress,
            allowed_hosts=settings.allowed_hosts,
            mcp_fast_path=settings.mcp_fast_path,
            require_if_match=settings.require_if_match,
        )
        yield app, ingress
    finally:
        for task in beside:
            task.cancel()
        await host.stop()
        await coordinator.stop()


def _announce(settings: Settings, how: str, *, is_first: bool) -> None:
    out.print(f"[bold green]PM Agent is up[/] ({how})")
    out.print(f"  HTTP     {settings.url}/v1   docs at {settings.url}/docs")
    out.print(f"  MCP      {settings.url}/mcp")
    out.print(f"  journal  {journal_place(settings)}")
    out.print(f"  token    {settings.admin_token_path} (administrator)")
    if is_first:
        secret = settings.admin_token_path.read_text().strip()
        out.print(f"           {secret}", highlight=False, soft_wrap=True)
        out.print("           It is shown this once, and lies in that file for commands here.")
    out.print("  agents   pm-agent token NAME makes a token and shows how to connect")


def _wait_for_signal() -> None:
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: told.append(n))
    while not told:
        time.sleep(0.2)
