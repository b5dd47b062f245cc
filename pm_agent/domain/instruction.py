"""Instructions: the text an agent gets with a task, written by a language model or by rules."""

from typing import TYPE_CHECKING

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import BodyRef, TaskId
from pm_agent.domain.model_call import ModelCall

if TYPE_CHECKING:
    from pm_agent.domain.world import World


class Instruction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    lease_token: int
    text: BodyRef
    writer: str  # "rules", or the model's name


class StoreInstructions(Command, frozen=True, kw_only=True):
    """The writer's answer to the effect that asked for it."""

    effect_id: str
    task_id: TaskId
    lease_token: int
    text: str
    writer: str
    call: ModelCall | None = None


class AbandonEffect(Command, frozen=True, kw_only=True):
    """The effect failed for good; it is not tried again."""

    effect_id: str
    task_id: TaskId
    reason: str


class InstructionsWritten(EventData, frozen=True, kw_only=True):
    effect_id: str
    task_id: TaskId
    lease_token: int
    text: BodyRef
    writer: str
    call: ModelCall | None = None  # None: written by rules, or before calls were recorded


class EffectAbandoned(EventData, frozen=True, kw_only=True):
    effect_id: str
    task_id: TaskId
    reason: str


def _written(world: "World", event: Event, data: InstructionsWritten) -> None:
    world.instructions[data.task_id] = Instruction(data.lease_token, data.text, data.writer)
    if data.call is not None:
        holder = world.assignments[data.task_id].agent_id
        world.count_usage(data.task_id, holder, data.call.usage)


def _abandoned(world: "World", event: Event, data: EffectAbandoned) -> None:
    """Leave the world as it is: the outbox alone forgets the effect."""


APPLY = {InstructionsWritten: _written, EffectAbandoned: _abandoned}
