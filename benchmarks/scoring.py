"""What a learned score costs: the scorer alone, a claim with it beside one by rules, and training.

``score_N`` scores N ready tasks for one agent. *warm* has met such agents and tasks before, as a
coordinator has after its first minutes; *cold* has met none, so every place on the model's grid is
predicted. ``claim`` lets the same agents claim and complete the same tasks, decision records and
the hash chain included, by rules and by the model. ``train`` fits all three models and
writes their card.
"""

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.backlog import agent_skills, drafts
from benchmarks.report import Case, Report, percentile, rounded
from models.forecast import CachedForecaster
from models.grid import FORECAST_FACTS
from models.history import SCHEMAS, History
from models.registry import Registry, Stored
from models.train import NAME, store, train_assignment
from pm_agent.bootstrap import ADMIN, engine_builder
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import ClaimTask, CompleteTask, TaskAssigned
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.project import CreateProject
from pm_agent.domain.task import ImportTasks
from pm_agent.domain.time import MINUTE_US
from pm_agent.features.assignment.learned import FACT_NAMES, LearnedScorer
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel.engine import Engine, Step
from pm_agent.kernel.types import Policy
from pm_agent.ports import EMPTY, Scorer

START_US = 1_750_000_000_000_000
PROJECT = "P-benchmark"
N_AGENTS, N_TASKS = 50, 4_000
TURNS = 200
Facts = NDArray[np.float32]


class Sizes(NamedTuple):
    """How much is measured."""

    n_claims: int
    n_attempts: int  # to train on


FULL, QUICK = Sizes(3_000, 100_000), Sizes(500, 5_000)


def run(*, is_quick: bool) -> Report:
    """Measure all cases."""
    sizes = QUICK if is_quick else FULL
    started = time.perf_counter()
    trained = train_assignment(history(sizes.n_attempts))
    train_s = time.perf_counter() - started
    with TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        stored = registry.load(NAME, store(registry, trained))
    claims = _claims(stored, sizes.n_claims)
    return Report(
        benchmark="scoring",
        cases=[
            *[_scores(stored, n) for n in (100, 1_000)],
            claims,
            {"case": "train", "attempts": sizes.n_attempts, "seconds": rounded(train_s)},
        ],
        ratios={
            "claim_learned_to_rules": float(claims["learned_warm_to_rules"]),
            "first_claim_learned_to_rules": float(claims["learned_first_to_rules"]),
        },
    )


def _scores(stored: Stored, n: int) -> Case:
    facts = facts_of(n, np.random.default_rng(1))
    warm = LearnedScorer(CachedForecaster.of(stored))
    warm.score(facts)
    rules = FactorsScorer()
    narrow = facts[:, : len(rules.fact_names)].copy()
    made: Case = {"case": f"score_{n}", "n_tasks": n}
    ways: dict[str, Callable[[], object]] = {
        "rules": lambda: rules.score(narrow),
        "learned_warm": lambda: warm.score(facts),
        "learned_cold": lambda: LearnedScorer(CachedForecaster.of(stored)).score(facts),
    }
    for name, way in ways.items():
        took = [_timed(way) for _ in range(TURNS if name != "learned_cold" else 5)]
        made[f"{name}_p50_ms"] = rounded(percentile(took, 0.5) * 1e3)
        made[f"{name}_p99_ms"] = rounded(percentile(took, 0.99) * 1e3)
    return made


def _claims(stored: Stored, n: int) -> Case:
    """Claims by rules, by a model that has just been loaded, and by one in use for a while."""
    learned = LearnedScorer(CachedForecaster.of(stored))
    made: Case = {"case": "claim", "claims": n}
    for name in ("learned_first", "learned_warm"):
        # Turn by turn, so that whatever else the machine does falls on both alike.
        turns = zip(_lifecycles(FactorsScorer(), n), _lifecycles(learned, n), strict=True)
        rules_us, learned_us = (percentile(took, 0.5) * 1e6 for took in zip(*turns, strict=True))
        made |= {
            "rules_p50_us": rounded(rules_us),
            f"{name}_p50_us": rounded(learned_us),
            f"{name}_to_rules": rounded(learned_us / rules_us),
        }
    return made


