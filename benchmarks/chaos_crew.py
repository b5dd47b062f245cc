"""Who takes part in a chaos run: agents of two projects, a planner, and their processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import uuid4

import msgspec

from benchmarks.backlog import covering_skills, drafts, on_the_wire
from benchmarks.chaos_clients import ClientPlan
from benchmarks.load_generator import AgentKey
from benchmarks.population import Administrator
from benchmarks.product import Product
from benchmarks.report import progress

AGENTS_A_PROCESS = 10
WAITERS_A_PROCESS = 2  # of them wait for a task instead of asking for one
COMMANDS_A_LIFECYCLE = 2.5
IMPORT_EVERY_S = 5.0
DRAIN_S = 30.0


class ChaosPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to do.

    Attributes
    ----------
    minutes
        Length of the load, start-up apart.
    agents, rate_per_s
        Agents, and commands a second of all of them together.
    open_tasks
        Size of the backlog, which is topped up.
    """

    minutes: float = 3.0
    seed: int = 1
    agents: int = 50
    rate_per_s: float = 20.0
    open_tasks: int = 10_000
    kinds: tuple[str, ...] = ()  # all that are possible, if none is named


class Cast(NamedTuple):
    """Those who were enrolled for a run."""

    workers: list[AgentKey]
    waiters: list[AgentKey]
    planner: AgentKey
    workers_project: str
    waiters_project: str


async def enrol(port: int, token: str, plan: ChaosPlan) -> Cast:
    """Make two projects, a backlog and all agents, with an administrator's token."""
    progress(f"chaos: {plan.agents} agents, {plan.open_tasks:,} tasks")
    run_id = uuid4().hex[:8]
    n_waiters = plan.agents * WAITERS_A_PROCESS // AGENTS_A_PROCESS
    async with Administrator(Product("127.0.0.1", port, token)) as administrator:

        async def project(name: str) -> str:
            fields = {"name": f"{name} {run_id}"}
            return str((await administrator.ask("POST", "/v1/projects", fields))["project_id"])

        async def agent(index: int, project_id: str) -> AgentKey:
            skills = msgspec.to_builtins(covering_skills(index, Random(index)))
            fields = {
                "name": f"a{index} {run_id}",
                "project_ids": [project_id],
                "skills": skills,
                "sends_heartbeats": True,  # any request of theirs is one
            }
            made = await administrator.ask("POST", "/v1/agents", fields)
            return AgentKey(made["agent_id"], made["access_token"])

        workers_project, waiters_project = await project("Chaos"), await project("Chaos waiting")
        workers = [await agent(i, workers_project) for i in range(plan.agents - n_waiters)]
        waiters = [
            await agent(i, waiters_project) for i in range(plan.agents - n_waiters, plan.agents)
        ]
        made = [on_the_wire(draft) for draft in drafts(plan.open_tasks, Random(plan.seed))]
        path = f"/v1/projects/{workers_project}/import"
        await administrator.ask("POST", path, {"tasks": made})
    planner = AgentKey("admin", token)
    return Cast(workers, waiters, planner, workers_project, waiters_project)


def client_plans(
    cast: Cast, plan: ChaosPlan, port: int, histories: Path, *, repeats: bool = True
) -> list[ClientPlan]:
    """Spread agents over processes; the planner, who must not die, has one of its own."""
    n_processes = -(-plan.agents // AGENTS_A_PROCESS)
    every_s = plan.agents / plan.rate_per_s

    def one(number: int, **who: object) -> ClientPlan:
        return ClientPlan(
            host="127.0.0.1",
            port=port,
            history=str(histories / f"{number}.jsonl"),
            every_s=every_s,
            seed=plan.seed + number,
            repeats=repeats,
            waiters_project=cast.waiters_project,
            workers_project=cast.workers_project,
            **who,  # type: ignore[arg-type]  # the callers below name its fields
        )

    plans = [
        one(n, workers=cast.workers[n::n_processes], waiters=cast.waiters[n::n_processes])
        for n in range(n_processes)
    ]
    used_per_s = plan.rate_per_s / COMMANDS_A_LIFECYCLE
    size = round(used_per_s * IMPORT_EVERY_S)
    return [*plans, one(n_processes, planner=cast.planner, import_size=size)]


class ClientProcesses:
    """The processes of all clients; the last is the planner's, which faults leave alone."""

    def __init__(self, plans: list[ClientPlan], folder: Path) -> None:
        self._plans = plans
        self._folder = folder
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._away: set[int] = set()
        self.complaints: list[str] = []

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let them work inside the block, and hand in what they hold at its end."""
        try:
            for number in range(len(self._plans)):
                self.start(number)
            yield
            for child in self._children.values():
                child.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._wait)
        finally:
            for child in self._children.values():
                if child.poll() is None:
                    child.kill()
                    child.wait()

    def _wait(self) -> None:
        end_s = time.monotonic() + DRAIN_S
        for number, child in self._children.items():
            try:
                code = child.wait(max(0.1, end_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.complaints.append(f"clients {number} did not come to an end")
            else:
                if code:
                    self.complaints.append(f"clients {number} ended with {code}")

    def start(self, number: int) -> None:
        path = self._folder / f"clients-{number}.json"
        path.write_bytes(msgspec.json.encode(self._plans[number]))
        before = self._children.get(number)
        if before is not None:
            before.wait()
        argv = [sys.executable, "-m", "benchmarks.chaos_clients", str(path)]
        with (self._folder / f"clients-{number}.log").open("ab") as log:
            self._children[number] = subprocess.Popen(argv, stderr=log)

    def pick(self, random: Random) -> int | None:
        well = [number for number in range(len(self._plans) - 1) if number not in self._away]
        if not well:
            return None
        picked = random.choice(well)
        self._away.add(picked)
        return picked

    def send(self, number: int, what: signal.Signals) -> None:
        os.kill(self._children[number].pid, what)

    def release(self, number: int) -> None:
        self._away.discard(number)
