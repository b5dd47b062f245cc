"""Report and resolve blockers, and climb the ladder in between."""

from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.blocker import (
    AcknowledgeBlocker,
    Blocker,
    BlockerAcknowledged,
    BlockerAdvised,
    BlockerReported,
    BlockerResolved,
    CheckBlocker,
    ReportBlocker,
    ReportFix,
    ResolveBlocker,
    SettleBlockers,
    StepOutcome,
    StoreAdvice,
    as_reported,
    with_outcome,
)
from pm_agent.domain.envelope import Body, EventData
from pm_agent.domain.errors import Forbidden, InvalidInput, UnknownBlocker, WrongState
from pm_agent.domain.ids import BlockerId, TaskId, blocker_id
from pm_agent.domain.model_call import BY_RULES
from pm_agent.domain.task import LEASED, Task, normal_skills
from pm_agent.domain.world import World
from pm_agent.features.blockers.ladder import Choice, escalation, next_step
from pm_agent.features.blockers.memory import NEAR, case_of
from pm_agent.features.blockers.sketch import similarity, sketch
from pm_agent.features.blockers.steps import ended, resolved, take
from pm_agent.kernel.caps import after_usage
from pm_agent.kernel.fencing import require_lease, require_task
from pm_agent.kernel.types import Context, Decision, Result

# What an agent that holds the task does while a step is under way.
MEANWHILE: dict[str, str] = {
    "known_fix": "Something helped against similar blockers: read it in get_task_context under "
    "blockers, judge whether it fits, try it, and call report_fix.",
    "wait": "The work you need is under way. Keep heartbeating; you go on when it is done.",
    "retry": "Pause as long as the step says, try the same once more, and call report_fix.",
    "advice": "Advice comes: read get_task_context in a minute, try it, and call report_fix.",
    "escalate": "A person was asked. Keep heartbeating, and read get_task_context for the answer.",
    "ask_help": "Other agents were asked. Keep heartbeating, and read get_task_context for the "
    "answer; when one that came as a message helped, call report_fix and say in note what it was.",
    "reassign": "Another agent has what is missing and gets the task. Ask for another with "
    "request_next_task.",
    "split": "What is missing became a task of its own, and yours waits for it. Ask for another "
    "with request_next_task.",
}
GIVEN_BACK = "The task was given back. Ask for another with request_next_task."


class BlockerResult(Result, frozen=True, kw_only=True):
    """The blocker, its task, and what to do next."""

    blocker_id: str
    task_id: str
    state: str  # of the blocker: open or resolved
    task_state: str
    next_step: str
    step: str = ""  # what is being done about it


def report(world: World, command: ReportBlocker, context: Context) -> Decision:
    """Note what stops a task and begin to do something about it."""
    task, assignment = require_lease(world, command.principal, command.task_id, command.lease_token)
    if task.state not in LEASED:
        message = f"Task {task.id} is {task.state}: its work was handed in already."
        raise WrongState(message)
    _require_others(world, task, command.needs_task_ids)
    text = command.description.strip()
    description = context.body(text)
    if description is None:
        message = "A blocker needs a description."
        raise InvalidInput(message)
    number = world.next_blocker_number
    new_id = blocker_id(number)
    hashes = sketch(text)
    before = _comes_again(world, task, command, hashes)
    case_id = case_of(world, command.blocker_type, task.project_id, hashes)
    reported = BlockerReported(
        blocker_id=new_id,
        number=number,
        task_id=task.id,
        agent_id=assignment.agent_id,
        lease_token=assignment.lease_token,
        description=description.ref,
        severity=command.severity,
        blocker_type=command.blocker_type,
        sketch=hashes,
        case_id=before.case_id if before else case_id or new_id,
        needs_task_ids=tuple(dict.fromkeys(command.needs_task_ids)),
        needs_skills=normal_skills(command.needs_skills),
        recurs=before.id if before else "",
    )
    events: list[EventData] = []
    if before is not None:
        events.append(ended(before, before.unproven_step, "failed", None))
    events.append(reported)
    if command.release:
        events.append(
            TaskReleased(
                task_id=task.id,
                agent_id=assignment.agent_id,
                lease_token=assignment.lease_token,
                reason="blocked",
                note=description.ref,
            )
        )
    if before is not None:
        before = with_outcome(before, before.unproven_step, "failed", context.now_us)
    blocker = as_reported(reported, context.now_us, before)
    choice = next_step(world, blocker, context, is_held=not command.release)
    taken = take(world, blocker, choice, context, is_held=not command.release)
    is_over = any(isinstance(event, BlockerResolved) for event in taken.events)
    others = world.open_blockers(task.id)
    result = BlockerResult(
        blocker_id=new_id,
        task_id=task.id,
        state="resolved" if is_over else "open",
        task_state="blocked" if others or not is_over else "open",
        next_step=GIVEN_BACK if command.release else MEANWHILE[taken.kind],
        step=taken.kind,
    )
    return Decision(
        events=events + taken.events, bodies=[description, *taken.bodies], result=result
    )


