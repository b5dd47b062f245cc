"""Every assignment asks for its instructions."""

from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect, WriteInstructions, effect_of


def ask_for_instructions(
    event: Event, data: TaskAssigned | HandoffAccepted, world: World
) -> Effect:
    """Every assignment wants its text."""
    return effect_of(event, data.task_id, data.lease_token, WriteInstructions())


REACTORS = {TaskAssigned: ask_for_instructions, HandoffAccepted: ask_for_instructions}
