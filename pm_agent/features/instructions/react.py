"""Every assignment asks for its instructions."""

from collections.abc import Iterable

from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect, WriteInstructions, effect_of


def react(event: Event, world: World) -> Iterable[Effect]:  # noqa: ARG001
    data = event.data
    if isinstance(data, TaskAssigned):
        yield effect_of(event, data.task_id, data.lease_token, WriteInstructions())
