"""Take a portfolio manager's proposals; what no longer fits is left out."""

from pm_agent.domain.errors import Forbidden
from pm_agent.domain.task import CriticalPathsSet, SetCriticalPaths
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_project
from pm_agent.kernel.types import Context, Decision, Result


class PlanResult(Result, frozen=True, kw_only=True):
    """How many tasks changed."""

    project_id: str
    changed: int


def set_critical_paths(world: World, command: SetCriticalPaths, context: Context) -> Decision:
    """Take the minutes that still concern open tasks of the project."""
    if command.principal.role == "worker":
        message = "A worker agent cannot set planning hints."
        raise Forbidden(message)
    project = require_project(world, command.project_id)
    changed = {
        task_id: minutes
        for task_id, minutes in command.minutes.items()
        if (task := world.tasks.get(task_id)) is not None
        and task.project_id == project.id
        and not task.is_terminal
        and task.critical_path_min != minutes
    }
    result = PlanResult(project_id=project.id, changed=len(changed))
    if not changed:
        return Decision(result=result)
    event = CriticalPathsSet(project_id=project.id, minutes=changed)
    return Decision(events=[event], result=result)
