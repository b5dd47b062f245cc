"""Scans a whole world."""

from collections import Counter
from collections.abc import Iterator

from pm_agent.domain.ids import AgentId, MessageId, ProjectId, TaskId, number_of
from pm_agent.domain.message import MAX_INBOX
from pm_agent.domain.task import LEASED, TERMINAL
from pm_agent.domain.world import World
from pm_agent.kernel.invariants.indexes import check_indexes, nonzero
from pm_agent.kernel.invariants.promises import (
    CAPACITY,
    CONSERVATION,
    FENCED,
    MESSAGES,
    READY_SET,
    SINGLE_LEASE,
    Violation,
)

HELD: frozenset[str] = LEASED | {"in_review"}  # states in which a task may have an assignment


def check_world(world: World) -> list[Violation]:
    """Scan a whole world: linear in tasks, dependencies and agents.

    The ready-set holds tasks by their own state, dependencies and holds; holds of the workspace, a
    project or an agent keep a task back at dispatch, which `Watch` checks.
    """
    return [
        *_check_ready_set(world),
        *_check_cycles(world),
        *_check_conservation(world),
        *_check_assignments(world),
        *_check_reserved(world),
        *_check_messages(world),
        *check_indexes(world),
    ]


def _check_ready_set(world: World) -> Iterator[Violation]:
    done = {t.id for t in world.tasks.values() if t.state == "done"}
    ready = set()
    for task in world.tasks.values():
        waiting_on = sum(d not in done and not _is_buried_done(world, d) for d in task.dependencies)
        if task.waiting_on != waiting_on:
            detail = f"{task.id} waits for {waiting_on} tasks, counted {task.waiting_on}"
            yield Violation(READY_SET, detail)
        if task.state == "open" and not waiting_on and not task.holds:
            ready.add(task.id)
    kept = set(world.ready)
    if kept != ready:
        detail = f"missing {sorted(ready - kept)}, too many {sorted(kept - ready)}"
        yield Violation(READY_SET, detail)


def _is_buried_done(world: World, task_id: TaskId) -> bool:
    buried = world.tombstones.get(task_id)
    return buried is not None and buried.state == "done"


def _check_cycles(world: World) -> Iterator[Violation]:
    """Take away tasks that wait for none, until none is left; what stays is a cycle."""
    missing = {
        task.id: sum(d in world.tasks for d in task.dependencies) for task in world.tasks.values()
    }
    waiting: dict[TaskId, list[TaskId]] = {}
    for task in world.tasks.values():
        for dependency in task.dependencies:
            waiting.setdefault(dependency, []).append(task.id)
    free = [task_id for task_id, n in missing.items() if n == 0]
    for task_id in free:  # grows while it is read
        for other in waiting.get(task_id, ()):
            missing[other] -= 1
            if missing[other] == 0:
                free.append(other)
    if len(free) < len(world.tasks):
        stuck = sorted(set(world.tasks) - set(free))
        yield Violation(READY_SET, f"these tasks wait for each other: {stuck[:9]}")


def _check_conservation(world: World) -> Iterator[Violation]:
    counts: Counter[tuple[ProjectId, str]] = Counter()
    for task in world.tasks.values():
        counts[task.project_id, task.state] += 1
    for task_id, buried in world.tombstones.items():
        counts[buried.project_id, buried.state] += 1
        if buried.state not in TERMINAL or task_id in world.tasks:
            yield Violation(CONSERVATION, f"{task_id} has a tombstone but has not ended")
    if counts.total() != world.tables.tasks_created:
        detail = f"{world.tables.tasks_created} tasks created, {counts.total()} accounted for"
        yield Violation(CONSERVATION, detail)
    kept = {(p, s): n for p, states in world.counts.items() for s, n in states.items() if n}
    if kept != dict(counts):
        yield Violation(CONSERVATION, f"counts by state are {kept}, should be {dict(counts)}")


def _check_assignments(world: World) -> Iterator[Violation]:
    active: dict[AgentId, set[TaskId]] = {}
    for task_id, held in world.assignments.items():
        task = world.tasks.get(task_id)
        if task is None or task.state not in HELD:
            state = task.state if task else "unknown"
            yield Violation(SINGLE_LEASE, f"{task_id} is {state}, yet {held.agent_id} holds it")
            continue
        if (held.lease_token, held.attempt) != (task.lease_token, task.attempt):
            detail = f"{task_id}: assignment has token {held.lease_token}, task {task.lease_token}"
            yield Violation(FENCED, detail)
        if task.state in LEASED:
            active.setdefault(held.agent_id, set()).add(task_id)
    for task in world.tasks.values():
        if task.state in ("assigned", "in_review") and task.id not in world.assignments:
            yield Violation(SINGLE_LEASE, f"{task.id} is {task.state}, yet nobody holds it")
    for agent in world.agents.values():
        held_now = active.pop(agent.id, set())
        if set(agent.active) != held_now or len(agent.active) != len(held_now):
            detail = f"{agent.id} counts {agent.active} as active, should be {sorted(held_now)}"
            yield Violation(CAPACITY, detail)
    if active:
        yield Violation(SINGLE_LEASE, f"unknown agents hold tasks: {sorted(active)}")


def _check_reserved(world: World) -> Iterator[Violation]:
    tokens: Counter[ProjectId] = Counter()
    cost: Counter[ProjectId] = Counter()
    for held in world.assignments.values():
        left = held.reserved.less(held.usage)
        project_id = world.tasks[held.task_id].project_id
        tokens[project_id] += left.tokens
        cost[project_id] += left.cost_microusd
    if nonzero(world.reserved_tokens) != nonzero(tokens):
        yield Violation(CAPACITY, f"{world.reserved_tokens} tokens reserved, should be {tokens}")
    if nonzero(world.reserved) != nonzero(cost):
        yield Violation(CAPACITY, f"{world.reserved} micro-dollars reserved, should be {cost}")


def _check_messages(world: World) -> Iterator[Violation]:
    """Each message waits in as many inboxes as it counts, in the order in which it was sent."""
    n_unread: Counter[MessageId] = Counter()
    for agent_id, inbox in world.inboxes.items():
        n_unread.update(inbox.unread)
        numbers = [number_of(message_id) for message_id in inbox.unread]
        if numbers != sorted(set(numbers)) or not 0 < len(numbers) <= MAX_INBOX:
            yield Violation(MESSAGES, f"the inbox of {agent_id} holds {numbers}")
        urgent = sum(
            world.messages[m].urgency == "urgent" for m in inbox.unread if m in world.messages
        )
        if urgent != inbox.n_urgent or world.agents[agent_id].left_at_us:
            yield Violation(MESSAGES, f"the inbox of {agent_id} counts {inbox.n_urgent} urgent")
    counted = {message.id: message.n_unread for message in world.messages.values()}
    if counted != dict(n_unread):
        yield Violation(MESSAGES, f"messages wait {counted}, inboxes hold {dict(n_unread)}")
    for handoff in world.handoffs.values():
        held = world.assignments.get(handoff.task_id)
        if held is None or held.lease_token != handoff.lease_token:
            yield Violation(FENCED, f"{handoff.id} is of a lease of {handoff.task_id} that ended")