def resolve(world: World, command: ResolveBlocker, context: Context) -> Decision:
    """Answer a blocker; with the last open one the task goes on."""
    blocker = _require_open(world, command.blocker_id)
    resolution = context.body(command.resolution.strip())
    if resolution is None:
        message = "A resolution says what to do now, or what was done."
        raise InvalidInput(message)
    event = BlockerResolved(
        blocker_id=blocker.id, task_id=blocker.task_id, resolution=resolution.ref
    )
    result = _resolved_result(
        world, blocker, "The agent sees the resolution in the task's context."
    )
    return Decision(events=[event], bodies=[resolution], result=result)


def report_fix(world: World, command: ReportFix, context: Context) -> Decision:
    """Hear whether the step under way has helped; if not, take the next one."""
    blocker = _require_open(world, command.blocker_id)
    require_lease(world, command.principal, blocker.task_id, command.lease_token)
    step = blocker.step
    if step is None or step.kind == "escalate" or (step.kind == "advice" and not step.text):
        message = f"Blocker {blocker.id} has no step under way that could have been tried."
        raise WrongState(message, "If you solved it yourself, say how with resolve_blocker.")
    note = context.body(command.note.strip())
    bodies = [note] if note else []
    if command.worked:
        text = step.text or (note.ref if note else None)
        is_answer = step.kind == "ask_help" and note is not None
        if text is None:
            body = context.body(f"The step “{step.kind}” helped.")
            assert body is not None, step
            bodies, text = [body], body.ref
        events = [resolved(blocker, step.number, text, is_proven=True, is_answer=is_answer)]
        result = _resolved_result(world, blocker, "Go on with the task.", step.kind)
        return Decision(events=events, bodies=bodies, result=result)
    return _after(world, blocker, "failed", note, context)


def acknowledge(world: World, command: AcknowledgeBlocker, context: Context) -> Decision:
    """Note that a person has seen it."""
    blocker = _require_open(world, command.blocker_id)
    step = blocker.step
    if step is None or not blocker.person_asked_us:
        message = f"Blocker {blocker.id} needs no person yet."
        raise WrongState(message, "Wait, or answer it now with resolve_blocker.")
    is_beside = step.kind != "escalate"  # then that step keeps its time
    event = BlockerAcknowledged(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        number=step.number,
        until_us=step.until_us if is_beside else context.now_us + context.policy.acknowledged_us,
    )
    next_step = "Answer it with resolve_blocker; you are asked again when that takes long."
    return Decision(events=[event], result=_open_result(world, blocker, step.kind, next_step))


def check(world: World, command: CheckBlocker, context: Context) -> Decision:
    """See whether the step under way has had its time; if so, take the next one."""
    blocker = world.blockers.get(command.blocker_id)
    if blocker is None or not blocker.is_open or world.tasks[blocker.task_id].is_terminal:
        return Decision(result=Result())
    step = blocker.step
    if step is None:
        is_held = blocker.task_id in world.assignments
        first = next_step(world, blocker, context, is_held=is_held)
        return _go_on(world, blocker, first, context)
    if step.number != command.number:  # it went on since
        return Decision(result=Result())
    if step.until_us > context.now_us and not command.is_vain:
        return Decision(result=Result(), check_again_us=step.until_us)
    if step.kind == "escalate":
        return _go_on(world, blocker, escalation(blocker, context), context)
    if step.kind == "retry" and blocker.task_id not in world.assignments:
        text = context.body("Its cause may be gone by now: try again.")
        assert text is not None, step
        events = [resolved(blocker, step.number, text.ref, is_proven=False)]
        return Decision(events=events, bodies=[text], result=Result())
    never_came = step.kind == "advice" and not step.text
    return _after(world, blocker, "superseded" if never_came else "no_answer", None, context)


def settle(world: World, command: SettleBlockers, context: Context) -> Decision:
    """A task ended: resolve what waited for it, and count what has helped it."""
    events: list[EventData] = []
    bodies: list[Body] = []
    if world.is_accepted(command.task_id):
        for known in world.task_blockers.get(command.task_id, ()):
            helped = world.blockers[known]
            if helped.unproven_step:
                events.append(ended(helped, helped.unproven_step, "worked", None))
    for waiting_id in world.awaited.get(command.task_id, ()):
        waiting = world.blockers[waiting_id]
        step = waiting.step
        waits = step is not None and step.kind == "wait"
        if all(world.is_accepted(t) for t in waiting.needs_task_ids):
            text = context.body(f"{', '.join(waiting.needs_task_ids)}: accepted.")
            assert text is not None, waiting
            bodies.append(text)
            number = step.number if step is not None and waits else 0
            events.append(resolved(waiting, number, text.ref, is_proven=True))
        elif step is not None and waits and not world.is_accepted(command.task_id):
            # It will not come. What is next is decided at once, blocker by blocker (`react.py`).
            events.append(ended(waiting, step.number, "failed", None))
    return Decision(events=events, bodies=bodies, result=Result())


