"""Store what the writer wrote, if it is still wanted."""

from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import Forbidden
from pm_agent.domain.instruction import (
    AbandonEffect,
    EffectAbandoned,
    InstructionsWritten,
    StoreInstructions,
)
from pm_agent.domain.model_call import BY_RULES
from pm_agent.domain.world import World
from pm_agent.kernel.caps import after_usage
from pm_agent.kernel.effects import WriteInstructions
from pm_agent.kernel.types import Context, Decision, Result


class EffectResult(Result, frozen=True, kw_only=True):
    """Whether the answer was still wanted."""

    effect_id: str
    stored: bool


def store(world: World, command: StoreInstructions, context: Context) -> Decision:
    """Keep instructions, unless they come late or a second time."""
    if command.principal.kind != "system":
        message = "Only the system stores instructions."
        raise Forbidden(message)
    text = context.body(command.text)
    wanted = context.pending_effects.get(command.effect_id)
    is_wanted = wanted is not None and isinstance(wanted.want, WriteInstructions)
    if not is_wanted or text is None:  # late, or a second time
        return Decision(result=EffectResult(effect_id=command.effect_id, stored=False))
    written = InstructionsWritten(
        effect_id=command.effect_id,
        task_id=command.task_id,
        lease_token=command.lease_token,
        text=text.ref,
        writer=command.writer,
        call=None if command.call == BY_RULES else command.call,
    )
    events: list[EventData] = [written]
    if command.call is not None:
        project_id = world.tasks[command.task_id].project_id
        events += after_usage(world, project_id, command.call.usage)
    result = EffectResult(effect_id=command.effect_id, stored=True)
    return Decision(events=events, bodies=[text], result=result)


def abandon(world: World, command: AbandonEffect, context: Context) -> Decision:
    """Give an effect up for good."""
    if command.principal.kind != "system":
        message = "Only the system abandons effects."
        raise Forbidden(message)
    result = EffectResult(effect_id=command.effect_id, stored=False)
    if command.effect_id not in context.pending_effects:
        return Decision(result=result)
    abandoned = EffectAbandoned(
        effect_id=command.effect_id, task_id=command.task_id, reason=command.reason
    )
    return Decision(events=[abandoned], result=result)
