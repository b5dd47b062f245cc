"""From the ready-set to numbers: a shortlist of candidates and one matrix of facts about them.

Nothing here scans the board. Each ready class gives its head, about 100 tasks in all; their columns
are gathered by row number; what concerns the agent is computed once a class or once a kind.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.agent import Agent, Signature
from pm_agent.domain.envelope import Usage
from pm_agent.domain.ids import ProjectId, TaskId
from pm_agent.domain.ready_set import COLUMNS, Eligible, ReadyClass
from pm_agent.domain.time import HOUR_US, SECOND_US
from pm_agent.domain.world import World
from pm_agent.kernel.types import Policy

FACTS = (
    "skill_use",  # share of the agent's skills that the task needs, 0..1; 0.5 if it needs none
    "skill_margin",  # mean level above what is required, 0..1 (4 levels); 0.5 if it needs none
    "agent_level",  # mean level of the agent in the required skills, else in all of its skills
    "success",  # smoothed share of accepted attempts of this agent at this kind of task
    "load",  # work the agent would hold with this task, in 8-hour days per place
    "n_unblocks",  # tasks that wait for this one
    "critical_path_h",  # longest chain of estimated work behind it
    "n_dependencies",  # accepted dependencies whose results it can build on
    "priority",  # 0..3
    "age_h",  # since it was created
    "level",  # complexity 1..5
    "failures",  # failed attempts so far
)
DECIMALS = 4  # facts are rounded, so that the record recomputes to the same scores exactly
MAX_CLASSES = 32
MIN_PER_CLASS = 4
_C = {name: i for i, name in enumerate(COLUMNS)}
MINUTES_A_DAY = 480.0


class Shortlist(NamedTuple):
    task_ids: list[TaskId]
    facts: NDArray[np.float32]  # (n_tasks, n_facts)
    n_eligible: int  # ready tasks open to the agent, before the shortlist


def shortlist(
    world: World, agent: Agent, project_id: ProjectId | None, policy: Policy, now_us: int
) -> Shortlist | None:
    """Candidates for one agent with their facts, or None when there are none."""
    eligible = world.ready.eligible(agent.signature)
    classes = _open_classes(world, eligible, project_id)
    if not classes:
        return None
    n_eligible = sum(map(len, classes))
    if len(classes) > MAX_CLASSES:  # keep the classes whose first task goes first
        classes = sorted(classes, key=lambda c: c.entries[0])[:MAX_CLASSES]
    per_class = max(MIN_PER_CLASS, policy.shortlist // len(classes))
    slots: list[int] = []
    sizes: list[int] = []
    for ready_class in classes:
        head = ready_class.head_slots(per_class)
        slots += head
        sizes.append(len(head))
    rows = world.ready.columns[slots]  # (n_tasks, n_columns)
    task_ids = world.ready.task_ids
    ids = [task_ids[slot] for slot in slots]
    keep = _allowed(world, agent, classes, sizes, rows, policy)
    if keep is not None:
        rows = rows[keep]
        if not len(rows):
            return None
        ids = [task_id for task_id, kept in zip(ids, keep, strict=True) if kept]
    fits = eligible.fits
    for ready_class in classes:
        if ready_class.number not in fits:
            fits[ready_class.number] = _fit(agent.signature, ready_class)
    fit = np.repeat([fits[c.number] for c in classes], sizes, axis=0)  # (n_tasks, 3)
    facts = _facts(world, agent, fit if keep is None else fit[keep], rows, now_us)
    return Shortlist(ids, facts, n_eligible)


def _open_classes(
    world: World, eligible: Eligible, project_id: ProjectId | None
) -> list[ReadyClass]:
    classes = [c for c in eligible.classes if c.entries]
    if project_id is not None:
        classes = [c for c in classes if c.key[0] == project_id]
    closed = {p for p in {c.key[0] for c in classes} if _is_closed(world, p)}
    return [c for c in classes if c.key[0] not in closed] if closed else classes


def _is_closed(world: World, project_id: ProjectId) -> bool:
    project = world.projects[project_id]
    if project.holds:
        return True
    return bool(project.max_in_progress) and (
        world.n_leased(project_id) >= project.max_in_progress
    )


def _allowed(  # noqa: PLR0913 - the parts of one shortlist
    world: World,
    agent: Agent,
    classes: list[ReadyClass],
    sizes: list[int],
    rows: NDArray[np.float64],
    policy: Policy,
) -> NDArray[np.bool_] | None:
    """Mask of candidates that caps and the last failure allow; None when all are."""
    keep: NDArray[np.bool_] | None = None
    last_agents = rows[:, _C["last_agent"]]
    number = world.agent_numbers[agent.id]
    if last_agents.any():
        mine = last_agents == number
        if mine.any():  # not the same agent twice in a row, unless nobody else can do it
            others = np.repeat([_others_can(world, agent, c) for c in classes], sizes)
            keep = ~(mine & others)
    left = [_left(world, c.key[0]) for c in classes]
    if any(budget is not None for budget in left):
        minutes = rows[:, _C["estimate_min"]]
        minutes = np.where(minutes > 0, minutes, policy.default_estimate_min)
        tokens = minutes * policy.tokens_per_estimated_min
        inf = (np.inf, np.inf)
        room = np.repeat([budget or inf for budget in left], sizes, axis=0)  # (n_tasks, 2)
        fits = (tokens <= room[:, 0]) & (tokens * policy.microusd_per_token <= room[:, 1])
        keep = fits if keep is None else keep & fits
    return keep


def _others_can(world: World, agent: Agent, ready_class: ReadyClass) -> bool:
    return any(
        ready_class.admits(signature) and (len(ids) > 1 or agent.id not in ids)
        for signature, ids in world.signatures.items()
        if ids
    )


def _left(world: World, project_id: ProjectId) -> tuple[float, float] | None:
    """Tokens and micro-dollars that the project may still promise; None without caps."""
    project = world.projects[project_id]
    if not project.token_cap and not project.cost_cap_microusd:
        return None
    used, inf = project.usage, float("inf")
    tokens = project.token_cap - used.tokens - world.reserved_tokens[project_id]
    cost = project.cost_cap_microusd - used.cost_microusd - world.reserved[project_id]
    return (
        float(tokens) if project.token_cap else inf,
        float(cost) if project.cost_cap_microusd else inf,
    )


def predicted_usage(policy: Policy, estimate_min: int) -> Usage:
    """What a task is expected to use; reserved by its claim."""
    minutes = estimate_min or policy.default_estimate_min
    tokens = minutes * policy.tokens_per_estimated_min
    return Usage(tokens, tokens * policy.microusd_per_token)


def _facts(
    world: World,
    agent: Agent,
    fit: NDArray[np.float64],  # (n_tasks, 3)
    rows: NDArray[np.float64],  # (n_tasks, n_columns)
    now_us: int,
) -> NDArray[np.float32]:
    facts = np.empty((len(rows), len(FACTS)))
    facts[:, 0:3] = fit
    facts[:, 3] = _success(world, agent, rows[:, _C["kind"]])
    held_min = sum(world.tasks[t].estimate_min for t in agent.active)
    facts[:, 4] = (rows[:, _C["estimate_min"]] + held_min) / (MINUTES_A_DAY * agent.capacity)
    facts[:, 5] = rows[:, _C["n_unblocks"]]
    facts[:, 6] = rows[:, _C["critical_path_min"]] / 60.0
    facts[:, 7] = rows[:, _C["n_dependencies"]]
    facts[:, 8] = rows[:, _C["priority"]]
    facts[:, 9] = (now_us / SECOND_US - rows[:, _C["created_s"]]) * (SECOND_US / HOUR_US)
    facts[:, 10] = rows[:, _C["level"]]
    facts[:, 11] = rows[:, _C["failures"]]
    return np.round(facts, DECIMALS).astype(np.float32)


def _fit(signature: Signature, ready_class: ReadyClass) -> tuple[float, float, float]:
    """``skill_use``, ``skill_margin`` and ``agent_level`` of an agent for a ready class."""
    skills, required = signature[0], ready_class.key[1]
    if not required:
        mean = sum(s.level for s in skills) / len(skills) if skills else 1.0
        return 0.5, 0.5, mean
    levels = {s.name: s.level for s in skills}
    own = sum(levels[s.name] for s in required) / len(required)
    asked = sum(s.level for s in required) / len(required)
    return len(required) / len(skills), (own - asked) / 4.0, own


def _success(world: World, agent: Agent, kinds: NDArray[np.float64]) -> NDArray[np.float64]:
    records = world.track_records.get(agent.id)
    if not records:
        return np.full(len(kinds), 0.5)
    by_number = np.full(len(world.kind_numbers), 0.5)
    for kind, record in records.items():
        by_number[world.kind_numbers[kind]] = record.success
    return by_number[kinds.astype(np.intp)]


def named(facts: tuple[float, ...]) -> Iterator[tuple[str, float]]:
    """Pairs of a fact's name and value, for people."""
    return zip(FACTS, facts, strict=True)
