"""Every request for assessments is one effect."""

from pm_agent.domain.assessment import AssessmentsRequested
from pm_agent.domain.envelope import Event
from pm_agent.domain.world import World
from pm_agent.kernel.effects import AssessTasks, Effect, effect_of


def ask_for_assessments(event: Event, data: AssessmentsRequested, world: World) -> Effect:
    """Wanted for the tasks themselves, so no attempt's end takes it back."""
    return effect_of(event, "", 0, AssessTasks(data.project_id, data.task_ids))


REACTORS = {AssessmentsRequested: ask_for_assessments}
