"""Lists of tasks, and the search that makes them."""

from msgspec import field, structs

from pm_agent.domain.errors import InvalidInput
from pm_agent.domain.ids import ProjectId, task_id
from pm_agent.domain.task import PRIORITIES, Skill, Task
from pm_agent.domain.world import World
from pm_agent.features.backlog.assessed import worst_risk
from pm_agent.features.backlog.late import LateWork, undecided
from pm_agent.features.backlog.view import (
    NOTICE,
    inherited_priority,
    is_dispatchable,
    lease_state_of,
)
from pm_agent.kernel.fencing import require_agent, require_project
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import Result

# Tasks looked at in one search; 1.5 µs each were measured, so a query keeps the loop for 15 ms.
SCANNED = 10_000


class TaskItem(Result, frozen=True, kw_only=True):
    """A task in a list."""

    task_id: str
    project_id: str
    title: str
    state: str
    is_ready: bool
    priority: str
    kind: str
    labels: list[str] = field(default_factory=list)
    skills: list[Skill] = field(default_factory=list)
    dependencies: list[str] = field(default_factory=list)
    agent_id: str = ""
    lease_state: str = ""  # live, quiet, suspect or lost, when an agent holds it
    inherited_priority: str = ""  # that of more urgent work which waits for it; empty: none
    percent: int = 0
    holds: list[str] = field(default_factory=list)
    dead_because: str = ""  # why it is a dead letter
    complexity: int = 1  # 1..5: as given, else from the estimate, else as assessed
    minutes: int = 0  # of work: as given, else as assessed; 0: nobody has said
    risk: str = ""  # severity of the worst risk that was found
    late_work: list[LateWork] = field(default_factory=list)  # that waits for a person's verdict


class TaskPage(Result, frozen=True, kw_only=True):
    """A page of tasks."""

    notice: str
    tasks: list[TaskItem]
    next_cursor: str = ""  # empty on the last page


def search_tasks(
    world: World,
    *,
    query: str = "",
    state: str | None = None,
    project_id: ProjectId | None = None,
    label: str = "",
    agent_id: str | None = None,
    cursor: str = "",
    limit: int = 20,
) -> TaskPage:
    """Tasks in the order of their creation, a page at a time.

    At most `SCANNED` tasks are looked at, so a page may be short, or empty, and yet have a next.

    Raises
    ------
    UnknownProject, UnknownAgent, InvalidInput
        A filter names something that does not exist, or the cursor is not one of ours.
    """
    if project_id is not None:
        require_project(world, project_id)
    if agent_id is not None:
        require_agent(world, agent_id)
    words = query.lower().split()
    found: list[TaskItem] = []
    start = after_cursor(cursor)
    for number in range(start, min(world.next_task_number, start + SCANNED)):
        task = world.tasks.get(task_id(number))
        if task is None or (project_id is not None and task.project_id != project_id):
            continue
        if not _is_in_state(world, task, state) or (label and label not in task.labels):
            continue
        held = world.assignments.get(task.id)
        if agent_id is not None and (held is None or held.agent_id != agent_id):
            continue
        if words and not _has_words(task, words):
            continue
        found.append(task_item(world, task))
        if len(found) == limit:
            return TaskPage(notice=NOTICE, tasks=found, next_cursor=_cursor(world, number + 1))
    return TaskPage(notice=NOTICE, tasks=found, next_cursor=_cursor(world, start + SCANNED))


def with_lease_states(world: World, page: TaskPage, signs: Signs | None) -> TaskPage:
    """Return the page with the states of its tasks' leases."""
    tasks = [
        structs.replace(item, lease_state=lease_state_of(world, item.task_id, signs))
        for item in page.tasks
    ]
    return structs.replace(page, tasks=tasks)


def task_item(world: World, task: Task, signs: Signs | None = None) -> TaskItem:
    """Return a task as lists show it."""
    held = world.assignments.get(task.id)
    return TaskItem(
        task_id=task.id,
        project_id=task.project_id,
        title=task.title,
        state=task.state,
        is_ready=is_dispatchable(world, task),
        priority=PRIORITIES[task.priority],
        kind=task.kind,
        labels=list(task.labels),
        skills=list(task.skills),
        dependencies=list(task.dependencies),
        agent_id=held.agent_id if held else "",
        lease_state=lease_state_of(world, task.id, signs),
        inherited_priority=inherited_priority(world, task),
        percent=held.percent if held else 0,
        complexity=task.level,
        minutes=task.minutes,
        risk=worst_risk(task.assessment),
        holds=[hold.kind for hold in task.holds],
        dead_because=task.dead_because,
        late_work=undecided(world, task),
    )


def after_cursor(cursor: str) -> int:
    """Read the number at which a page starts: cursors are task ids without their letter."""
    if not cursor:
        return 1
    if not (cursor.isascii() and cursor.isdigit()):
        message = f"cursor: {cursor[:40]!r} is not a cursor."
        raise InvalidInput(message, "Send next_cursor of the page before, unchanged, or none.")
    return max(1, int(cursor))


def _cursor(world: World, number: int) -> str:
    return str(number) if number < world.next_task_number else ""


def _is_in_state(world: World, task: Task, state: str | None) -> bool:
    if state is None:
        return True
    return is_dispatchable(world, task) if state == "ready" else task.state == state


def _has_words(task: Task, words: list[str]) -> bool:
    text = " ".join((task.key, task.title, *task.labels)).lower()
    return all(word in text or word == task.id.lower() for word in words)
