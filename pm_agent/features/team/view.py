"""What people and agents read of agents: what each holds, can do and has done."""

from collections.abc import Iterable
from typing import Any

from msgspec import field, structs

from pm_agent.domain.agent import Agent
from pm_agent.domain.errors import InvalidInput
from pm_agent.domain.ids import AgentId, ProjectId, TaskId
from pm_agent.domain.message import EMPTY_INBOX
from pm_agent.domain.subscription import Subscription
from pm_agent.domain.task import PRIORITIES, Skill
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_agent, require_project
from pm_agent.kernel.leases import lease_state, worst
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import Result

MICRO = 1_000_000


class HeldTask(Result, frozen=True, kw_only=True):
    """A task that an agent holds."""

    task_id: str
    title: str
    state: str
    lease_token: int
    percent: int
    granted_at: str
    heard_at: str
    lease_state: str = ""  # live, quiet, suspect or lost; empty while the coordinator is away


class TrackView(Result, frozen=True, kw_only=True):
    """Recent outcomes on one kind of task; older ones count less and less."""

    accepted: float
    failed: float
    success: float  # smoothed share of accepted attempts, 0..1
    duration_min: float  # mean of accepted attempts


class AgentItem(Result, frozen=True, kw_only=True):
    """An agent in a list."""

    agent_id: str
    name: str
    role: str
    kind: str
    state: str  # held, full, working, free or left
    capacity: int
    lease_state: str = ""  # the worst of its leases: live, quiet, suspect or lost; empty: none
    skills: list[Skill] = field(default_factory=list)
    project_ids: list[str] = field(default_factory=list)
    active_tasks: list[str] = field(default_factory=list)


class AgentPage(Result, frozen=True, kw_only=True):
    """A page of agents."""

    agents: list[AgentItem]
    next_cursor: str = ""  # empty on the last page


class SubscriptionView(Result, frozen=True, kw_only=True):
    """A standing filter; empty fields filter nothing."""

    subscription_id: str
    skills: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    project_ids: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    min_priority: str = PRIORITIES[0]
    webhook_host: str = ""
    dead_pushes: list[str] = field(default_factory=list)  # the newest that were given up, and why


class AgentStatus(AgentItem, frozen=True, kw_only=True):
    """One agent with its work and its record."""

    registered_at: str
    sends_heartbeats: bool
    tasks: list[HeldTask] = field(default_factory=list)
    in_review: list[str] = field(default_factory=list)
    track_record: dict[str, TrackView] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    subscriptions: list[SubscriptionView] = field(default_factory=list)
    unread_messages: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


def agent_status(world: World, agent_id: AgentId, signs: Signs | None = None) -> AgentStatus:
    """Return one agent with its work and its record.

    Raises
    ------
    UnknownAgent
    """
    agent = require_agent(world, agent_id)
    return AgentStatus(
        **_fields(agent),
        lease_state=_worst_lease(world, agent.active, signs),
        registered_at=iso(agent.registered_at_us),
        sends_heartbeats=agent.sends_heartbeats,
        tasks=[_held(world, task_id, signs) for task_id in agent.active],
        in_review=[
            held.task_id
            for held in world.assignments.values()
            if held.agent_id == agent.id and world.tasks[held.task_id].state == "in_review"
        ],
        track_record={
            kind: TrackView(
                accepted=round(record.accepted, 2),
                failed=round(record.failed, 2),
                success=round(record.success, 3),
                duration_min=round(record.duration_min, 1),
            )
            for kind, record in world.track_records.get(agent.id, {}).items()
        },
        holds=[hold.kind for hold in agent.holds],
        subscriptions=[
            _subscription(world.subscriptions[s])
            for s in world.watchlists.of_agent.get(agent.id, ())
        ],
        unread_messages=len(world.inboxes.get(agent.id, EMPTY_INBOX).unread),
        tokens=agent.usage.tokens,
        cost_usd=agent.usage.cost_microusd / MICRO,
    )


def list_agents(
    world: World, *, project_id: ProjectId | None = None, cursor: str = "", limit: int = 20
) -> AgentPage:
    """Agents in the order of their registration, a page at a time.

    Raises
    ------
    UnknownProject, InvalidInput
    """
    if project_id is not None:
        require_project(world, project_id)
    if cursor and cursor not in world.agent_numbers:
        message = f"cursor: {cursor[:40]!r} is not a cursor."
        raise InvalidInput(message, "Send next_cursor of the page before, unchanged, or none.")
    after = world.agent_numbers.get(cursor, 0)
    items: list[AgentItem] = []
    for agent in world.agents.values():
        if world.agent_numbers[agent.id] <= after:
            continue
        if project_id is not None and agent.project_ids and project_id not in agent.project_ids:
            continue
        if len(items) == limit:
            return AgentPage(agents=items, next_cursor=items[-1].agent_id)
        items.append(AgentItem(**_fields(agent)))
    return AgentPage(agents=items)


def with_lease_states(world: World, page: AgentPage, signs: Signs | None) -> AgentPage:
    """Return the page with the worst state of each agent's leases."""
    agents = [
        structs.replace(item, lease_state=_worst_lease(world, item.active_tasks, signs))
        for item in page.agents
    ]
    return structs.replace(page, agents=agents)


def _worst_lease(world: World, task_ids: Iterable[TaskId], signs: Signs | None) -> str:
    leases = [(world.assignments[t], world.tasks[t]) for t in task_ids if t in world.assignments]
    if signs is None or not leases:
        return ""
    return worst(lease_state(held, task.state, signs, signs.now_us) for held, task in leases)


def _fields(agent: Agent) -> dict[str, Any]:
    return {
        "agent_id": agent.id,
        "name": agent.name,
        "role": agent.role,
        "kind": agent.kind,
        "state": _state(agent),
        "capacity": agent.capacity,
        "skills": list(agent.skills),
        "project_ids": list(agent.project_ids),
        "active_tasks": list(agent.active),
    }


def _subscription(known: Subscription) -> SubscriptionView:
    wanted = known.filter
    return SubscriptionView(
        subscription_id=known.id,
        skills=list(wanted.skills),
        labels=list(wanted.labels),
        project_ids=list(wanted.project_ids),
        paths=list(wanted.paths),
        min_priority=PRIORITIES[wanted.min_priority],
        webhook_host=known.webhook.host if known.webhook is not None else "",
        dead_pushes=[f"{d.task_id} at {iso(d.at_us)}: {d.reason}" for d in known.dead],
    )


def _state(agent: Agent) -> str:
    if agent.left_at_us:
        return "left"
    if agent.holds:
        return "held"
    if len(agent.active) >= agent.capacity:
        return "full"
    return "working" if agent.active else "free"


def _held(world: World, task_id: str, signs: Signs | None) -> HeldTask:
    task = world.tasks[task_id]
    held = world.assignments[task_id]
    return HeldTask(
        task_id=task_id,
        title=task.title,
        state=task.state,
        lease_token=held.lease_token,
        percent=held.percent,
        granted_at=iso(held.granted_at_us),
        heard_at=iso(held.heard_at_us),
        lease_state=_worst_lease(world, [task_id], signs),
    )
