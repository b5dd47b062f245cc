"""Drives a live server with simulated agents over HTTP or MCP, faster than real time.

Tasks come as a Poisson process, agents wait by long polls, work for as long as the fitted model
says, divided by the speed, and hand in. The assignment latency runs from the moment a task was
acknowledged, or an agent asked if that was later, to the moment the agent has it. Beside it stands
what the simulator says of the same load.

Speaks through `pm_agent.client`, or MCP's own client, to a server that runs or to a `pm-agent up`
of its own.
"""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal, NamedTuple

import httpx
import msgspec
import numpy as np

from pm_agent.api.handlers.assignments import ClaimAnswer
from pm_agent.client import ApiError, AsyncClient
from simulation.behaviour import AGENTS, duration_s
from simulation.experiment import run as simulate
from simulation.metrics import Spread, spread
from simulation.scenario import Scenario

if TYPE_CHECKING:
    from simulation.load_mcp import McpClient

MODEL = "o1"
HUMAN_MIN = 30.0
DAY_S = 86_400
READY_S, STOP_S = 120.0, 40.0
SETUP_AT_ONCE = 32
PATIENCE_S = 5.0  # of who makes tasks: a server that is not there should be told of soon
LONGEST_POLL_S = 50
FIRST_S, FIRST_EACH_S = 0.5, 0.005  # until all agents wait: before that it is their start we see
LATE_EVERY_S = 0.05  # between looks at how late this process itself is
LAST_S = 5.0  # for what is under way, after the last task


Protocol = Literal["http", "mcp"]


class LoadError(RuntimeError):
    """The load could not be run; the message says why."""


class Plan(NamedTuple):
    """How much load, and how long."""

    tasks_per_day: float
    speed: float
    agents: int
    minutes: float
    seed: int
    over: Protocol = "http"  # how agents speak; tasks are always made over HTTP

    @property
    def rate_per_s(self) -> float:
        """Tasks a second of real time."""
        return self.tasks_per_day * self.speed / DAY_S


class Found(msgspec.Struct):
    """What was measured.

    Attributes
    ----------
    errors : int
        Requests that were refused or not answered.
    client_late_ms
        By how much this process, which plays all agents, was late itself: with it the latencies
        of a machine that is too small for both ends grow.
    doubles : int
        Tasks that a second agent was given, or an agent twice under different lease tokens.
    """

    over: Protocol
    tasks_per_day: float
    speed: float
    agents: int
    minutes: float
    seed: int
    created: int
    assigned: int
    done: int
    done_per_min: float
    assignment_ms: Spread
    errors: int
    error_codes: dict[str, int]
    doubles: int
    simulated_per_min: float
    simulated_wait_ms: float
    client_late_ms: Spread
    is_partial: bool = False  # Ctrl-C came before the end


def run(
    plan: Plan,
    *,
    url: str = "",
    token: str = "",
    no_ray: bool = False,
    on_second: Callable[[float], None] = lambda _: None,
) -> Found:
    """Load a server and measure.

    Raises
    ------
    LoadError
        There is no server, or it cannot be started.
    """
    if url:
        return asyncio.run(_Load(plan, url, token, on_second).run())
    with child(no_ray=no_ray) as (address, secret):
        return asyncio.run(_Load(plan, address, secret, on_second).run())