def _lifecycles(scorer: Scorer, n: int) -> Iterator[float]:
    """Seconds of each claim, among completions that change what is known of the agents."""
    random = Random(1)
    engine = engine_builder(Policy(), scorer, seed=1)(None, EMPTY, START_US)
    registers = [
        RegisterAgent(**_by(), agent_id=f"A-{i}", name=str(i), skills=agent_skills(random))
        for i in range(N_AGENTS)
    ]
    project = CreateProject(**_by(), project_id=PROJECT, name="Benchmark", completion="auto")
    backlog = drafts(max(N_TASKS, 2 * n), random, ready_share=1.0)
    _step(engine, [project, *registers], START_US)
    _step(engine, [ImportTasks(**_by(), project_id=PROJECT, drafts=backlog)], START_US)
    for turn in range(n):
        agent_id, now_us = f"A-{turn % N_AGENTS}", START_US + turn * MINUTE_US
        claim = ClaimTask(**_by(agent_id), agent_id=agent_id)
        started = time.perf_counter()
        step = _step(engine, [claim], now_us)
        yield time.perf_counter() - started
        for event in step.events:
            if isinstance(event.data, TaskAssigned):
                done = CompleteTask(
                    **_by(agent_id),
                    task_id=event.data.task_id,
                    lease_token=event.data.lease_token,
                    summary="done",
                )
                _step(engine, [done], now_us + random.randrange(MINUTE_US))


def facts_of(n: int, random: np.random.Generator) -> Facts:
    """Made-up facts of candidates: one agent, tasks of all lengths."""
    facts = np.zeros((n, len(FACT_NAMES)), dtype=np.float32)
    at = {name: i for i, name in enumerate(FORECAST_FACTS)}
    facts[:, at["success"]], facts[:, at["agent_success"]] = 0.8, 0.75
    facts[:, at["kind_outcomes"]], facts[:, at["agent_outcomes"]] = 6, 20
    facts[:, at["agent_pace_min"]], facts[:, at["rarity"]] = 25, 1.5
    facts[:, at["skill_use"]], facts[:, at["skill_margin"]] = 0.5, 0.25
    facts[:, at["agent_level"]] = 3
    facts[:, at["estimate_min"]] = np.exp(random.normal(3.4, 1.2, n)).round()
    facts[:, at["level"]] = random.integers(1, 6, n)
    facts[:, at["failures"]] = random.integers(0, 3, n)
    facts[:, at["priority"]] = random.integers(0, 4, n)
    facts[:, at["age_h"]] = random.exponential(5, n)
    return facts


def history(n: int) -> History:
    """Made-up attempts whose outcomes follow from their facts."""
    random = np.random.default_rng(0)
    facts = facts_of(n, random)
    at = {name: i for i, name in enumerate(FORECAST_FACTS)}
    facts[:, at["agent_success"]] = facts[:, at["success"]] = random.uniform(0.2, 0.95, n)
    facts[:, at["agent_pace_min"]] = np.exp(random.normal(3, 0.7, n))
    logit = 2 * facts[:, at["success"]] + 1 - 0.5 * facts[:, at["level"]]
    accepted = random.random(n) < 1 / (1 + np.exp(-logit))
    minutes = np.sqrt(facts[:, at["estimate_min"]] + 1) * np.exp(random.normal(0, 1, n))
    at_us = START_US + np.arange(n) * MINUTE_US
    shared = {"position": np.arange(1, n + 1), "at_us": at_us, "agent_id": "A-1", "is_chosen": True}
    candidates = pd.DataFrame(
        {
            **shared,
            "task_id": [f"T-{i}" for i in range(n)],
            "label_accepted": pd.array(accepted, dtype="boolean"),
            **{f"fact_{name}": facts[:, i] for name, i in at.items()},
        }
    )
    attempts = pd.DataFrame(
        {
            **shared,
            "label_accepted": candidates["label_accepted"],
            "label_ended_at_us": at_us + (minutes * MINUTE_US).astype(np.int64),
            "label_duration_min": minutes,
            "label_is_censored": random.random(n) < 0.05,
            "label_cost_usd": minutes / 80,
        }
    )
    rest = {name: pd.DataFrame(columns=list(SCHEMAS[name])) for name in History._fields[2:]}
    return History(attempts=attempts, candidates=candidates, **rest)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _step(engine: Engine, commands: list[Command], now_us: int) -> Step:
    step = engine.step(commands, now_us)
    for reply in step.replies:
        assert reply.error is None, reply
    return step


_numbers = count(1)


def _by(agent_id: str = "") -> dict[str, Any]:
    principal = Principal("agent", agent_id) if agent_id else ADMIN
    return {"request_id": f"benchmark-request-{next(_numbers):012}", "principal": principal}
