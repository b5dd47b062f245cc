"""Ask for assessments, a few at a time, and store what was found out while it still holds."""

from pm_agent.domain.assessment import (
    MAX_LEVEL,
    MAX_MINUTES,
    AssessmentDraft,
    AssessmentsRequested,
    RequestAssessments,
    StoreAssessments,
    TaskAssessed,
)
from pm_agent.domain.envelope import NO_USAGE, Body, Command, EventData
from pm_agent.domain.errors import Forbidden
from pm_agent.domain.instruction import EffectAbandoned
from pm_agent.domain.world import World
from pm_agent.features.assessment.wanted import AT_ONCE, is_under_way, is_wanted
from pm_agent.kernel.caps import after_usage
from pm_agent.kernel.effects import AssessTasks, Effect
from pm_agent.kernel.fencing import require_project
from pm_agent.kernel.types import Context, Decision, Result
from pm_agent.ports import MAX_LINE, MAX_LINES

# What a draft's text may be: a line for each risk and each reason.
MAX_TEXT = 2 * MAX_LINES * (2 * MAX_LINE + 2)


class AssessmentsResult(Result, frozen=True, kw_only=True):
    """How many tasks were asked about, or assessed."""

    count: int


def request(world: World, command: RequestAssessments, context: Context) -> Decision:
    """Ask about tasks that still want it, unless the project's last question is open."""
    _require_system(command)
    project = require_project(world, command.project_id)
    if is_under_way(context.pending_effects.values(), project.id):
        return Decision(result=AssessmentsResult(count=0))
    wanted = tuple(
        task_id
        for task_id in dict.fromkeys(command.task_ids)
        if (task := world.tasks.get(task_id)) is not None
        and task.project_id == project.id
        and is_wanted(task)
    )[:AT_ONCE]
    result = AssessmentsResult(count=len(wanted))
    if not wanted:
        return Decision(result=result)
    asked = AssessmentsRequested(project_id=project.id, task_ids=wanted)
    return Decision(events=[asked], result=result)


def store(world: World, command: StoreAssessments, context: Context) -> Decision:
    """Keep what was found out about tasks whose text has not changed since it was asked for."""
    _require_system(command)
    effect = context.pending_effects.get(command.effect_id)
    if effect is None or not isinstance(effect.want, AssessTasks):  # late, or a second time
        return Decision(result=AssessmentsResult(count=0))
    events: list[EventData] = []
    bodies: list[Body] = []
    used = NO_USAGE
    for draft in command.drafts:
        if _still_holds(world, effect, effect.want, draft):
            text = context.body(draft.text[:MAX_TEXT])
            bodies += [text] if text else []
            events.append(_assessed("" if command.is_part else command.effect_id, draft, text))
            used = used.plus(draft.call.usage)
    result = AssessmentsResult(count=len(events))
    if events:
        events += after_usage(world, effect.want.project_id, used)
    elif not command.is_part:
        reason = "none of its tasks wants an assessment any more"
        events = [EffectAbandoned(effect_id=command.effect_id, task_id="", reason=reason)]
    return Decision(events=events, bodies=bodies, result=result)


def _still_holds(world: World, effect: Effect, want: AssessTasks, draft: AssessmentDraft) -> bool:
    task = world.tasks.get(draft.task_id)
    if task is None or draft.task_id not in want.task_ids:
        return False
    return is_wanted(task) and task.text_version < effect.position


def _assessed(effect_id: str, draft: AssessmentDraft, text: Body | None) -> TaskAssessed:
    return TaskAssessed(
        effect_id=effect_id,
        task_id=draft.task_id,
        minutes=min(max(draft.minutes, 1), MAX_MINUTES),
        level=min(max(draft.level, 1), MAX_LEVEL),
        risks=draft.risks[:MAX_LINES],
        text=text.ref if text else None,
        call=draft.call,
    )


def _require_system(command: Command) -> None:
    if command.principal.kind != "system":
        message = "Only the system asks for assessments and stores them."
        raise Forbidden(message)
