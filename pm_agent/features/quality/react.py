"""Work handed in under the ``command`` policy asks for its gate to run."""

from pm_agent.domain.assignment import CompletionSubmitted
from pm_agent.domain.envelope import Event
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect, RunGate, effect_of


def ask_for_gate(event: Event, data: CompletionSubmitted, world: World) -> Effect | None:
    """Work for a project with a command wants its verdict."""
    project = world.projects[world.tasks[data.task_id].project_id]
    if project.completion != "command":
        return None
    return effect_of(event, data.task_id, data.lease_token, RunGate(project.gate))


REACTORS = {CompletionSubmitted: ask_for_gate}
