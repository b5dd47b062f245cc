"""Caps: what is left of them; use that reaches one places a hold. Running work finishes."""

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


def left_of(world: World, project_id: ProjectId) -> tuple[float, float] | None:
    """Tokens and micro-dollars that the project may still promise; None without caps."""
    project = world.projects[project_id]
    if not project.token_cap and not project.cost_cap_microusd:
        return None
    used, inf = project.usage, float("inf")
    tokens = project.token_cap - used.tokens - world.reserved_tokens[project_id]
    cost = project.cost_cap_microusd - used.cost_microusd - world.reserved[project_id]
    return (
        float(tokens) if project.token_cap else inf,
        float(cost) if project.cost_cap_microusd else inf,
    )
