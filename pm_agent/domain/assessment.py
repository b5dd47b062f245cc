"""Assessments: how long, hard and risky a task looks to a language model, or to rules."""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import BodyRef, ProjectId, TaskId
from pm_agent.domain.model_call import BY_RULES, ModelCall
from pm_agent.domain.severity import Severity

if TYPE_CHECKING:
    from pm_agent.domain.world import World

RiskKind = Literal["scope", "dependency", "skill", "security", "data", "quality", "other"]
MAX_LEVEL = 5
MAX_MINUTES = 2_400  # a week of eight-hour days; what takes longer is no task but a project


class RiskMark(msgspec.Struct, frozen=True, gc=False):
    """What sort of thing may go wrong; in which words stands in the assessment's text."""

    kind: RiskKind
    severity: Severity


class Assessment(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a task is believed to be, until its text changes."""

    minutes: int  # of a person's work, 1..MAX_MINUTES
    level: int  # complexity 1..MAX_LEVEL
    risks: tuple[RiskMark, ...] = ()  # the worst first
    text: BodyRef | None = None  # a line for each risk, then a line for each reason
    writer: str = BY_RULES.writer  # "rules", or the model's name
    stands_in: str = ""  # why rules judged in a model's place
    at_us: int = 0


class AssessmentDraft(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What was found out about one task."""

    task_id: TaskId
    minutes: int
    level: int
    risks: tuple[RiskMark, ...] = ()
    text: str = ""
    call: ModelCall = BY_RULES


class RequestAssessments(Command, frozen=True, kw_only=True):
    """Proposed by a portfolio manager: these tasks are worth a judgement now."""

    project_id: ProjectId
    task_ids: tuple[TaskId, ...]


class StoreAssessments(Command, frozen=True, kw_only=True):
    """The answer to the effect that asked for them."""

    effect_id: str
    drafts: tuple[AssessmentDraft, ...]
    is_part: bool = False  # more answers to this effect follow


class AssessmentsRequested(EventData, frozen=True, kw_only=True):
    project_id: ProjectId
    task_ids: tuple[TaskId, ...]


class TaskAssessed(EventData, frozen=True, kw_only=True):
    effect_id: str  # that it answers; empty: only a part of what was asked for
    task_id: TaskId
    minutes: int
    level: int
    risks: tuple[RiskMark, ...] = ()
    text: BodyRef | None = None
    call: ModelCall = BY_RULES


def assessment_of(data: TaskAssessed, at_us: int) -> Assessment:
    """What a task keeps of its assessment; the event alone has prompt and price."""
    return Assessment(
        minutes=data.minutes,
        level=data.level,
        risks=data.risks,
        text=data.text,
        writer=data.call.writer,
        stands_in=data.call.stands_in,
        at_us=at_us,
    )


def _requested(world: "World", event: Event, data: AssessmentsRequested) -> None:
    """Leave the world as it is: the outbox alone remembers what was asked for."""


def _assessed(world: "World", event: Event, data: TaskAssessed) -> None:
    replace = msgspec.structs.replace
    task, usage = world.tasks[data.task_id], data.call.usage
    project = world.projects[task.project_id]
    world.put_task(
        replace(task, assessment=assessment_of(data, event.at_us), usage=task.usage.plus(usage))
    )
    world.put_project(replace(project, usage=project.usage.plus(usage)))


APPLY = {AssessmentsRequested: _requested, TaskAssessed: _assessed}
