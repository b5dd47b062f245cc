"""How soon a ready task reaches an agent that waits for it, and what a cut connection costs.

1,000 agents with subscriptions are parked in `wait_for_task`, each on a connection of its own, over
the real HTTP surface with SQLite and ``synchronous=FULL``. All times are from the moment at which
the request that makes the task ready is sent, so that request is part of them.

``wake_one``: one task comes, and one agent is woken. ``wake_1000``: as many tasks as agents come in
one import. ``wake_1000_mcp_modern`` and ``wake_1000_mcp_legacy``: the same with agents that wait
over MCP, on raw sockets too. ``cut_10pct``: as ``wake_1000``, but a tenth of the agents have their
connection cut when the reply comes, and ask again; their time ends when they know what they hold.
*Lost* are tasks that no agent knows it has, *doubles* tasks that two agents think they have.
``messages`` is the core alone, in this process: one sends, ten read and acknowledge.
"""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.fault_proxy import FaultProxy
from benchmarks.load_generator import AgentKey, Connection, Reply, request
from benchmarks.mcp_wire import ERAS, Era, Wire, call_tool
from benchmarks.population import N_PARKED, Administrator
from benchmarks.product import Product, running
from benchmarks.report import Case, Plan, Report, middle, percentile, progress, rounded
from benchmarks.scratch import scratch
from pm_agent.catalog import CATALOG
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.message import AcknowledgeMessages, SendMessage
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel.engine import MAX_BATCH, Engine
from pm_agent.kernel.types import Policy

LABELS = tuple(f"kind-{n}" for n in range(10))
ROUNDS = 50  # of one task at a time
CUT_EVERY = 10  # one agent in ten
WAIT_S, GIVE_UP_S = 50, 20.0
SETTLE_S = 2.0
MESSAGES = 20_000
READERS = 10
PAUSES_S = (0.05, 0.2, 0.5, 1.0)
START_US = 1_750_000_000_000_000


def run(plan: Plan, parent: Path | None = None, *, no_ray: bool = False) -> Report:
    """Run the whole benchmark.

    Parameters
    ----------
    no_ray
        Start the server as one process, without Ray.
    """
    report = Report(benchmark="push")
    with scratch(parent) as folder, _many_files():
        progress("push: starting pm-agent up" + (" --no-ray" if no_ray else ""))
        with running(folder / "product", no_ray=no_ray) as product:
            asyncio.run(_measure(product, plan, report))
    progress("push: messages in this process")
    report.cases.append(middle([_messages() for _ in range(plan.runs)]))
    return report


