"""What it costs, and gains, to serve many waiting agents together.

``matching_tick_N``: a backlog of N tasks comes in one import while N agents wait, so the same step
matches and assigns them. Beside it the very same agents claim the very same tasks one after
another. Steps are decided in memory, decision records and the hash chain included.
"""

import time
from itertools import count
from random import Random
from typing import Any, NamedTuple, cast

from benchmarks.backlog import agent_skills, drafts
from benchmarks.report import Case, percentile, rounded
from pm_agent.bootstrap import ADMIN, engine_builder
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import ClaimTask, TaskAssigned, WaitForTask
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.project import CreateProject
from pm_agent.domain.task import ImportTasks
from pm_agent.domain.time import HOUR_US
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel.engine import Engine, Step
from pm_agent.kernel.types import Policy
from pm_agent.ports import EMPTY, Scorer

SIZES = (10, 64, 200)
TURNS = 7
START_US = 1_750_000_000_000_000
PROJECT = "P-benchmark"


class Tick(NamedTuple):
    """One way of assigning a backlog."""

    seconds: float
    n_assigned: int
    score: float  # of all assignments together


def cases() -> list[Case]:
    """One case for each size."""
    return [_case(n) for n in SIZES]


def _case(n: int) -> Case:
    together = [_together(n, seed) for seed in range(TURNS)]
    one_by_one = [_one_by_one(n, seed) for seed in range(TURNS)]
    made: Case = {"case": f"matching_tick_{n}", "n_agents": n, "n_tasks": n}
    for name, ticks in (("matched", together), ("one_by_one", one_by_one)):
        made[f"{name}_step_p50_ms"] = rounded(percentile([t.seconds for t in ticks], 0.5) * 1e3)
        made[f"{name}_assigned"] = rounded(sum(t.n_assigned for t in ticks) / TURNS)
        made[f"{name}_score"] = rounded(sum(t.score for t in ticks) / TURNS)
    return made


def _together(n: int, seed: int) -> Tick:
    """Import while all agents wait."""
    engine, backlog = _team(n, seed)
    until_us = START_US + HOUR_US
    waits = [WaitForTask(**_by(f"A-{i}"), agent_id=f"A-{i}", until_us=until_us) for i in range(n)]
    _step(engine, waits)
    start = time.perf_counter()
    step = _step(engine, [backlog])
    return _tick(time.perf_counter() - start, step)


def _one_by_one(n: int, seed: int) -> Tick:
    """Import, and let each agent claim for itself."""
    engine, backlog = _team(n, seed)
    claims = [ClaimTask(**_by(f"A-{i}"), agent_id=f"A-{i}") for i in range(n)]
    start = time.perf_counter()
    step = _step(engine, [backlog, *claims])
    return _tick(time.perf_counter() - start, step)


def _team(n: int, seed: int) -> tuple[Engine, ImportTasks]:
    random = Random(seed)
    scorer = cast("Scorer", FactorsScorer())
    engine = engine_builder(Policy(exploration=0.0), scorer, seed=1)(None, EMPTY, START_US)
    registers = [
        RegisterAgent(**_by(), agent_id=f"A-{i}", name=str(i), skills=agent_skills(random))
        for i in range(n)
    ]
    _step(engine, [CreateProject(**_by(), project_id=PROJECT, name="Benchmark"), *registers])
    return engine, ImportTasks(
        **_by(), project_id=PROJECT, drafts=drafts(n, random, ready_share=1.0)
    )


def _tick(seconds: float, step: Step) -> Tick:
    records = [e.data.decision for e in step.events if isinstance(e.data, TaskAssigned)]
    score = sum(float(record.score_values[record.explained[0]]) for record in records)
    return Tick(seconds, len(records), score)


def _step(engine: Engine, commands: list[Any]) -> Step:
    step = engine.step(cast("list[Command]", commands), START_US)
    for reply in step.replies:
        assert reply.error is None, reply
    return step


_numbers = count(1)


def _by(agent_id: str = "") -> dict[str, Any]:
    principal = Principal("agent", agent_id) if agent_id else ADMIN
    return {"request_id": f"benchmark-request-{next(_numbers):012}", "principal": principal}
