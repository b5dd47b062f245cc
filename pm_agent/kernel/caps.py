"""Caps: use that reaches a project's cap places a budget hold. Running work finishes."""

from pm_agent.domain.envelope import NO_USAGE, EventData, Usage
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.ids import ProjectId
from pm_agent.domain.project import cap_reached
from pm_agent.domain.world import World


def after_usage(world: World, project_id: ProjectId, added: Usage) -> list[EventData]:
    """Events that follow from more use by a project."""
    if added == NO_USAGE:
        return []
    project = world.projects[project_id]
    why = cap_reached(project, added)
    if not why or any(hold.kind == "budget" for hold in project.holds):
        return []
    return [HoldPlaced(scope="project", target_id=project_id, kind="budget", reason=why)]