@contextmanager
def _many_files() -> Iterator[None]:
    """Let this process, and the server it starts, have two connections an agent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Waiter:
    """One agent that waits for its next task.

    Attributes
    ----------
    got : list of (float, str)
        When it learned of which task.
    """

    def __init__(self, product: Product, key: AgentKey, port: int = 0) -> None:
        self._product = product
        self._key = key
        self._port = port or product.port
        self._connection: Connection | None = None
        self.got: list[tuple[float, str]] = []

    async def wait(self) -> None:
        """Wait until there is a task, asking again when the connection breaks or the time is up."""
        until_s = time.perf_counter() + GIVE_UP_S + SETTLE_S
        pauses = iter(PAUSES_S)
        while time.perf_counter() < until_s:
            try:
                answer = await self._wait_once()
            except OSError:
                self._port = self._product.port  # the network is well again
                self._connection = None
                await asyncio.sleep(next(pauses, PAUSES_S[-1]))
                continue
            if answer.get("outcome") == "assigned":
                self.got.append((time.perf_counter(), answer["task_id"]))
                self._lease_token = answer["lease_token"]
                return

    async def complete(self) -> None:
        """Hand in what it holds."""
        task_id = self.got[-1][1]
        fields = {"lease_token": self._lease_token, "summary": "done"}
        await self._ask(f"/v1/tasks/{task_id}/complete", fields)

    async def _wait_once(self) -> Any:
        return await self._ask(f"/v1/agents/{self._key.id}/wait", {"timeout_s": WAIT_S})

    async def _ask(self, path: str, fields: dict[str, Any]) -> Any:
        host = self._product.host
        if self._connection is None or not self._connection.is_open:
            self._connection = await Connection.connect(host, self._port)
        body = msgspec.json.encode(fields)
        raw = request("POST", path, f"{host}:{self._product.port}", self._key.token, body)
        reply: Reply = await self._connection.ask(raw)
        return msgspec.json.decode(reply.body)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class McpWaiter(Waiter):
    """One that waits over MCP."""

    def __init__(self, product: Product, key: AgentKey, era: Era) -> None:
        super().__init__(product, key)
        self._era = era
        self._wire: Wire | None = None

    async def _wait_once(self) -> Any:
        host, port = self._product.host, self._product.port
        if self._wire is None:
            self._wire = await Wire.connect(host, port)
        fields = {"timeout_s": WAIT_S}
        asked = call_tool(f"{host}:{port}", self._key.token, self._era, "wait_for_task", fields)
        return (await self._wire.ask(asked))["structuredContent"]

    def close(self) -> None:
        super().close()
        if self._wire is not None:
            self._wire.close()


class Crowd(NamedTuple):
    """Agents with subscriptions, and the project whose tasks they wait for."""

    administrator: Administrator
    product: Product
    keys: Sequence[AgentKey]
    path: str  # of the project


async def _measure(product: Product, plan: Plan, report: Report) -> None:
    n_agents = N_PARKED // 10 if plan.is_quick else N_PARKED
    rounds = ROUNDS // 5 if plan.is_quick else ROUNDS
    async with Administrator(product) as administrator:
        project_id = (await administrator.ask("POST", "/v1/projects", {"name": "Push"}))[
            "project_id"
        ]
        progress(f"push: registering {n_agents:,} agents with their subscriptions")
        keys = await asyncio.gather(*(_subscriber(administrator, n) for n in range(n_agents)))
        crowd = Crowd(administrator, product, keys, f"/v1/projects/{project_id}")
        progress("push: wake_one")
        report.cases.append(middle([await _wake_one(crowd, rounds) for _ in range(plan.runs)]))
        for case in ("wake_1000", "wake_1000_mcp_modern", "wake_1000_mcp_legacy", "cut_10pct"):
            progress(f"push: {case}")
            async with FaultProxy(product.host, product.port) as proxy:
                runs = [await _wake_all(crowd, case, proxy) for _ in range(plan.runs)]
            report.cases.append(middle(runs))


async def _subscriber(administrator: Administrator, number: int) -> AgentKey:
    made = await administrator.ask("POST", "/v1/agents", {"name": f"pushed {number}"})
    wanted = {"labels": [LABELS[number % len(LABELS)]]}
    await administrator.ask("POST", f"/v1/agents/{made['agent_id']}/subscriptions", wanted)
    return AgentKey(made["agent_id"], made["access_token"])


async def _wake_one(crowd: Crowd, rounds: int) -> Case:
    """All wait; tasks come one by one. Who was woken hands its task in and waits again."""
    waiters = {key.id: Waiter(crowd.product, key) for key in crowd.keys}
    waits = {asyncio.create_task(w.wait()): w for w in waiters.values()}
    await asyncio.sleep(SETTLE_S)
    took_s: list[float] = []
    owners: Counter[str] = Counter()
    sent: list[str] = []
    for turn in range(rounds):
        began_s = time.perf_counter()
        task = {"title": f"one {turn}", "labels": [LABELS[turn % len(LABELS)]]}
        asked = crowd.administrator.ask("POST", f"{crowd.path}/tasks", task)
        made = asyncio.create_task(asked)
        woken, _ = await asyncio.wait(waits, timeout=GIVE_UP_S, return_when=asyncio.FIRST_COMPLETED)
        sent.append((await made)["task_id"])
        for done in woken:
            waiter = waits.pop(done)
            if waiter.got:
                at_s, task_id = waiter.got[-1]
                took_s.append(at_s - began_s)
                owners[task_id] += 1
                await waiter.complete()
            waits[asyncio.create_task(waiter.wait())] = waiter
    await _stop(list(waits), waiters.values())
    return _case("wake_one", took_s, owners, sent, len(crowd.keys))


async def _wake_all(crowd: Crowd, case: str, proxy: FaultProxy) -> Case:
    """All wait; as many tasks as agents come at once. The proxy cuts what comes through it."""
    keys, administrator = crowd.keys, crowd.administrator
    proxy.mode = "pass"
    n_dropped = proxy.n_dropped
    waiters = _waiters(crowd, case, proxy)
    waits = [asyncio.create_task(waiter.wait()) for waiter in waiters]
    await asyncio.sleep(SETTLE_S)
    proxy.mode = "drop_reply"
    tasks = [{"title": f"all {n}", "labels": [LABELS[n % len(LABELS)]]} for n in range(len(keys))]
    began_s = time.perf_counter()
    made = asyncio.create_task(administrator.ask("POST", f"{crowd.path}/import", {"tasks": tasks}))
    await asyncio.wait(waits, timeout=GIVE_UP_S)
    await made
    took_s = [at_s - began_s for waiter in waiters for at_s, _ in waiter.got]
    owners = Counter(task_id for waiter in waiters for _, task_id in waiter.got)
    for waiter in waiters:
        if waiter.got:
            await waiter.complete()
    await _stop(waits, waiters)
    sent = [*owners, *[""] * (len(keys) - len(owners))]  # a task without an owner has no name here
    return _case(case, took_s, owners, sent, len(keys)) | {"cut": proxy.n_dropped - n_dropped}


def _waiters(crowd: Crowd, case: str, proxy: FaultProxy) -> list[Waiter]:
    for era in ERAS:
        if case.endswith(f"mcp_{era}"):
            return [McpWaiter(crowd.product, key, era) for key in crowd.keys]
    is_cut = case == "cut_10pct"
    ports = [proxy.port if is_cut and n % CUT_EVERY == 0 else 0 for n in range(len(crowd.keys))]
    return [Waiter(crowd.product, key, port) for key, port in zip(crowd.keys, ports, strict=True)]


async def _stop(waits: list["asyncio.Task[None]"], waiters: Any) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    for waiter in waiters:
        waiter.close()
    await asyncio.sleep(SETTLE_S)  # the server takes note that nobody waits


def _case(
    case: str, took_s: list[float], owners: Counter[str], sent: list[str], agents: int
) -> Case:
    return {
        "case": case,
        "agents": agents,
        "woken": len(took_s),
        "p50_ms": rounded(percentile(took_s, 0.5) * 1_000),
        "p99_ms": rounded(percentile(took_s, 0.99) * 1_000),
        "lost": sum(task_id not in owners for task_id in sent),
        "doubles": sum(n > 1 for n in owners.values()),
    }


# -- messages in this process ---------------------------------------------------------------------


def _messages() -> Case:
    """Send messages through the core in full batches; readers acknowledge as they come."""
    engine = Engine(CATALOG, PriorityScorer(), Policy(), started_us=START_US)
    names = ["A-sender", *(f"A-reader-{n}" for n in range(READERS))]
    engine.step([_registration(name) for name in names], START_US)
    read: dict[str, list[int]] = {name: [] for name in names[1:]}
    batches_s: list[float] = []
    began_s, now_us, n_sent = time.perf_counter(), START_US, 0
    while n_sent < MESSAGES or engine.world.inboxes:
        commands: list[Command] = [_acknowledgement(engine, name, read) for name in list(
            engine.world.inboxes
        )]  # fmt: skip
        n_more = min(MAX_BATCH - len(commands), MESSAGES - n_sent)
        commands += [_message(n_sent + n, names) for n in range(n_more)]
        n_sent += n_more
        now_us += 1_000
        step_s = time.perf_counter()
        step = engine.step(commands, now_us)
        batches_s.append(time.perf_counter() - step_s)
        assert not any(reply.error for reply in step.replies), step.replies
    elapsed_s = time.perf_counter() - began_s
    in_order = [numbers == sorted(set(numbers)) for numbers in read.values()]
    return {
        "case": "messages",
        "messages_per_s": rounded(n_sent / elapsed_s),
        "p50_ms": rounded(percentile(batches_s, 0.5) * 1_000),  # of one batch
        "p99_ms": rounded(percentile(batches_s, 0.99) * 1_000),
        "lost": n_sent - sum(len(numbers) for numbers in read.values()),
        "doubles": sum(len(numbers) - len(set(numbers)) for numbers in read.values()),
        "out_of_order": in_order.count(False),
    }


def _registration(name: str) -> RegisterAgent:
    who = Principal("agent", name)
    return RegisterAgent(request_id=f"register {name}", principal=who, agent_id=name, name=name)


def _message(number: int, names: list[str]) -> SendMessage:
    return SendMessage(
        request_id=f"message {number}",
        principal=Principal("agent", names[0]),
        to=names[1 + number % READERS],
        text="The interface of the parser has changed: see branch api.",
    )


def _acknowledgement(engine: Engine, name: str, read: dict[str, list[int]]) -> AcknowledgeMessages:
    waiting = engine.world.inboxes[name].unread
    read[name] += [engine.world.messages[message_id].number for message_id in waiting]
    return AcknowledgeMessages(
        request_id=f"read {name} {len(read[name])}",
        principal=Principal("agent", name),
        agent_id=name,
        message_ids=waiting,
    )
