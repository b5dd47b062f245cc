"""What keeps a project from moving, with the reason and the remedy. Only tells; changes nothing.

Three things: tasks that wait for each other or for what will never come, tasks that nobody can do,
and agents that are idle although work exists. Linear in the agents, and in the project's tasks and
what they wait for.
"""

from math import isfinite

from msgspec import field

from pm_agent.domain.ids import ProjectId, TaskId, task_number
from pm_agent.domain.project import Project
from pm_agent.domain.task import Skill, Task
from pm_agent.domain.world import World
from pm_agent.kernel.caps import left_of
from pm_agent.kernel.types import Result

MAX_NAMED = 10  # tasks or agents named for one reason


class Standstill(Result, frozen=True, kw_only=True):
    """Something that keeps work from being done."""

    kind: str  # deadlock, dead_end, missing_skill, idle
    reason: str
    remedy: str
    task_ids: list[str] = field(default_factory=list)
    agent_ids: list[str] = field(default_factory=list)
    skills: list[str] = field(default_factory=list)  # as tasks name them, with their levels


def standstills(world: World, project: Project) -> list[Standstill]:
    """Everything that keeps a project's work from being done."""
    tasks = [t for t in world.tasks.values() if t.project_id == project.id and not t.is_terminal]
    return [
        *_waiting(world, tasks),
        *_missing_skills(world, project.id, tasks),
        *_idle(world, project),
    ]


def _waiting(world: World, tasks: list[Task]) -> list[Standstill]:
    """Circles of waiting, and waiting for what has ended without being accepted."""
    waits = _all_waits(world, tasks)
    found = []
    dead = {
        t.id: [d for d in waits[t.id] if d in world.tasks and world.tasks[d].is_terminal]
        for t in tasks
    }
    for task_id, ends in dead.items():
        if ends:
            state = world.tasks[ends[0]].state
            found.append(
                Standstill(
                    kind="dead_end",
                    reason=f"{task_id} waits for {ends[0]}, which is {state}.",
                    remedy=f"Reopen {ends[0]}, or take it out of the dependencies of {task_id}.",
                    task_ids=[task_id, ends[0]],
                )
            )
    circle = _circle(waits)
    if any(task.id in circle for task in tasks):
        found.append(
            Standstill(
                kind="deadlock",
                reason=f"These tasks wait for each other: {', '.join(circle[:MAX_NAMED])}.",
                remedy="Answer one of their blockers with resolve_blocker, or cut a dependency.",
                task_ids=circle[:MAX_NAMED],
            )
        )
    return found


def _all_waits(world: World, tasks: list[Task]) -> dict[TaskId, list[TaskId]]:
    """What tasks wait for, and what that waits for, in whichever project."""
    waits: dict[TaskId, list[TaskId]] = {}
    todo = list(tasks)
    while todo:
        task = todo.pop()
        if task.id not in waits and not task.is_terminal:
            waits[task.id] = _waits_for(world, task)
            todo += [world.tasks[t] for t in waits[task.id] if t in world.tasks]
    return waits


def _waits_for(world: World, task: Task) -> list[TaskId]:
    blockers = world.open_blockers(task.id)
    needed = [*task.dependencies, *(t for b in blockers for t in b.needs_task_ids)]
    return [t for t in dict.fromkeys(needed) if not world.is_accepted(t)]


def _circle(waits: dict[TaskId, list[TaskId]]) -> list[TaskId]:
    """Tasks that lie on circles of waiting, or between two: take away both loose ends."""
    left = dict(waits)
    while True:
        waited_for = {t for needed in left.values() for t in needed}
        kept = {
            task_id: still
            for task_id, needed in left.items()
            if task_id in waited_for and (still := [t for t in needed if t in left])
        }
        if kept == left:
            return sorted(left, key=task_number)
        left = kept


def _missing_skills(world: World, project_id: ProjectId, tasks: list[Task]) -> list[Standstill]:
    team = [a for a in world.agents.values() if not a.left_at_us]
    team = [a for a in team if not a.project_ids or project_id in a.project_ids]
    by_skills: dict[tuple[tuple[str, int], ...], list[TaskId]] = {}
    for task in tasks:
        by_skills.setdefault(tuple((s.name, s.level) for s in task.skills), []).append(task.id)
    found = []
    for needed, task_ids in by_skills.items():
        if any(_has(agent.skills, needed) for agent in team):
            continue
        found.append(
            Standstill(
                kind="missing_skill",
                reason=f"No agent has all the skills that {len(task_ids)} tasks need.",
                remedy="Register an agent that has them, or change the skills with update_task.",
                task_ids=task_ids[:MAX_NAMED],
                skills=[f"{name} {level}" for name, level in needed],
            )
        )
    return found


def _has(skills: tuple[Skill, ...], needed: tuple[tuple[str, int], ...]) -> bool:
    levels = {skill.name: skill.level for skill in skills}
    return all(levels.get(name, 0) >= level for name, level in needed)


def _idle(world: World, project: Project) -> list[Standstill]:
    """Agents without work although the project has ready tasks for them."""
    ready = [c for key, c in world.ready.classes.items() if key[0] == project.id and c.n]
    idle = [
        a
        for a in world.agents.values()
        if not a.active and not a.left_at_us and any(c.admits(a.signature) for c in ready)
    ]
    if not idle:
        return []
    held = [a.id for a in idle if a.holds]
    free = [a.id for a in idle if not a.holds]
    limit = project.max_in_progress
    if world.tables.workspace_holds or project.holds:
        why, remedy, who = (
            "the project or the workspace is on hold",
            "Lift it with lift_hold.",
            free,
        )
    elif limit and world.leased[project.id] >= limit:
        why, remedy, who = (
            f"the project allows {limit} tasks at a time",
            "Raise max_in_progress with update_project.",
            free,
        )
    elif left := left_of(world, project.id):
        why, remedy, who = (
            f"they do not ask for any, or no task fits what is left of the cap ({_amount(*left)})",
            "See that they run and call wait_for_task, or raise the cap with update_project.",
            free,
        )
    else:
        why, remedy, who = (
            "they do not ask for any",
            "See that they run and call wait_for_task.",
            free,
        )
    found = []
    for reason, advice, agents in (
        (why, remedy, who),
        ("they are on hold", "Lift it with lift_hold.", held),
    ):
        if agents:
            found.append(
                Standstill(
                    kind="idle",
                    reason=f"{len(agents)} agents are idle though work is ready: {reason}.",
                    remedy=advice,
                    agent_ids=agents[:MAX_NAMED],
                )
            )
    return found


def _amount(tokens: float, microusd: float) -> str:
    """What is left of one cap or two: of one that is not set there is no end."""
    tokens_left = [f"{tokens:,.0f} tokens"] if isfinite(tokens) else []
    money_left = [f"${microusd / 1e6:,.2f}"] if isfinite(microusd) else []
    return " and ".join(tokens_left + money_left)
