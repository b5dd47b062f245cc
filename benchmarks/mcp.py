"""`request_next_task` over MCP: the product on Ray Serve with HAProxy, beside the SDK alone.

Every call is a claim: authenticated with the agent's own token, decided, journaled, and answered
with the task's brief. The peer is `MCPServer` on uvicorn with a tool of the same name that has one
fixed answer, no authentication and no store. Compared is the CPU of what stands between the socket
and the coordinator, HAProxy and the ingress replica, with all of the peer's.

The clients are connections on raw sockets in this process; all share the machine.
"""

import asyncio
import itertools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvloop

from benchmarks.load_generator import AgentKey, Connection, request
from benchmarks.mcp_wire import ERAS, Era, Wire, call_tool
from benchmarks.population import Population, populate, refill
from benchmarks.product import HOST, MARK, cpu_s_by_process, free_port, running
from benchmarks.report import (
    Case,
    Plan,
    Report,
    add_ratio,
    middle,
    number,
    percentile,
    progress,
    rounded,
)
from benchmarks.scratch import scratch

CLIENTS = (1, 50, 200)
USED_SHARE = 0.6  # of the ready tasks, at most, in one window
TOOL = "request_next_task"
DOOR = ("haproxy", "ingress")  # processes between the socket and the coordinator
DRAIN_CLIENTS = 32
OPEN_S = 30.0  # for the peer to start
# One client claims faster than one agent may.
UNLIMITED = {"PM_AGENT_CLAIMS_PER_S": "100000"}
# The two ways through the door.
PATHS = {"default": {}, "fast": {"PM_AGENT_MCP_FAST_PATH": "1"}}


class Load(NamedTuple):
    """Who calls, and for how long."""

    port: int
    mark: str  # of the server's processes
    agents: list[AgentKey]
    era: Era
    clients: int
    seconds: float
    limit: int = 1_000_000  # calls


class Window(NamedTuple):
    """What the clients saw in one timed window, and what the processes used."""

    seconds: float
    calls_s: list[float]
    held: list[tuple[AgentKey, str, int]]
    cpu_s: Counter[str]


def run(plan: Plan, parent: Path | None = None) -> Report:
    """Run the whole benchmark."""
    report = Report(benchmark="mcp")
    with scratch(parent) as folder:
        for path, settings in PATHS.items():
            progress(f"mcp: starting pm-agent up, {path}")
            environment = UNLIMITED | settings
            with running(folder / path, no_ray=False, environment=environment) as product:
                population = uvloop.run(populate(product))
                for era, clients in itertools.product(ERAS, CLIENTS):
                    report.cases.append(_ours(plan, population, path, era, clients))
        with _plain() as (port, mark):
            for era, clients in itertools.product(ERAS, CLIENTS):
                report.peers.append(_theirs(plan, port, mark, era, clients))
    for path, era, clients in itertools.product(PATHS, ERAS, CLIENTS):
        ours = number(report.cases, f"{path}_{era}_{clients}", "door_cpu_us_per_call")
        theirs = number(report.peers, f"sdk_{era}_{clients}", "cpu_us_per_call")
        add_ratio(report, f"{path}_{era}_{clients}_door_cpu_vs_sdk", ours, theirs)
    return report


def _ours(plan: Plan, population: Population, path: str, era: Era, clients: int) -> Case:
    product = population.product
    name = f"{path}_{era}_{clients}"
    cases = []
    for turn in range(plan.runs + 1):
        progress(f"mcp: {name}, " + (f"run {turn}" if turn else "warm-up"))
        limit = int(uvloop.run(refill(population)) * USED_SHARE)
        seconds = plan.seconds if turn else plan.warm_up_s
        load = Load(product.port, product.mark, population.agents, era, clients, seconds, limit)
        window = uvloop.run(_play(load))
        uvloop.run(_drain(product.port, window.held))
        cases.append(_ours_of(window, name))
    return middle(cases[1:])


