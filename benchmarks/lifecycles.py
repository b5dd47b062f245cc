"""The closed loop that drives PM Agent and its peers alike: claim, progress, progress, complete.

Each agent takes its next step when the one before is acknowledged as durable. A run starts with no
task held and ends when every started lifecycle is finished, so all the work that is counted was
done in the time that is counted.
"""

import asyncio
import time
from typing import NamedTuple, Protocol, TypeVar

from benchmarks.report import Case, percentile, rounded

Held = TypeVar("Held")
PERCENTS = (20, 60)


class TaskQueue(Protocol[Held]):
    """A coordinator as its agents see it. Each step is durable when the call returns."""

    async def refill(self, n: int) -> None:
        """See to it that at least ``n`` tasks are left to do."""
        ...

    async def claim(self, agent: int) -> Held | None:
        """Give the agent a task under a lease, or None when none is ready."""
        ...

    async def progress(self, agent: int, held: Held, percent: int) -> None: ...

    async def complete(self, agent: int, held: Held) -> None: ...


class Run(NamedTuple):
    """What one run measured."""

    n_lifecycles: int
    elapsed_s: float
    claims_s: list[float]

    @property
    def per_s(self) -> float:
        return self.n_lifecycles / self.elapsed_s

    def as_case(self, case: str, n_agents: int) -> Case:
        return {
            "case": case,
            "n_agents": n_agents,
            "lifecycles_per_s": rounded(self.per_s),
            "claim_p50_ms": rounded(percentile(self.claims_s, 0.50) * 1e3),
            "claim_p99_ms": rounded(percentile(self.claims_s, 0.99) * 1e3),
        }

    def as_claims(self, case: str) -> Case:
        """For runs of `drive_claims`."""
        return {
            "case": case,
            "claims_per_s": rounded(self.per_s),
            "p50_ms": rounded(percentile(self.claims_s, 0.50) * 1e3),
            "p99_ms": rounded(percentile(self.claims_s, 0.99) * 1e3),
        }


async def drive(queue: TaskQueue[Held], n_agents: int, seconds: float) -> Run:
    """Let agents live through lifecycles until the time is up or the queue runs dry."""
    n_done = 0
    claims_s: list[float] = []
    stopping = False
    start = time.perf_counter()
    end = start + seconds

    async def live(agent: int) -> None:
        nonlocal n_done, stopping
        while not stopping and (asked := time.perf_counter()) < end:
            held = await queue.claim(agent)
            if held is None:
                stopping = True
                return
            claims_s.append(time.perf_counter() - asked)
            for percent in PERCENTS:
                await queue.progress(agent, held, percent)
            await queue.complete(agent, held)
            n_done += 1

    async with asyncio.TaskGroup() as group:
        for agent in range(n_agents):
            group.create_task(live(agent))
    return Run(n_done, time.perf_counter() - start, claims_s)


async def drive_claims(queue: TaskQueue[Held], n_clients: int, seconds: float) -> Run:
    """As `drive`, but claims only; the tasks stay claimed."""
    claims_s: list[float] = []
    start = time.perf_counter()
    end = start + seconds

    async def ask(agent: int) -> None:
        while (asked := time.perf_counter()) < end:
            if await queue.claim(agent) is None:
                return
            claims_s.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as group:
        for agent in range(n_clients):
            group.create_task(ask(agent))
    return Run(len(claims_s), time.perf_counter() - start, claims_s)
