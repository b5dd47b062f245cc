"""Which tasks arrive when: made from a scenario and a seed, the same for every policy.

Instants come from a Poisson process whose rate follows the scenario: even, by the hour of the day,
or in the bursts of a real trace (`fitted/azure_code.toml`). Random numbers are drawn in chunks of
tasks, each from a generator of its own, so a year takes no more memory than a day.
"""

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.task import Skill, TaskDraft
from pm_agent.domain.time import DAY_US, HOUR_US
from simulation.behaviour import FAMILIES, FITTED
from simulation.scenario import Graph, Load, Scenario, Tasks

CHUNK = 4_096  # tasks drawn at once
MAX_ESTIMATE_MIN = 10_000
# Streams of random numbers: what is drawn from one never shifts another.
INSTANTS, BURSTS, TASKS, LUCK, TEAM, LENGTHS = range(6)

_trace = tomllib.loads((FITTED / "azure_code.toml").read_text())

Floats = NDArray[np.float64]


class Work(NamedTuple):
    """A task as asked for, and what it really takes."""

    draft: TaskDraft
    human_min: float


class Arrival(NamedTuple):
    """Tasks that are created together: one, or a graph."""

    at_us: int  # since the start
    project: int  # index into the scenario's projects
    works: tuple[Work, ...]


class Luck(NamedTuple):
    """Uniform numbers in [0, 1) of one attempt at one task: equal under every policy."""

    success: float
    duration: float
    trouble: float  # whether something goes wrong, and what
    when: float  # how far the work has come by then
    span: float  # how long it lasts
    choice: float  # gives up or hands in; releases or keeps
    verdict: float
    review: float  # how long a person takes


def stream(seed: int, purpose: int, chunk: int = 0) -> np.random.Generator:
    """Random numbers for one purpose and chunk."""
    return np.random.default_rng([seed, purpose, chunk])


N_ATTEMPTS = 4  # with draws of their own; later attempts meet those of the first again


class Fortune:
    """The luck of all attempts of a run, drawn when it is asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chunk = lru_cache(maxsize=16)(lambda chunk: _drawn(seed, chunk))

    def of(self, number: int, attempt: int) -> Luck:
        """Luck of an attempt, counted from 1, at the task with this number."""
        chunk, place = divmod(number, CHUNK)
        return Luck(*self._chunk(chunk)[place, attempt % N_ATTEMPTS].tolist())

    def work_of_answer(self, number: int, token: int, what: str) -> float:
        """Uniform: how much work a person's answer is. Drawn apart from all other luck."""
        return Random(f"{self._seed}:{number}:{token}:{what}").random()


def _drawn(seed: int, chunk: int) -> Floats:
    return stream(seed, LUCK, chunk).random((CHUNK, N_ATTEMPTS, len(Luck._fields)))


def arrivals(scenario: Scenario, seed: int) -> Iterator[Arrival]:
    """Yield all arrivals within the horizon, in order of time."""
    graph = scenario.load.graph
    works = _works(scenario, seed)
    instants = _instants(scenario, seed)
    if graph is None:
        for at_us, (project, work) in zip(instants, works, strict=False):
            yield Arrival(at_us, project, (work,))
        return
    shape = stream(seed, TASKS, -1 % 2**32)
    for number, at_us in enumerate(instants):
        made = list(islice(works, graph.tasks))
        linked = _linked(graph, number, [work for _, work in made], shape)
        yield Arrival(at_us, made[0][0], linked)


# -- when --------------------------------------------------------------------------------------


def _instants(scenario: Scenario, seed: int) -> Iterator[int]:
    """Instants of a Poisson process: unit gaps, stretched by the inverse of the cumulated rate."""
    load = scenario.load
    size = load.graph.tasks if load.graph else 1
    times_us, expected = _cumulated(load, scenario.horizon_h * HOUR_US, seed)
    expected = expected / size
    if load.kind == "dump":
        yield from [0] * round(expected[-1])
        return
    last = 0.0
    for chunk in range(2**31):
        points = last + stream(seed, INSTANTS, chunk).exponential(size=CHUNK).cumsum()
        last = points[-1]
        inside = points[points < expected[-1]]
        yield from np.interp(inside, expected, times_us).astype(np.int64).tolist()
        if len(inside) < CHUNK:
            return


def _cumulated(load: Load, horizon_us: float, seed: int) -> tuple[Floats, Floats]:
    """Knots of the expected number of tasks by time, in microseconds and tasks."""
    n_days = horizon_us / DAY_US
    total = load.tasks_per_day * n_days
    if load.kind == "profile":
        hours = np.arange(len(load.profile) * int(np.ceil(n_days)))
        rates = np.resize(load.profile, len(hours)) / np.sum(load.profile) * load.tasks_per_day
        times = np.append(hours, len(hours)) * (DAY_US / len(load.profile))
        expected = np.append(0, rates.cumsum())
        return times, np.minimum(expected, np.interp(horizon_us, times, expected))
    if load.kind == "burst":
        rates = _bursts(max(2, round(total / _trace["tasks_per_slot"])), seed)
        expected = np.append(0, rates.cumsum())
        return np.linspace(0, horizon_us, len(expected)), expected * (total / expected[-1])
    return np.array([0.0, horizon_us]), np.array([0.0, total])