class _Load:
    def __init__(
        self, plan: Plan, url: str, token: str, on_second: Callable[[float], None]
    ) -> None:
        self._plan, self._url, self._on_second = plan, url, on_second
        # Each agent has connections of its own: a pool looks at all it has for every request. What
        # they trust is loaded once, since that takes 40 ms.
        self._trust = httpx.create_ssl_context()
        self._admin = AsyncClient(
            url, token, patience_s=PATIENCE_S, transport=self._new_transport()
        )
        self._random = Random(plan.seed)
        self._created_s: dict[str, float] = {}
        self._holders: dict[str, tuple[str, int]] = {}
        self._early: dict[str, tuple[float, float]] = {}  # assigned before it was acknowledged
        self._latencies_ms: list[float] = []
        self._late_ms: list[float] = []
        self._codes = Counter[str]()
        self._doubles = 0
        self._done = 0
        self._end_s = 0.0
        self._is_partial = False

    async def run(self) -> Found:
        async with self._admin:
            try:
                project_id, agents = await self._set_up()
            except ApiError as error:
                message = f"The server at {self._url} cannot be used: {error}"
                raise LoadError(message) from error
            lives = [asyncio.create_task(self._live(one)) for one in agents]
            await asyncio.sleep(FIRST_S + len(agents) * FIRST_EACH_S)
            began_s = time.monotonic()
            self._end_s = began_s + self._plan.minutes * 60
            watch = asyncio.create_task(self._tell(began_s))
            late = asyncio.create_task(self._look_at_itself())
            try:
                await self._create(project_id)
            except asyncio.CancelledError:  # Ctrl-C: what was measured up to now is told
                self._is_partial = True
            took_s = time.monotonic() - began_s
            done = self._done
            await asyncio.sleep(LAST_S)
            for task in (watch, late, *lives):
                task.cancel()
            await asyncio.gather(watch, late, *lives, return_exceptions=True)
        return self._found(took_s, done)

    def _new_transport(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self._trust)

    async def _set_up(self) -> tuple[str, list[tuple[str, str]]]:
        """Make a project of this run, and agents that belong to it."""
        name = f"load {secrets.token_hex(4)}"
        project_id = (await self._admin.create_project(name)).project_id
        turns = asyncio.Semaphore(SETUP_AT_ONCE)

        async def register(number: int) -> tuple[str, str]:
            async with turns:
                made = await self._admin.register_agent(
                    f"{name} {number}", project_ids=[project_id]
                )
            return made.agent_id, made.access_token

        return project_id, list(
            await asyncio.gather(*(register(n) for n in range(self._plan.agents)))
        )

    async def _create(self, project_id: str) -> None:
        """Open loop: a slow server does not slow the arrivals."""
        under_way: set[asyncio.Task[None]] = set()
        at_s = time.monotonic()
        number = 0
        while True:
            at_s += self._random.expovariate(self._plan.rate_per_s)
            if at_s >= self._end_s:
                await asyncio.sleep(max(0.0, self._end_s - time.monotonic()))
                break
            await asyncio.sleep(max(0.0, at_s - time.monotonic()))
            number += 1
            one = asyncio.create_task(self._create_one(project_id, f"Task {number}"))
            under_way.add(one)
            one.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way, timeout=LAST_S)

    async def _create_one(self, project_id: str, title: str) -> None:
        try:
            made = await self._admin.create_task(project_id, title=title, estimate_min=30)
        except ApiError as error:
            self._codes[error.code] += 1
            return
        task_id, now_s = made.task_id, time.monotonic()
        self._created_s[task_id] = now_s
        if task_id in self._early:
            got_s, asked_s = self._early.pop(task_id)
            self._measure(got_s, max(asked_s, min(now_s, got_s)))

    async def _live(self, agent: tuple[str, str]) -> None:
        agent_id, token = agent
        random = Random(f"{self._plan.seed} {agent_id[-6:]}")
        async with self._client_of(token) as client:
            await self._work(agent_id, client, random)

    def _client_of(self, token: str) -> "AsyncClient | McpClient":
        if self._plan.over == "http":
            return AsyncClient(self._url, token, transport=self._new_transport())
        from simulation.load_mcp import McpClient  # noqa: PLC0415 - the SDK takes a second to load

        return McpClient(self._url, token, self._trust)

    async def _work(self, agent_id: str, client: "AsyncClient | McpClient", random: Random) -> None:
        # Agents that have been here for long do not ask again all at once, as those would that came
        # together a moment ago.
        poll_s = random.randint(1, LONGEST_POLL_S)
        while True:
            asked_s = time.monotonic()
            try:
                given = await client.wait_for_task(agent_id, timeout_s=poll_s)
                poll_s = LONGEST_POLL_S
                if given.outcome != "assigned":
                    continue
                self._note(agent_id, given, asked_s)
                await asyncio.sleep(self._work_s(random))
                await client.complete_task(
                    given.task_id, lease_token=given.lease_token, summary="done"
                )
                self._done += 1
            except ApiError as error:
                self._codes[error.code] += 1
                await asyncio.sleep(1.0)

    def _note(self, agent_id: str, given: ClaimAnswer, asked_s: float) -> None:
        task_id, got_s = given.task_id, time.monotonic()
        if task_id in self._holders:
            self._doubles += 1
        self._holders[task_id] = agent_id, given.lease_token
        created_s = self._created_s.get(task_id)
        if created_s is None:
            self._early[task_id] = got_s, asked_s
        else:
            self._measure(got_s, max(created_s, asked_s))

    def _measure(self, got_s: float, from_s: float) -> None:
        self._latencies_ms.append(1000 * max(0.0, got_s - from_s))

    def _work_s(self, random: Random) -> float:
        seconds = duration_s(AGENTS[MODEL].pace, HUMAN_MIN, random.random())
        return seconds / self._plan.speed

    async def _look_at_itself(self) -> None:
        while True:
            due_s = time.monotonic() + LATE_EVERY_S
            await asyncio.sleep(LATE_EVERY_S)
            self._late_ms.append(1000 * (time.monotonic() - due_s))

    async def _tell(self, began_s: float) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._on_second((time.monotonic() - began_s) / (self._plan.minutes * 60))

    def _found(self, took_s: float, done: int) -> Found:
        plan = self._plan._replace(minutes=took_s / 60)
        simulated = simulate(_scenario(plan), plan.seed).figures
        return Found(
            over=plan.over,
            tasks_per_day=plan.tasks_per_day,
            speed=plan.speed,
            agents=plan.agents,
            minutes=plan.minutes,
            seed=plan.seed,
            created=len(self._created_s),
            assigned=len(self._holders),
            done=done,
            done_per_min=60 * done / took_s,
            assignment_ms=spread(np.array(self._latencies_ms)),
            errors=self._codes.total(),
            error_codes=dict(self._codes),
            doubles=self._doubles,
            simulated_per_min=simulated.tasks_done / plan.minutes,
            simulated_wait_ms=1000 * simulated.wait_s.mean / plan.speed,
            client_late_ms=spread(np.array(self._late_ms)),
            is_partial=self._is_partial,
        )


