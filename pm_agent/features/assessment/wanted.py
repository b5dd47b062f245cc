"""Which tasks want an assessment, and which of them first. Runs beside the coordinator too."""

from collections.abc import Iterable
from heapq import nsmallest

from pm_agent.domain.ids import ProjectId
from pm_agent.domain.task import Task
from pm_agent.domain.world import World
from pm_agent.kernel.effects import AssessTasks, Effect

# Of a project under way at once, and so in one commit: an import of 10,000 tasks asks for no more
# than one of 10.
AT_ONCE = 32
OPEN = frozenset({"open", "assigned", "blocked"})


def is_wanted(task: Task) -> bool:
    """Whether nobody has said both how long and how hard it is, and it is still to be done."""
    is_said = bool(task.estimate_min and task.complexity)
    return task.assessment is None and not is_said and task.state in OPEN


def most_wanted(world: World, project_id: ProjectId) -> list[Task]:
    """Tasks to assess next: what can start first, then by urgency and age; at most `AT_ONCE`."""
    wanted = (t for t in world.tasks.values() if t.project_id == project_id and is_wanted(t))
    return nsmallest(AT_ONCE, wanted, key=lambda t: (t.waiting_on > 0, -t.priority, t.number))


def is_under_way(pending: Iterable[Effect], project_id: ProjectId) -> bool:
    """Whether the project's last request has no answer yet."""
    return any(
        isinstance(effect.want, AssessTasks) and effect.want.project_id == project_id
        for effect in pending
    )
