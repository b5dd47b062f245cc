"""How fast the decision core is, in one process and without HTTP.

``lifecycle_*``: whole lifecycles (claim, two progress reports, complete), each step durable on
SQLite with ``synchronous=FULL`` before it is acknowledged, through the same `CoordinatorLoop` that
serves real agents: leases, dependencies, skills, scoring and decision records included. PostgreSQL
and Valkey do the same four durable steps in the same run, without most of that. ``*_postgres`` is
PM Agent with its journal in PostgreSQL, beside that rival on the same server.

``growth_*``: what a single claim costs as ready tasks grow from a thousand to a million, decided in
memory alone and with its durable commit; and what it costs an agent whose only skill is rare.

``matching_tick_*``: what it costs and gains to serve many waiting agents together
(`benchmarks.matching`).

Instructions are not written here: the effects that ask for them are decided, not performed.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

import msgspec
from pydantic import SecretStr

from benchmarks import matching, peers_postgres, peers_valkey
from benchmarks.backlog import SKILLS, agent_skills, covering_skills, drafts
from benchmarks.lifecycles import Run, TaskQueue, drive
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
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.bootstrap import ADMIN, build_coordinator, engine_builder
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import ClaimTask, CompleteTask, ReportProgress
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.project import CreateProject
from pm_agent.domain.task import CreateTask, ImportTasks, Skill, TaskDraft
from pm_agent.features.assignment.decide import ClaimResult
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel.engine import Engine, Step
from pm_agent.kernel.types import Policy
from pm_agent.ports import Scorer
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.settings import Settings

PROJECT = "P-benchmark"
AGENTS = (1_000, 50)
CLIENTS = 200  # of the comparison on one PostgreSQL server
CAPACITY = 3
FIRST_BACKLOG = 20_000
SPARE = 1.6  # a run's backlog over what the run before would have used up
IMPORT = 10_000  # tasks in one import, the most that the API takes

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = SIZES[:3]
CLAIMS = 600  # per case, in memory
DURABLE_CLAIMS = 200
GROWTH_AGENTS = 200
RARE_SHARE = 0.001  # of the tasks, next to 3 % for each common skill
RARE = Skill("rare", 1)
CHUNK = 20_000

OpenPeer = Callable[[Path], AbstractAsyncContextManager[TaskQueue[Any]]]
PEERS: dict[str, tuple[Callable[[], str], OpenPeer]] = {
    "postgres": (peers_postgres.missing, peers_postgres.postgres),
    "valkey": (peers_valkey.missing, peers_valkey.valkey),
}


async def measure(plan: Plan, parent: Path | None = None) -> Report:
    """Run the whole benchmark.

    Parameters
    ----------
    plan
        Seconds and runs of the lifecycle cases.
    parent
        Where the journals and the peers' data go.
    """
    report = Report(benchmark="kernel")
    with scratch(parent) as folder:
        await _lifecycles(plan, folder, report)
        await _on_postgres(plan, folder, report)
        await _growth(plan, folder, report)
    progress("kernel: matching waiting agents with tasks")
    report.cases += matching.cases()
    return report


# -- lifecycles -----------------------------------------------------------------------------------


class LoopQueue:
    """Fulfils `benchmarks.lifecycles.TaskQueue` on a coordinator in this process."""

    def __init__(self, loop: CoordinatorLoop) -> None:
        self._loop = loop
        self._random = Random(1)
        self._n_requests = 0
        self._n_imports = 0

    async def prepare(self, n_agents: int) -> None:
        await self._submit(CreateProject(**self._by_admin(), project_id=PROJECT, name="Benchmark"))
        for index in range(n_agents):
            register = RegisterAgent(
                **self._by_admin(),
                agent_id=f"A-{index}",
                name=str(index),
                capacity=CAPACITY,
                skills=covering_skills(index, self._random),
            )
            await self._submit(register)

    async def refill(self, n: int) -> None:
        world = self._loop.engine.world
        while world.counts[PROJECT]["open"] < n:
            self._n_imports += 1
            made = drafts(IMPORT, self._random, batch=f"{self._n_imports}.")
            await self._submit(
                ImportTasks(**self._by_admin(), project_id=PROJECT, drafts=made),
            )

    async def claim(self, agent: int) -> ClaimResult | None:
        fields = self._by_agent(agent)
        reply = await self._submit(ClaimTask(**fields, agent_id=fields["principal"].id))
        result = msgspec.json.decode(reply, type=ClaimResult)
        return result if result.outcome == "assigned" else None

    async def progress(self, agent: int, held: ClaimResult, percent: int) -> None:
        await self._submit(
            ReportProgress(
                **self._by_agent(agent),
                task_id=held.task_id,
                lease_token=held.lease_token,
                percent=percent,
                note="under way",
            )
        )

    async def complete(self, agent: int, held: ClaimResult) -> None:
        await self._submit(
            CompleteTask(
                **self._by_agent(agent),
                task_id=held.task_id,
                lease_token=held.lease_token,
                summary="done",
            )
        )

    async def _submit(self, command: Command) -> bytes:
        reply = (await self._loop.submit([command], []))[0]
        assert reply.error is None, reply
        return reply.result

    def _by_admin(self) -> dict[str, Any]:
        return {"request_id": self._request_id(), "principal": ADMIN}

    def _by_agent(self, agent: int) -> dict[str, Any]:
        return {"request_id": self._request_id(), "principal": Principal("agent", f"A-{agent}")}

    def _request_id(self) -> str:
        self._n_requests += 1
        return f"benchmark-request-{self._n_requests:012}"  # as long as real ones


@asynccontextmanager
async def coordinator_queue(
    folder: Path, n_agents: int, database_url: str | None = None
) -> AsyncIterator[LoopQueue]:
    """Run a coordinator on a fresh journal, with agents registered.

    The journal is a SQLite file in ``folder``, or a workspace of its own in a database.
    """
    settings = Settings(
        data=folder / "pm-agent",
        workspace=f"benchmark-{time.time_ns()}",
        database_url=None if database_url is None else SecretStr(database_url),
        scorer="factors",
        exploration=0.03,
        seed=1,
    )
    loop = build_coordinator(settings)
    await loop.start()
    try:
        queue = LoopQueue(loop)
        await queue.prepare(n_agents)
        yield queue
    finally:
        await loop.stop()


async def _lifecycles(plan: Plan, folder: Path, report: Report) -> None:
    runs: dict[tuple[str, int], list[Run]] = {}
    async with AsyncExitStack() as stack:
        queues: dict[str, TaskQueue[Any]] = {
            "kernel": await stack.enter_async_context(coordinator_queue(folder, max(AGENTS)))
        }
        for name, (missing, peer) in PEERS.items():
            if why := missing():
                report.peers.append({"case": f"{name}_lifecycle", "peer": name, "note": why})
                continue
            progress(f"kernel: starting {name}")
            (folder / name).mkdir()
            (folder / name).chmod(0o755)
            queues[name] = await stack.enter_async_context(peer(folder / name))
        for n_agents in AGENTS:
            for name, known in (await _in_turns(plan, queues, n_agents)).items():
                runs[name, n_agents] = known
    for (name, n_agents), known in runs.items():
        case = f"lifecycle_{n_agents}"
        if name == "kernel":
            report.cases.append(middle([run.as_case(case, n_agents) for run in known]))
        else:
            figures = middle([run.as_case(f"{name}_{case}", n_agents) for run in known])
            report.peers.append({**figures, "peer": name})
    for n_agents in AGENTS:
        ours = number(report.cases, f"lifecycle_{n_agents}", "lifecycles_per_s")
        suffix = "" if n_agents == max(AGENTS) else f"_{n_agents}"
        for name in PEERS:
            theirs = number(report.peers, f"{name}_lifecycle_{n_agents}", "lifecycles_per_s")
            add_ratio(report, f"kernel_vs_{name}{suffix}", ours, theirs)


async def _on_postgres(plan: Plan, folder: Path, report: Report) -> None:
    """Our kernel with its journal in PostgreSQL, and the rival on the very same server."""
    if why := peers_postgres.missing():
        report.peers.append(
            {"case": f"postgres_lifecycle_{CLIENTS}", "peer": "postgres", "note": why}
        )
        return
    (folder / "same").mkdir()
    (folder / "same").chmod(0o755)
    async with AsyncExitStack() as stack:
        url = stack.enter_context(peers_postgres.server(folder / "same"))
        queues: dict[str, TaskQueue[Any]] = {
            f"lifecycle_{CLIENTS}_postgres": await stack.enter_async_context(
                coordinator_queue(folder / "same", CLIENTS, url)
            ),
            f"postgres_lifecycle_{CLIENTS}": await stack.enter_async_context(
                peers_postgres.postgres_at(url)
            ),
        }
        runs = await _in_turns(plan, queues, CLIENTS)
    ours, theirs = (
        middle([run.as_case(case, CLIENTS) for run in known]) for case, known in runs.items()
    )
    report.cases.append(ours)
    report.peers.append({**theirs, "peer": "postgres"})
    above, below = (float(case["lifecycles_per_s"]) for case in (ours, theirs))
    add_ratio(report, "kernel_on_postgres_vs_postgres", above, below)


async def _in_turns(
    plan: Plan, queues: dict[str, TaskQueue[Any]], n_agents: int
) -> dict[str, list[Run]]:
    """Run all queues one after another, so that a busy spell of the machine meets each of them."""
    runs: dict[str, list[Run]] = {name: [] for name in queues}
    for turn in range(plan.runs + 1):
        for name, queue in queues.items():
            seconds = plan.seconds if turn else plan.warm_up_s
            what = f"run {turn} of {plan.runs}" if turn else "warm-up"
            progress(f"kernel: {name}, {n_agents} agents, {what}")
            await queue.refill(_needed(runs[name], seconds))
            runs[name].append(await drive(queue, n_agents, seconds))
    return {name: known[1:] for name, known in runs.items()}


def _needed(known: Sequence[Run], seconds: float) -> int:
    if not known:
        return FIRST_BACKLOG
    return max(FIRST_BACKLOG, int(max(run.per_s for run in known) * seconds * SPARE))


# -- growth ---------------------------------------------------------------------------------------


class Board:
    """An engine and its journal, driven step by step, with a given number of ready tasks.

    A claim's task is completed and replaced at once, outside the timing, so the number stays.
    """

    def __init__(self, engine: Engine, journal: SQLiteJournal) -> None:
        self._engine = engine
        self._journal = journal
        self._clock = SystemClock()
        self._random = Random(2)
        self._n_requests = 0
        self.n_ready = 0

    async def prepare(self) -> None:
        await self._do(CreateProject(**self._by(ADMIN), project_id=PROJECT, name="Benchmark"))
        agents = [agent_skills(self._random) for _ in range(GROWTH_AGENTS)]
        agents += [(Skill(SKILLS[0], 2),), (RARE,)]
        for index, skills in enumerate(agents):
            await self._do(
                RegisterAgent(
                    **self._by(ADMIN), agent_id=f"A-{index}", name=str(index), skills=skills
                )
            )

    async def grow(self, n_ready: int) -> None:
        """Import tasks until this many are ready."""
        gc.disable()  # nothing dies here, and full collections over a million tasks take long
        while self.n_ready < n_ready:
            size = min(CHUNK, n_ready - self.n_ready)
            made = tuple(self._draft() for _ in range(size))
            await self._do(ImportTasks(**self._by(ADMIN), project_id=PROJECT, drafts=made))
            self.n_ready += size
            if self.n_ready % 100_000 == 0:
                progress(f"kernel: {self.n_ready:,} ready tasks")
        gc.enable()
        gc.collect()

    async def claim_s(self, agent: int, *, is_durable: bool) -> float:
        """Seconds of one claim."""
        principal = Principal("agent", f"A-{agent}")
        command = ClaimTask(**self._by(principal), agent_id=principal.id)
        start = time.perf_counter()
        step = self._engine.step([command], self._clock.now_us())
        if is_durable:
            await self._journal.append(step.batch(self._engine.epoch))
        taken_s = time.perf_counter() - start
        if not is_durable:
            await self._journal.append(step.batch(self._engine.epoch))
        await self._replace(principal, step)
        return taken_s

    async def _replace(self, principal: Principal, step: Step) -> None:
        result = msgspec.json.decode(step.replies[0].result, type=ClaimResult)
        assert result.outcome == "assigned", result
        task = self._engine.world.tasks[result.task_id]
        await self._do(
            CompleteTask(
                **self._by(principal),
                task_id=result.task_id,
                lease_token=result.lease_token,
                summary="done",
            ),
            CreateTask(**self._by(ADMIN), project_id=PROJECT, draft=self._draft(task.skills)),
        )

    async def _do(self, *commands: Command) -> None:
        step = self._engine.step(list(commands), self._clock.now_us())
        for reply in step.replies:
            assert reply.error is None, reply
        await self._journal.append(step.batch(self._engine.epoch))

    def _draft(self, skills: tuple[Skill, ...] | None = None) -> TaskDraft:
        random = self._random
        if skills is None:
            is_rare = random.random() < RARE_SHARE
            common = Skill(random.choice(SKILLS), random.randint(1, 2))
            skills = (RARE if is_rare else common,)
        return TaskDraft(
            title="Task",
            priority=random.randrange(4),
            skills=skills,
            estimate_min=random.randrange(10, 300),
        )

    def _by(self, principal: Principal) -> dict[str, Any]:
        self._n_requests += 1
        request_id = f"benchmark-request-{self._n_requests:012}"
        return {"request_id": request_id, "principal": principal}


class Claims(NamedTuple):
    """Seconds of single claims of one case."""

    case: str
    board: Board
    agents: Sequence[int]
    in_process: list[float]
    durable: list[float]

    def as_case(self) -> Case:
        made: Case = {"case": self.case, "n_ready": self.board.n_ready}
        for name, values in (("in_process", self.in_process), ("durable", self.durable)):
            for share in (50, 99):
                made[f"{name}_claim_p{share}_us"] = rounded(percentile(values, share / 100) * 1e6)
        return made


async def _growth(plan: Plan, folder: Path, report: Report) -> None:
    least, *others = QUICK_SIZES if plan.is_quick else SIZES
    everybody = range(GROWTH_AGENTS)
    cases: list[Case] = []
    async with _board(folder / "small.db") as small, _board(folder / "large.db") as large:
        await small.grow(least)
        for size in others:
            await large.grow(size)
            progress(f"kernel: claims among {size:,} ready tasks")
            compared = [Claims(_growth_name(size), large, everybody, [], [])]
            if size == others[-1]:
                # What is compared is measured side by side, not at one minute and at another.
                compared.append(Claims(_growth_name(least), small, everybody, [], []))
                compared.append(Claims("skill_common", large, [GROWTH_AGENTS], [], []))
                compared.append(Claims("skill_rare", large, [GROWTH_AGENTS + 1], [], []))
            await _measure(compared)
            cases += [claims.as_case() for claims in compared]
    report.cases += sorted(cases, key=lambda case: case["n_ready"])
    for kind in ("in_process", "durable"):
        figure = f"{kind}_claim_p50_us"
        names = [_growth_name(others[-1]), _growth_name(least), "skill_rare", "skill_common"]
        most, fewest, rare, common = (number(cases, name, figure) for name in names)
        sizes = f"{_short(others[-1])}_vs_{_short(least)}"
        add_ratio(report, f"growth_{sizes}_{kind}", most, fewest)
        add_ratio(report, f"rare_vs_common_skill_{kind}", rare, common)


async def _measure(compared: Sequence[Claims]) -> None:
    """Claim in turns, so that a busy spell of the machine meets all that is compared."""
    for claims in compared:
        for agent in claims.agents:  # warm-up
            await claims.board.claim_s(agent, is_durable=True)
    for turn in range(CLAIMS):
        for claims in compared:
            agent = claims.agents[turn % len(claims.agents)]
            claims.in_process.append(await claims.board.claim_s(agent, is_durable=False))
    for turn in range(DURABLE_CLAIMS):
        for claims in compared:
            agent = claims.agents[turn % len(claims.agents)]
            claims.durable.append(await claims.board.claim_s(agent, is_durable=True))


@asynccontextmanager
async def _board(path: Path) -> AsyncIterator[Board]:
    journal = SQLiteJournal(path)
    build = engine_builder(Policy(), cast("Scorer", FactorsScorer()), seed=1)
    try:
        board = Board(build(None, await journal.activate(), SystemClock().now_us()), journal)
        await board.prepare()
        yield board
    finally:
        await journal.close()


def _growth_name(size: int) -> str:
    return f"growth_{_short(size)}"


def _short(size: int) -> str:
    return f"{size // 1_000_000}m" if size >= 1_000_000 else f"{size // 1_000}k"


def run(plan: Plan, parent: Path | None = None) -> Report:
    """Run the benchmark on an event loop of its own, of the kind the server uses."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.run(measure(plan, parent))
    return uvloop.run(measure(plan, parent))
