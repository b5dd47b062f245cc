"""The project, agents and backlog that a benchmark puts into a running server."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple, Self
from uuid import uuid4

import msgspec

from benchmarks.backlog import READY_SHARE, covering_skills, drafts, on_the_wire
from benchmarks.load_generator import AgentKey, Connection, Reply, request
from benchmarks.product import Product
from benchmarks.report import progress

BACKLOG = 10_000
N_AGENTS = 200
CAPACITY = 100  # the most that the API allows
N_PARKED = 1_000
SETUP_CLIENTS = 16
ACCEPTED = range(200, 300)
PAUSES_S = (0.2, 1.0, 2.0)  # between tries over a cut connection


class Population(NamedTuple):
    """A server with a project and agents made for this run."""

    product: Product
    project_id: str
    agents: list[AgentKey]
    parked: list[AgentKey]  # who wait in a project that has no tasks
    imports: Iterator[int]


class Administrator:
    """Requests of the set-up, over a few connections."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._turns = asyncio.Semaphore(SETUP_CLIENTS)
        self._free: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._free:
            connection.close()

    async def ask(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Any:
        """Return the answer; a cut connection is replaced, and the same request sent again.

        Raises
        ------
        RuntimeError
            The server refused.
        """
        host, port = self._product.host, self._product.port
        body = b"" if fields is None else msgspec.json.encode({"request_id": uuid4().hex, **fields})
        raw = request(method, path, f"{host}:{port}", self._product.token, body)
        async with self._turns:
            reply = await self._send(raw)
        if reply.status not in ACCEPTED:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body.decode()[:300]}")
        return msgspec.json.decode(reply.body)

    async def _send(self, raw: bytes) -> Reply:
        host, port = self._product.host, self._product.port
        for pause_s in (*PAUSES_S, None):
            # Servers close connections that were idle for some seconds.
            self._free = [connection for connection in self._free if connection.is_open]
            try:
                connection = (
                    self._free.pop() if self._free else await Connection.connect(host, port)
                )
                reply = await connection.ask(raw)
            except OSError:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                continue
            if connection.is_open:
                self._free.append(connection)
            return reply
        raise AssertionError("unreachable")


async def populate(product: Product) -> Population:
    """Register agents that can take any task of a new project, and agents that will wait."""
    progress(f"registering {N_AGENTS + N_PARKED:,} agents")
    random = Random(1)
    async with Administrator(product) as administrator:
        run_id = _run_id()
        project_id = await _create_project(administrator, f"Benchmark {run_id}")
        agents = [
            _register(
                administrator,
                f"worker {index} {run_id}",
                capacity=CAPACITY,
                project_ids=[project_id],
                skills=msgspec.to_builtins(covering_skills(index, random)),
            )
            for index in range(N_AGENTS)
        ]
        return Population(
            product,
            project_id,
            list(await asyncio.gather(*agents)),
            await _waiters(administrator),
            iter(range(1_000_000)),
        )


async def waiters(product: Product) -> list[AgentKey]:
    """Register agents of a project without tasks."""
    progress(f"registering {N_PARKED:,} agents")
    async with Administrator(product) as administrator:
        return await _waiters(administrator)


async def _waiters(administrator: Administrator) -> list[AgentKey]:
    run_id = _run_id()
    project_id = await _create_project(administrator, f"Parking {run_id}")
    names = [f"waiter {index} {run_id}" for index in range(N_PARKED)]
    agents = [_register(administrator, name, project_ids=[project_id]) for name in names]
    return list(await asyncio.gather(*agents))


async def _register(administrator: Administrator, name: str, **profile: Any) -> AgentKey:
    # A token is shown once: when that answer was lost, an agent of another name is registered.
    for suffix in ("", " b", " c"):
        fields = {"name": name + suffix, **profile}
        answer = await administrator.ask("POST", "/v1/agents", fields)
        if answer.get("access_token"):
            return AgentKey(answer["agent_id"], answer["access_token"])
    raise RuntimeError(f"The server gave no access token to {name!r}.")


async def _create_project(administrator: Administrator, name: str) -> str:
    answer = await administrator.ask("POST", "/v1/projects", {"name": name})
    return str(answer["project_id"])


def _run_id() -> str:
    """Part of names, so that a server in use can be measured more than once."""
    return uuid4().hex[:8]


async def refill(population: Population) -> int:
    """Bring the backlog to its size again, with its share of ready tasks; return these."""
    async with Administrator(population.product) as administrator:
        path = f"/v1/projects/{population.project_id}"
        tasks = (await administrator.ask("GET", path))["tasks"]
        n_missing = BACKLOG - tasks.get("open", 0)
        if n_missing > 0:
            n_wanted = int(BACKLOG * READY_SHARE) - tasks.get("ready", 0)
            share = min(max(n_wanted / n_missing, 1 / n_missing), 1.0)
            turn = next(population.imports)
            made = drafts(n_missing, Random(turn), batch=f"{turn}.", ready_share=share)
            await administrator.ask(
                "POST", f"{path}/import", {"tasks": [on_the_wire(draft) for draft in made]}
            )
            tasks = (await administrator.ask("GET", path))["tasks"]
        return int(tasks.get("ready", 0))