def store_advice(world: World, command: StoreAdvice, context: Context) -> Decision:
    """Keep advice that is still wanted; where only a person can help, go to one at once."""
    if command.principal.kind != "system":
        message = "Only the system stores advice."
        raise Forbidden(message)
    blocker = world.blockers.get(command.blocker_id)
    text = context.body(command.text)
    step = blocker.step if blocker is not None else None
    if (
        command.effect_id not in context.pending_effects
        or blocker is None
        or not blocker.is_open
        or step is None
        or step.kind != "advice"
        or text is None
    ):
        return Decision(result=Result())
    goes_to_person = command.needs_person or blocker.task_id not in world.assignments
    now_us = context.now_us
    advised = BlockerAdvised(
        effect_id=command.effect_id,
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        number=step.number,
        text=text.ref,
        until_us=now_us if goes_to_person else now_us + context.policy.blocker_try_us,
        needs_person=command.needs_person,
        call=None if command.call == BY_RULES else command.call,
    )
    events: list[EventData] = [advised]
    task = world.tasks[blocker.task_id]
    events += after_usage(world, task.project_id, command.call.usage)
    if goes_to_person:  # who reads it there has the advice beside it
        advised_on = with_outcome(blocker, step.number, "superseded", now_us)
        events.append(ended(blocker, step.number, "superseded", None))
        onward = _go_on(world, advised_on, escalation(advised_on, context), context)
        events += onward.events
    return Decision(events=events, bodies=[text], result=Result())


def _after(
    world: World, blocker: Blocker, outcome: StepOutcome, note: Body | None, context: Context
) -> Decision:
    """End the step under way and take the next one."""
    step = blocker.step
    assert step is not None, blocker
    over = with_outcome(blocker, step.number, outcome, context.now_us)
    is_held = blocker.task_id in world.assignments
    onward = _go_on(world, over, next_step(world, over, context, is_held=is_held), context)
    onward.events.insert(0, ended(blocker, step.number, outcome, note))
    onward.bodies += [note] if note else []
    return onward


def _go_on(world: World, blocker: Blocker, choice: Choice, context: Context) -> Decision:
    """Take a step against a blocker that is known already."""
    is_held = blocker.task_id in world.assignments
    taken = take(world, blocker, choice, context, is_held=is_held)
    is_over = any(isinstance(event, BlockerResolved) for event in taken.events)
    if is_over:
        result = _resolved_result(world, blocker, MEANWHILE[taken.kind], taken.kind)
    else:
        result = _open_result(world, blocker, taken.kind, MEANWHILE[taken.kind])
    return Decision(events=taken.events, bodies=taken.bodies, result=result)


def _require_open(world: World, identifier: BlockerId) -> Blocker:
    blocker = world.blockers.get(identifier)
    if blocker is None:
        message = f"There is no blocker {identifier}."
        raise UnknownBlocker(message)
    if not blocker.is_open:
        message = f"Blocker {blocker.id} was resolved already."
        raise WrongState(message, "Nothing more to do.")
    return blocker


def _require_others(world: World, task: Task, task_ids: tuple[TaskId, ...]) -> None:
    for needed in task_ids:
        if needed == task.id:
            message = f"Task {task.id} cannot wait for itself."
            raise InvalidInput(message, "Name the task whose work is missing, or none.")
        if needed not in world.tombstones:
            require_task(world, needed)


def _comes_again(
    world: World, task: Task, command: ReportBlocker, hashes: tuple[int, ...]
) -> Blocker | None:
    """A blocker of this task that a step seemed to have ended, if this one is like it."""
    for known in reversed(world.task_blockers.get(task.id, ())):
        before = world.blockers[known]
        is_same_type = before.blocker_type == command.blocker_type
        if before.unproven_step and is_same_type and similarity(before.sketch, hashes) >= NEAR:
            return before
    return None


def _resolved_result(
    world: World, blocker: Blocker, next_step: str, step: str = ""
) -> BlockerResult:
    others = [b for b in world.open_blockers(blocker.task_id) if b.id != blocker.id]
    state = world.tasks[blocker.task_id].state
    if state == "blocked" and not others:
        is_kept = blocker.task_id in world.assignments and step not in ("reassign", "split")
        state = "assigned" if is_kept else "open"
    return BlockerResult(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        state="resolved",
        task_state=state,
        next_step=next_step,
        step=step,
    )


def _open_result(world: World, blocker: Blocker, step: str, next_step: str) -> BlockerResult:
    return BlockerResult(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        state="open",
        task_state=world.tasks[blocker.task_id].state,
        next_step=next_step,
        step=step,
    )
