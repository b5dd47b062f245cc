"""Completions: ids of what there is, for arguments of prompts and URIs of resources."""

from collections.abc import Iterable

from mcp_types import CompleteRequestParams, CompleteResult, Completion

from pm_agent.api.mcp.door import Context, Door
from pm_agent.domain.ids import ProjectId
from pm_agent.domain.world import World

MOST = 100  # values in one answer, as the protocol allows


class Completions:
    """Completes arguments by their name: the same id is meant wherever it is asked for."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def complete(self, context: Context, params: CompleteRequestParams) -> CompleteResult:
        """Return what begins with the value typed so far."""
        typed = params.argument.value.lower()
        known = _known(
            await self._door.world(),
            params.argument.name,
            self._door.grant(context).project_ids,
        )
        fitting = sorted(one for one in known if one.lower().startswith(typed))
        return CompleteResult(
            completion=Completion(
                values=fitting[:MOST], total=len(fitting), has_more=len(fitting) > MOST
            )
        )


def _known(world: World, argument: str, mine: frozenset[ProjectId]) -> Iterable[str]:
    """Ids that the sender may read; ``mine`` are the projects it is limited to, if any."""
    match argument:
        case "project_id":
            return mine or world.projects
        case "task_id":
            return (t.id for t in world.tasks.values() if not mine or t.project_id in mine)
        case "agent_id":
            return world.agents
        case "skills":
            return {skill.name for agent in world.agents.values() for skill in agent.skills}
        case _:
            return ()
