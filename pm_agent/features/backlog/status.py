"""Where projects and the whole workspace stand: counts, who works on what, what stops it."""

from collections import Counter
from typing import Any

from msgspec import field

from pm_agent.domain.assignment import Assignment
from pm_agent.domain.blocker import Blocker
from pm_agent.domain.ids import AgentId, ProjectId, task_number
from pm_agent.domain.project import Project
from pm_agent.domain.task import Task
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.features.backlog.assessed import RiskyTask, assessment_view, risky
from pm_agent.features.backlog.gridlock import Standstill, standstills
from pm_agent.features.backlog.late import LateWork, newest_undecided
from pm_agent.features.backlog.search import TaskItem, task_item
from pm_agent.features.backlog.view import (
    CONCISE_ITEMS,
    MICRO,
    NOTICE,
    BlockerView,
    HoldView,
    Texts,
    blocker_view,
    hold_views,
    lease_state_of,
    text_of,
)
from pm_agent.kernel.fencing import require_project
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import Result


class ProjectItem(Result, frozen=True, kw_only=True):
    """A project in a list."""

    project_id: str
    name: str
    completion: str
    tasks: dict[str, int]  # by state; "ready" counts within "open"
    holds: list[HoldView] = field(default_factory=list)


class ProjectStatus(ProjectItem, frozen=True, kw_only=True):
    """Where a project stands."""

    notice: str
    created_at: str
    version: int = 0  # of its settings, for expected_version of update_project
    max_in_progress: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    token_cap: int = 0
    cost_cap_usd: float = 0.0
    reserved_tokens: int = 0  # promised to running work, and not used yet
    reserved_usd: float = 0.0
    working: list[TaskItem] = field(default_factory=list)
    blockers: list[BlockerView] = field(default_factory=list)
    in_review: list[str] = field(default_factory=list)
    dead_letter: list[str] = field(default_factory=list)
    standstills: list[Standstill] = field(default_factory=list)  # what keeps it from moving
    risky: list[RiskyTask] = field(default_factory=list)  # high risks of work now and next


class ProjectList(Result, frozen=True, kw_only=True):
    """All projects."""

    projects: list[ProjectItem]


class WorkspaceStatus(Result, frozen=True, kw_only=True):
    """The whole workspace at a glance."""

    workspace_id: str
    position: int
    epoch: int
    parked: int  # agents that wait for a task at this replica
    stale: bool  # the replica has lost the coordinator for now
    agents: int
    agents_working: int
    open_blockers: int
    suspect: list[str]  # newest tasks whose holder has been silent longer than allowed
    tasks: dict[str, int]
    projects: list[ProjectItem]
    holds: list[HoldView] = field(default_factory=list)
    late_work: list[LateWork] = field(default_factory=list)  # newest that waits for a person


def project_status(
    world: World, identifier: ProjectId, texts: Texts, signs: Signs | None = None
) -> ProjectStatus:
    """Return where a project stands: counts, who works on what, what stops it.

    Raises
    ------
    UnknownProject
    """
    project = require_project(world, identifier)
    leased = [world.tasks[t] for t in world.assignments if world.tasks[t].project_id == identifier]
    return ProjectStatus(
        **_project_fields(project, count_tasks(world, project)),
        notice=NOTICE,
        created_at=iso(project.created_at_us),
        version=project.version,
        max_in_progress=project.max_in_progress,
        tokens=project.usage.tokens,
        cost_usd=project.usage.cost_microusd / MICRO,
        token_cap=project.token_cap,
        cost_cap_usd=project.cost_cap_microusd / MICRO,
        reserved_tokens=world.reserved_tokens[identifier],
        reserved_usd=world.reserved[identifier] / MICRO,
        working=[task_item(world, t, signs) for t in leased if t.state != "in_review"],
        blockers=[blocker_view(b, texts) for b in open_blockers(world, identifier)],
        in_review=[t.id for t in leased if t.state == "in_review"],
        dead_letter=_dead_letters(world, identifier),
        standstills=standstills(world, project),
        risky=[_risky(task, texts) for task in risky(world, identifier)],
    )


