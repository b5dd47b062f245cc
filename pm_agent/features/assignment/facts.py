"""From the ready-set to numbers: a shortlist of candidates and one matrix of facts about them.

Nothing here scans the board. Each ready class gives its head, about 100 tasks in all, gathered when
it last changed; what concerns the agent is computed once a class or once a kind.
"""

from collections.abc import Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.agent import Agent
from pm_agent.domain.envelope import Usage
from pm_agent.domain.ids import ProjectId, TaskId, task_id
from pm_agent.domain.ready_set import (
    COLUMNS,
    LAST_AGENT,
    N_COLUMNS,
    NUMBER,
    RANK,
    Eligible,
    ReadyClass,
)
from pm_agent.domain.signature import Signature, levels_of
from pm_agent.domain.subscription import Watchlist
from pm_agent.domain.time import HOUR_US, MINUTE_US
from pm_agent.domain.world import World
from pm_agent.features.assignment.forecast_facts import rarity_of, write_forecast_facts
from pm_agent.kernel.caps import left_of
from pm_agent.kernel.types import Context, Policy

# First what follows from the agent and the class, then, where the ready-set's columns begin, what
# follows from the agent and the task, then the columns that are facts as they stand.
FACTS = (
    "skill_use",  # share of the agent's skills that the task needs, 0..1; 0.5 if it needs none
    "skill_margin",  # mean level above what is required, 0..1 (4 levels); 0.5 if it needs none
    "agent_level",  # mean level of the agent in the required skills, else in all of its skills
    "success",  # smoothed share of accepted attempts of this agent at this kind of task
    "load",  # work the agent would hold with this task, in 8-hour days per place
    "age_h",  # since it was created
    "n_unblocks",  # tasks that wait for this one
    "critical_path_h",  # longest chain of estimated work behind it
    "n_dependencies",  # accepted dependencies whose results it can build on
    "priority",  # 0..3
    "level",  # complexity 1..5
    "failures",  # failed attempts so far
)
MAX_CLASSES = 32
MIN_PER_CLASS = 4
N_FITS = len(FACTS) - len(COLUMNS)
assert FACTS[N_FITS + 3 :] == COLUMNS[3:], (FACTS, COLUMNS)
_SUCCESS, _LOAD, _AGE = (FACTS.index(name) for name in ("success", "load", "age_h"))
_KIND, _ESTIMATE, _CREATED = (
    COLUMNS.index(name) for name in ("kind", "estimate_min", "created_us")
)
MINUTES_A_DAY = 480.0
OTHERS_US = 20 * MINUTE_US  # as long as an agent that only makes requests may be silent


class Shortlist(NamedTuple):
    """Candidates of one agent with their facts."""

    numbers: NDArray[np.int32]  # (n_tasks,), of the tasks
    facts: NDArray[np.float32]  # (n_tasks, n_facts)
    n_eligible: int  # ready tasks open to the agent, before the shortlist
    first: int  # index of the task that has the lowest rank: whose turn it is by age and priority
    left_microusd: NDArray[np.float64] | None  # (n_tasks,), of the project's cap; None without caps

    def task_id(self, index: int) -> TaskId:
        return task_id(int(self.numbers[index]))