def _ours_of(window: Window, name: str) -> Case:
    n_calls = len(window.calls_s)
    per_call = {kind: cpu_s / n_calls * 1e6 for kind, cpu_s in sorted(window.cpu_s.items())}
    return {
        **_seen(window, name),
        "door_cpu_us_per_call": rounded(sum(per_call.get(kind, 0.0) for kind in DOOR)),
        **{f"{kind}_cpu_us_per_call": rounded(used) for kind, used in per_call.items()},
    }


def _theirs(plan: Plan, port: int, mark: str, era: Era, clients: int) -> Case:
    nobody = [AgentKey("A-nobody", "none")]
    name = f"sdk_{era}_{clients}"
    cases = []
    for turn in range(plan.runs + 1):
        progress(f"mcp: {name}, " + (f"run {turn}" if turn else "warm-up"))
        seconds = plan.seconds if turn else plan.warm_up_s
        window = uvloop.run(_play(Load(port, mark, nobody, era, clients, seconds)))
        used = window.cpu_s.total() / len(window.calls_s) * 1e6
        cases.append({**_seen(window, name), "cpu_us_per_call": rounded(used)})
    return middle(cases[1:])


def _seen(window: Window, name: str) -> Case:
    return {
        "case": name,
        "calls_per_s": rounded(len(window.calls_s) / window.seconds),
        "p50_ms": rounded(percentile(window.calls_s, 0.50) * 1e3),
        "p99_ms": rounded(percentile(window.calls_s, 0.99) * 1e3),
    }


async def _play(load: Load) -> Window:
    """Call the tool from so many connections until the time is up or the tasks are used."""
    calls_s: list[float] = []
    held: list[tuple[AgentKey, str, int]] = []
    ids = itertools.count()
    run_id = f"{time.time_ns():x}"
    host = f"{HOST}:{load.port}"
    wires = [await Wire.connect(HOST, load.port) for _ in range(load.clients)]
    before = cpu_s_by_process(load.mark)
    start = time.perf_counter()

    async def play(wire: Wire, agents: Iterator[AgentKey]) -> None:
        while (asked := time.perf_counter()) < start + load.seconds and (
            n := next(ids)
        ) < load.limit:
            agent = next(agents)
            fields: dict[str, Any] = {"request_id": f"{run_id}-{n}"}
            result = await wire.ask(call_tool(host, agent.token, load.era, TOOL, fields))
            calls_s.append(time.perf_counter() - asked)
            claim = result["structuredContent"]
            assert claim["outcome"] == "assigned", claim
            held.append((agent, claim["task_id"], claim["lease_token"]))

    async with asyncio.TaskGroup() as group:
        for index, wire in enumerate(wires):
            own = load.agents[index % len(load.agents) :: load.clients] or load.agents
            group.create_task(play(wire, itertools.cycle(own)))
    elapsed_s = time.perf_counter() - start
    used = cpu_s_by_process(load.mark)
    used.subtract(before)
    for wire in wires:
        wire.close()
    return Window(elapsed_s, calls_s, held, used)


async def _drain(port: int, held: list[tuple[AgentKey, str, int]]) -> None:
    """Hand in what was claimed, so that every agent can take more."""
    left = deque(held)

    async def finish() -> None:
        connection = await Connection.connect(HOST, port)
        while left:
            agent, task_id, lease_token = left.popleft()
            body = msgspec.json.encode({"lease_token": lease_token, "summary": "done"})
            path = f"/v1/tasks/{task_id}/complete"
            await connection.ask(request("POST", path, f"{HOST}:{port}", agent.token, body))
        connection.close()

    await asyncio.gather(*(finish() for _ in range(DRAIN_CLIENTS)))


@contextmanager
def _plain() -> Iterator[tuple[int, str]]:
    """Run the peer; yields its port and the mark of its process."""
    progress("mcp: starting the SDK's server")
    port, mark = free_port(), secrets.token_hex(8)
    argv = [sys.executable, "-m", "benchmarks.mcp_plain", str(port)]
    with subprocess.Popen(argv, env={**os.environ, MARK: mark}) as child:
        try:
            _wait_until_open(port, child)
            yield port, mark
        finally:
            child.terminate()


def _wait_until_open(port: int, child: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + OPEN_S
    while time.monotonic() < end and child.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port)):
            return
        time.sleep(0.05)
    raise RuntimeError("The SDK's server did not start.")
