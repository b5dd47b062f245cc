"""Work handed in under the ``command`` policy asks for its gate to run."""

from collections.abc import Iterable

from pm_agent.domain.assignment import CompletionSubmitted
from pm_agent.domain.envelope import Event
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect, RunGate, effect_of


def react(event: Event, world: World) -> Iterable[Effect]:
    data = event.data
    if isinstance(data, CompletionSubmitted):
        project = world.projects[world.tasks[data.task_id].project_id]
        if project.completion == "command":
            yield effect_of(event, data.task_id, data.lease_token, RunGate(project.gate))