def shortlist(
    world: World,
    agent: Agent,
    project_id: ProjectId | None,
    context: Context,
    wanted: Sequence[Watchlist] | None = None,
) -> Shortlist | None:
    """Candidates for one agent with their facts, or None when there are none.

    ``wanted`` is what the agent watches for, when only that may be given to it.
    """
    ready = world.ready
    eligible = ready.eligible(agent.signature)
    classes = _open_classes(world, eligible, project_id)
    if wanted is not None:
        classes = [c for c in classes if any(c.key in one.by_class for one in wanted)]
    if not classes:
        return None
    n_eligible = sum([c.n for c in classes])
    if len(classes) > MAX_CLASSES:  # keep the classes whose first task goes first
        classes = sorted(classes, key=lambda c: c.entries[0])[:MAX_CLASSES]
    per_class = max(MIN_PER_CLASS, context.policy.shortlist // len(classes))
    found = _of_heads(world, agent, eligible, classes, n_eligible, per_class, context, wanted)
    n_failed = ready.failed_by[world.agent_numbers[agent.id]]
    if found is None and n_failed:  # perhaps it failed at all of the heads, and not behind them
        deeper = per_class + n_failed
        found = _of_heads(world, agent, eligible, classes, n_eligible, deeper, context, wanted)
    return found


def _of_heads(  # noqa: PLR0917 - parts of one shortlist
    world: World,
    agent: Agent,
    eligible: Eligible,
    classes: list[ReadyClass],
    n_eligible: int,
    per_class: int,
    context: Context,
    wanted: Sequence[Watchlist] | None,
) -> Shortlist | None:
    ready = world.ready
    if wanted is not None:
        heads = [ready.rows_of(_watched(c, wanted, per_class)) for c in classes]
    elif context.scorer.sees_shortest:
        heads = [
            (
                c.mixed if c.mixed and c.mixed.n_asked == per_class else ready.mixed(c, per_class)
            ).rows
            for c in classes
        ]
    else:
        heads = [
            (c.head if c.head and c.head.n_asked == per_class else ready.head(c, per_class)).rows
            for c in classes
        ]
    sizes = [len(head) for head in heads]
    rows = np.concatenate(heads) if len(heads) > 1 else heads[0]  # (n_tasks, n_columns + 3)
    fits = _fits(eligible, agent.signature, classes, sizes)
    room = _room(world, classes, sizes)
    keep = _allowed(world, agent, classes, sizes, rows, room, context)
    if keep is not None:
        if not keep.any():
            return None
        rows, fits = rows[keep], fits[keep]
        room = None if room is None else room[keep]
    n_facts = len(context.scorer.fact_names)
    facts = np.empty((len(rows), len(FACTS)), dtype=np.float32)
    if n_facts > len(FACTS):  # column by column, as forecasters read it
        facts = np.empty((n_facts, len(rows)), dtype=np.float32).T
    kinds = rows[:, _KIND].astype(np.intp)
    _write_facts(facts, world, agent, fits, rows, kinds, context.now_us)
    if n_facts > len(FACTS):
        rarity = _rarity(world, eligible, classes, sizes)
        rarity = rarity if keep is None else rarity[keep]
        write_forecast_facts(facts[:, len(FACTS) :], world, agent, rows, kinds, rarity)
    first = int(rows[:, RANK].argmin())
    left_microusd = None if room is None else room[:, 1]
    return Shortlist(rows[:, NUMBER].astype(np.int32), facts, n_eligible, first, left_microusd)


def _watched(ready_class: ReadyClass, wanted: Sequence[Watchlist], n: int) -> list[int]:
    """Slots of the first tasks of a class that one of the watchlists holds."""
    key = ready_class.key
    queues = [one.by_class[key] for one in wanted if key in one.by_class]
    first = dict.fromkeys(merge(*(islice(queue, n) for queue in queues)))  # each once
    return [entry.slot for entry in islice(first, n)]


def _open_classes(
    world: World, eligible: Eligible, project_id: ProjectId | None
) -> list[ReadyClass]:
    classes = [c for c in eligible.classes if c.n]
    if project_id is not None:
        classes = [c for c in classes if c.key[0] == project_id]
    if not world.limited:
        return classes
    closed = {p for p in {c.key[0] for c in classes} if _is_closed(world, p)}
    return [c for c in classes if c.key[0] not in closed] if closed else classes


def _is_closed(world: World, project_id: ProjectId) -> bool:
    project = world.projects[project_id]
    if project.holds:
        return True
    return bool(project.max_in_progress) and world.leased[project_id] >= project.max_in_progress


def _room(world: World, classes: list[ReadyClass], sizes: list[int]) -> NDArray[np.float64] | None:
    """Tokens and micro-dollars left to each candidate's project, (n_tasks, 2); None: no caps."""
    left = [left_of(world, c.key[0]) for c in classes] if world.limited else []
    if not any(left):
        return None
    return np.repeat([budget or (np.inf, np.inf) for budget in left], sizes, axis=0)


def _allowed(  # noqa: PLR0917 - the class by class view and the task by task view of one shortlist
    world: World,
    agent: Agent,
    classes: list[ReadyClass],
    sizes: list[int],  # tasks of each class
    rows: NDArray[np.float64],  # (n_tasks, n_columns + 3)
    room: NDArray[np.float64] | None,  # (n_tasks, 2), as `_room`
    context: Context,
) -> NDArray[np.bool_] | None:
    """Mask of candidates that caps and the last failure allow; None when all are."""
    keep: NDArray[np.bool_] | None = None
    ready, number, policy = world.ready, world.agent_numbers[agent.id], context.policy
    if ready.failed_by[number]:
        # Not the same agent twice in a row, unless nobody else can do it.
        others = np.repeat([_others_can(world, agent, c, context) for c in classes], sizes)
        keep = ~((rows[:, LAST_AGENT] == number) & others)
    if room is not None:
        minutes = rows[:, _ESTIMATE]
        minutes = np.where(minutes > 0, minutes, policy.default_estimate_min)
        tokens = minutes * policy.tokens_per_estimated_min
        fits = (tokens <= room[:, 0]) & (tokens * policy.microusd_per_token <= room[:, 1])
        keep = fits if keep is None else keep & fits
    return keep


def _others_can(world: World, agent: Agent, ready_class: ReadyClass, context: Context) -> bool:
    """Whether another agent could take these tasks.

    One that has been silent for long does not count, as little as one that has left: it may never
    come back, and the task would wait for it for ever.
    """
    heard_at, since_us = context.presence.heard_at, context.now_us - OTHERS_US
    agents = world.agents
    return any(
        ready_class.admits(signature)
        and any(i != agent.id and heard_at(i) >= since_us and not agents[i].left_at_us for i in ids)
        for signature, ids in world.signatures.items()
    )


def usage_by_rule(policy: Policy, estimate_min: int) -> Usage:
    """What a task is expected to use, by its estimate alone."""
    minutes = estimate_min or policy.default_estimate_min
    tokens = minutes * policy.tokens_per_estimated_min
    return Usage(tokens, tokens * policy.microusd_per_token)


def _write_facts(  # noqa: PLR0917 - as above
    facts: NDArray[np.float32],  # (n_tasks, n_facts or more), to be filled
    world: World,
    agent: Agent,
    fits: NDArray[np.float32],  # (n_tasks, n_fits)
    rows: NDArray[np.float64],  # (n_tasks, n_columns + 3)
    kinds: NDArray[np.intp],  # (n_tasks,), numbers of their kinds
    now_us: int,
) -> None:
    facts[:, :N_FITS] = fits
    facts[:, N_FITS : len(FACTS)] = rows[:, :N_COLUMNS]
    facts[:, _SUCCESS] = _success(world, agent, kinds)
    load = facts[:, _LOAD]
    load += world.held_min[agent.id]
    load *= 1 / (MINUTES_A_DAY * agent.capacity)
    # Instants need all 53 bits; only their difference fits the narrower matrix.
    facts[:, _AGE] = (now_us - rows[:, _CREATED]) / HOUR_US


def _fits(
    eligible: Eligible, signature: Signature, classes: list[ReadyClass], sizes: list[int]
) -> NDArray[np.float32]:
    """How the agent fits each candidate's class, (n_tasks, n_fits)."""
    layout = classes, sizes
    if eligible.fit is None or eligible.layout != layout:
        for ready_class in classes:
            if ready_class.number not in eligible.fits:
                eligible.fits[ready_class.number] = _fit(signature, ready_class)
        each = np.array([eligible.fits[c.number] for c in classes], dtype=np.float32)
        eligible.fit = each.repeat(sizes, axis=0)
        eligible.layout = layout
    return eligible.fit


def _rarity(
    world: World, eligible: Eligible, classes: list[ReadyClass], sizes: list[int]
) -> NDArray[np.float64]:
    """Agents there are for each that could do such a task, (n_tasks,)."""
    layout = classes, sizes
    known = eligible.rarity
    # What is known of who is able is thrown away when an agent comes or changes its skills.
    if known is None or known[0] is not world.able or known[1] != layout:
        each = [rarity_of(world, c) for c in classes]
        known = eligible.rarity = world.able, layout, np.repeat(each, sizes)
    return known[2]


def _fit(signature: Signature, ready_class: ReadyClass) -> tuple[float, float, float]:
    """``skill_use``, ``skill_margin`` and ``agent_level`` of an agent for a ready class."""
    skills, required = signature[0], ready_class.key[1]
    if not required:
        mean = sum(s.level for s in skills) / len(skills) if skills else 1.0
        return 0.5, 0.5, mean
    levels = levels_of(signature)
    own = sum(levels[s.name] for s in required) / len(required)
    asked = sum(s.level for s in required) / len(required)
    return len(required) / len(skills), (own - asked) / 4.0, own


def _success(world: World, agent: Agent, kinds: NDArray[np.intp]) -> NDArray[np.float64] | float:
    records = world.track_records.get(agent.id)
    if not records:
        return 0.5
    # Kinds lie in the order of their numbers.
    by_number = [records[k].success if k in records else 0.5 for k in world.kind_numbers]
    if len(by_number) == 1:
        return by_number[0]
    return np.array(by_number).take(kinds)