def _risky(task: Task, texts: Texts) -> RiskyTask:
    found = task.assessment
    assert found is not None, task
    worst = assessment_view(found, text_of(texts, found.text)).risks[0]
    return RiskyTask(task_id=task.id, title=task.title, risk=worst)


def project_refs(world: World, identifier: ProjectId) -> list[str]:
    """References of all texts that a project's status shows."""
    require_project(world, identifier)
    refs: list[str | None] = []
    for blocker in open_blockers(world, identifier):
        refs += [blocker.description, blocker.step.text if blocker.step else None]
    refs += [task.assessment.text for task in risky(world, identifier) if task.assessment]
    return [ref for ref in refs if ref]


def list_projects(world: World) -> ProjectList:
    """Return all projects with their tasks by state."""
    return ProjectList(projects=_project_items(world))


def project_holders(world: World, identifier: ProjectId) -> list[AgentId]:
    """Agents that hold tasks of a project."""
    return [
        held.agent_id
        for held in world.assignments.values()
        if world.tasks[held.task_id].project_id == identifier
    ]


def suspected(world: World) -> list[Assignment]:
    """Leases that were suspect once; whether they still are, later signs of life tell."""
    held = world.assignments.values()
    return [a for a in held if a.agent_suspected_us or a.task_suspected_us]


def workspace_status(
    world: World, *, parked: int, is_stale: bool, signs: Signs | None = None
) -> WorkspaceStatus:
    """Return the whole workspace at a glance."""
    projects = _project_items(world)
    total: Counter[str] = Counter()
    for project in projects:
        total.update(project.tasks)
    agents = world.agents.values()
    return WorkspaceStatus(
        workspace_id=world.tables.workspace_id,
        position=world.position,
        epoch=world.tables.epoch,
        parked=parked,
        stale=is_stale,
        agents=len(agents),
        agents_working=sum(bool(agent.active) for agent in agents),
        open_blockers=sum(b.is_open for b in world.blockers.values()),
        suspect=[
            held.task_id
            for held in suspected(world)
            if lease_state_of(world, held.task_id, signs) in ("suspect", "lost")
        ][-CONCISE_ITEMS:],
        tasks=dict(total),
        projects=projects,
        holds=hold_views(world.tables.workspace_holds),
        late_work=newest_undecided(world),
    )


def count_tasks(world: World, project: Project) -> dict[str, int]:
    """Tasks of a project by state, without those at zero; "ready" counts within "open"."""
    counts = {state: n for state, n in world.counts[project.id].items() if n}
    if not (project.holds or world.tables.workspace_holds):
        ready = sum(
            len(c.entries) for key, c in world.ready.classes.items() if key[0] == project.id
        )
        if ready:
            counts["ready"] = ready
    return counts


def open_blockers(world: World, identifier: ProjectId) -> list[Blocker]:
    """Blockers of a project that wait for an answer."""
    return [
        b
        for b in world.blockers.values()
        if b.is_open and world.tasks[b.task_id].project_id == identifier
    ]


def _dead_letters(world: World, identifier: ProjectId) -> list[str]:
    if not world.counts[identifier]["dead_letter"]:
        return []
    tasks = world.tasks.values()
    found = [t.id for t in tasks if t.state == "dead_letter" and t.project_id == identifier]
    return sorted(found, key=task_number)[-CONCISE_ITEMS:]


def _project_items(world: World) -> list[ProjectItem]:
    return [
        ProjectItem(**_project_fields(project, count_tasks(world, project)))
        for project in world.projects.values()
    ]


def _project_fields(project: Project, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "project_id": project.id,
        "name": project.name,
        "completion": project.completion,
        "tasks": counts,
        "holds": hold_views(project.holds),
    }
