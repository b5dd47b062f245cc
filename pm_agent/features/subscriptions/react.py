"""A task that is offered to an agent with a webhook asks for the push."""

from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect, PushTask, effect_of


def push_offered(event: Event, data: TaskAssigned, world: World) -> Effect | None:
    """Want a push when the agent waits by a webhook."""
    if not data.is_offered or data.agent_id not in world.watchlists.hooked:
        return None
    return effect_of(event, data.task_id, data.lease_token, PushTask())


REACTORS = {TaskAssigned: push_offered}