def _scenario(plan: Plan) -> Scenario:
    """The same load, for the simulator."""
    return Scenario.of(
        {
            "name": "load",
            "horizon_h": plan.minutes * plan.speed / 60,
            "load": {"tasks_per_day": plan.tasks_per_day},
            "tasks": {"human_min": HUMAN_MIN, "spread": 0},
            "projects": [{"name": "load", "completion": "auto"}],
            "team": [{"name": "load", "count": plan.agents, "model": MODEL}],
            "behaviour": {"success": 1, "report_every_min": 10_000},
        }
    )


# -- a server of its own -----------------------------------------------------------------------


@contextmanager
def child(*, no_ray: bool = False) -> Iterator[tuple[str, str]]:
    """Run ``pm-agent up`` with data of its own; yield its address and an administrator's token.

    Raises
    ------
    LoadError
        It ended, or was not ready in time.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="pm-agent-load-") as folder:
        argv = [str(Path(sys.executable).with_name("pm-agent")), "up"]
        argv += ["--port", str(port), "--data", folder, *(["--no-ray"] if no_ray else [])]
        log = Path(folder) / "output.log"
        environment = {**os.environ, "PM_AGENT_DATABASE_URL": ""}
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(process, url, log)
            yield url, (Path(folder) / "admin.token").read_text().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/readyz", timeout=2.0).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise LoadError(f"pm-agent up did not become ready:\n{log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