def _bursts(n: int, seed: int) -> Floats:
    """Rates of ``n`` slots, as the fitted chain of states goes on; not all are 0."""
    random = stream(seed, BURSTS)
    steps = np.cumsum(_trace["steps"], axis=1)  # (n_states, n_states)
    states, state = np.empty(n, dtype=np.intp), 0
    for slot, share in enumerate(random.random(n)):
        state = min(int(np.searchsorted(steps[state], share, side="right")), len(steps) - 1)
        states[slot] = state
    rates = np.array(_trace["rates"])[states]
    return rates if rates.any() else np.ones(n)


# -- what --------------------------------------------------------------------------------------


def _works(scenario: Scenario, seed: int) -> Iterator[tuple[int, Work]]:
    """Tasks without end, each with its project."""
    tasks = scenario.tasks
    skills: list[tuple[Skill, ...]] = [(Skill(s.name, s.level),) for s in tasks.skills]
    shares = [s.share for s in tasks.skills]
    number = 0
    for chunk in range(2**31):
        random = stream(seed, TASKS, chunk)
        human_min, estimates = _lengths(tasks, random)
        rest = (
            _choices(random, scenario.tasks.priorities),
            _choices(random, [p.weight for p in scenario.projects]),
            _choices(random, [*shares, max(0.0, 1 - sum(shares))]),
            random.integers(len(tasks.kinds), size=CHUNK).tolist(),
        )
        if tasks.lengths == "metr_families":
            human_min, estimates = _of_families(tasks, rest[-1], stream(seed, LENGTHS, chunk))
        columns = zip(human_min, estimates, *rest, strict=True)
        for minutes, estimate, priority, project, skill, kind in columns:
            number += 1
            draft = TaskDraft(
                title=f"Task {number}",
                kind=tasks.kinds[kind],
                priority=priority,
                skills=skills[skill] if skill < len(skills) else (),
                estimate_min=estimate,
            )
            yield project, Work(draft, minutes)


def _lengths(tasks: Tasks, random: np.random.Generator) -> tuple[list[float], list[int]]:
    """Human minutes, and what the backlog says about them."""
    human_min = tasks.human_min * np.exp(tasks.spread * random.standard_normal(CHUNK))
    said = human_min * np.exp(tasks.estimate_spread * random.standard_normal(CHUNK))
    estimates = np.clip(np.rint(said), 1, MAX_ESTIMATE_MIN).astype(int)
    return np.maximum(human_min, 0.1).tolist(), estimates.tolist()


def _of_families(
    tasks: Tasks, kinds: list[int], random: np.random.Generator
) -> tuple[list[float], list[int]]:
    """As `_lengths`, of tasks drawn from the families: hard ones are worked on as if longer."""
    said = np.exp(tasks.estimate_spread * random.standard_normal(CHUNK))
    places = random.random(CHUNK)
    human_min, estimates = [], []
    for kind, place, factor in zip(kinds, places, said, strict=True):
        family = FAMILIES[tasks.kinds[kind]]
        length, hardness = family[int(place * len(family))]
        human_min.append(max(hardness, 0.1))
        estimates.append(int(np.clip(round(length * factor), 1, MAX_ESTIMATE_MIN)))
    return human_min, estimates


def _choices(random: np.random.Generator, weights: Any) -> list[int]:
    edges = np.cumsum(weights)
    found = np.searchsorted(edges, random.random(CHUNK) * edges[-1], side="right")
    picked: list[int] = np.minimum(found, len(edges) - 1).tolist()
    return picked


def _linked(
    graph: Graph, number: int, works: list[Work], random: np.random.Generator
) -> tuple[Work, ...]:
    """Let the tasks of one graph wait for each other; keys name them within their import."""
    keys = [f"g{number}.{place}" for place in range(len(works))]
    linked = []
    for place, (draft, human_min) in enumerate(works):
        waits_for = tuple(keys[d] for d in _dependencies(graph, place, len(works), random))
        fields = {f: getattr(draft, f) for f in ("title", "kind", "priority", "skills")}
        made = TaskDraft(
            **fields, key=keys[place], estimate_min=draft.estimate_min, dependencies=waits_for
        )
        linked.append(Work(made, human_min))
    return tuple(linked)


def _dependencies(graph: Graph, place: int, n: int, random: np.random.Generator) -> list[int]:
    if graph.shape == "chain":
        return [place - 1] if place else []
    if graph.shape == "fan_in":  # everything joins in the last task
        return list(range(n - 1)) if place == n - 1 else []
    layer = place // graph.width
    if layer == 0:
        return []
    before = range((layer - 1) * graph.width, layer * graph.width)
    chosen = random.choice(before, size=min(graph.fan_in, len(before)), replace=False)
    return sorted(chosen.tolist())
