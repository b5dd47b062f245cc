"""The longest chain of estimated work that waits behind each task, and hints for idle agents."""

from pm_agent.domain.ids import ProjectId, TaskId
from pm_agent.domain.task import LEASED, Task
from pm_agent.domain.world import World

DEFAULT_ESTIMATE_MIN = 30
MIN_RETRY_S, MAX_RETRY_S = 2, 60


def critical_paths(world: World, project_id: ProjectId) -> dict[TaskId, int]:
    """Minutes of work on the longest chain behind each open task of a project.

    Longest path in a directed acyclic graph by one pass in reverse topological order; linear in
    tasks and dependencies. Only entries that differ from what the task has are returned.

    References
    ----------
    Critical path method: Kelley, Walker, "Critical-Path Planning and Scheduling", 1959.
    """
    behind: dict[TaskId, int] = {}
    for task in reversed(_topological(world, project_id)):
        waiting = world.dependants.get(task.id, {})
        behind[task.id] = max(
            (behind[w] + _minutes(world.tasks[w]) for w in waiting if w in behind), default=0
        )
    return {t: m for t, m in behind.items() if world.tasks[t].critical_path_min != m}


def retry_after_s(world: World, project_id: ProjectId) -> int:
    """Seconds after which an agent that found nothing should ask again.

    The mean time until one of the running tasks ends, by their estimates, if each is half done.
    """
    running = [task for task in _of_project(world, project_id) if task.state in LEASED]
    if not running:
        return MAX_RETRY_S
    mean_s = 60 * sum(map(_minutes, running)) / len(running) / 2
    return round(min(max(mean_s / len(running), MIN_RETRY_S), MAX_RETRY_S))


def _topological(world: World, project_id: ProjectId) -> list[Task]:
    tasks = {t.id: t for t in _of_project(world, project_id) if not t.is_terminal}
    missing = {i: sum(d in tasks for d in t.dependencies) for i, t in tasks.items()}
    order = [i for i, n in missing.items() if n == 0]
    for done in order:  # grows while it is read
        for waiting in world.dependants.get(done, {}):
            if waiting in missing:
                missing[waiting] -= 1
                if missing[waiting] == 0:
                    order.append(waiting)
    return [tasks[i] for i in order]


def _of_project(world: World, project_id: ProjectId) -> list[Task]:
    return [task for task in world.tasks.values() if task.project_id == project_id]


def _minutes(task: Task) -> int:
    return task.minutes or DEFAULT_ESTIMATE_MIN
