"""To whom a running task passes, and when."""

from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import (
    CapacityExceeded,
    InvalidInput,
    NotCapable,
    OnHold,
    UnknownHandoff,
    WrongState,
)
from pm_agent.domain.handoff import (
    ExpireHandoff,
    Handoff,
    HandoffAccepted,
    HandoffDeclined,
    HandoffExpired,
    HandoffOffered,
    HandOffTask,
    RespondToHandoff,
)
from pm_agent.domain.ids import (
    handoff_id,
    number_of,
)
from pm_agent.domain.task import Task
from pm_agent.domain.time import SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.kernel.candidates import is_able
from pm_agent.kernel.fencing import require_member, require_running, require_self
from pm_agent.kernel.leases import attempt_budget_us, lease_until_us, silence_allowance_us
from pm_agent.kernel.mail import Letter, require_room, write_answer, write_letter
from pm_agent.kernel.types import Context, Decision, Result


class HandoffResult(Result, frozen=True, kw_only=True):
    """Where a handoff stands: offered, accepted, declined or expired.

    With 'accepted' the task is yours under this lease_token.
    """

    handoff_id: str
    task_id: str
    state: str
    until: str = ""
    lease_token: int = 0
    attempt: int = 0
    lease_until: str = ""
    next_step: str = ""


def offer(world: World, command: HandOffTask, context: Context) -> Decision:
    """Offer a running task to another agent; nothing changes before it says yes."""
    task, held = require_running(world, command.principal, command.task_id, command.lease_token)
    receiver = require_member(world, command.to)
    if receiver.id == held.agent_id:
        message = f"{receiver.id} holds {task.id} already."
        raise InvalidInput(message, "Name another agent in 'to'.")
    _require_able(receiver, task)
    require_room(world, receiver.id)
    if task.id in world.task_handoffs:
        message = f"{task.id} is offered already, by {world.task_handoffs[task.id]}."
        raise WrongState(message, "Wait for the answer; it comes as a message.")
    number = world.tables.handoffs_offered + 1
    until_us = context.now_us + command.answer_within_s * SECOND_US
    letter = write_letter(
        world,
        context,
        (receiver.id,),
        command.note,
        kind="handoff",
        urgency="urgent",  # it has a deadline, and somebody waits
        task_id=task.id,
        about_id=handoff_id(number),
    )
    offered = HandoffOffered(
        handoff_id=handoff_id(number),
        number=number,
        task_id=task.id,
        agent_id=held.agent_id,
        lease_token=held.lease_token,
        to=receiver.id,
        note=letter.body.ref,
        until_us=until_us,
        thread_id=letter.event.thread_id,
        where=command.where or held.where,
    )
    result = HandoffResult(
        handoff_id=offered.handoff_id,
        task_id=task.id,
        state="offered",
        until=iso(until_us),
        next_step="Keep the task until the answer comes as a message: it is still yours.",
    )
    return Decision(events=[offered, letter.event], bodies=[letter.body], result=result)


def respond(world: World, command: RespondToHandoff, context: Context) -> Decision:
    """Take a task over, or leave it with its giver."""
    known = _require_handoff(world, command.handoff_id)
    require_self(command.principal, known.receiver_id)
    receiver = require_member(world, known.receiver_id)
    if not command.accept:
        return _declined(world, command, context, known)
    task, held = world.tasks[known.task_id], world.assignments[known.task_id]
    _require_able(receiver, task)
    if receiver.holds:
        message = f"{receiver.id} is on hold, so it cannot take {task.id} over."
        raise OnHold(message)
    if len(receiver.active) >= receiver.capacity:
        message = f"{receiver.id} holds {len(receiver.active)} of {receiver.capacity} tasks."
        raise CapacityExceeded(message, "Finish or release a task first, then answer again.")
    accepted = HandoffAccepted(
        handoff_id=known.id,
        task_id=task.id,
        agent_id=receiver.id,
        giver_id=known.giver_id,
        lease_token=task.lease_token + 1,
        attempt=task.attempt + 1,
        silence_us=silence_allowance_us(
            receiver.id,
            context.presence,
            context.policy,
            sends_heartbeats=receiver.sends_heartbeats,
            earned_us=world.earned_silences.get(receiver.id, 0),
        ),
        budget_us=attempt_budget_us(context.policy, task.minutes),
        note=known.note,
        percent=held.percent,
        where=known.where,
        reserved=held.reserved.less(held.usage),  # what the giver did not use
    )
    released = TaskReleased(
        task_id=task.id,
        agent_id=known.giver_id,
        lease_token=held.lease_token,
        reason="handed_off",
        note=known.note,
    )
    words = f"{receiver.id} has taken {task.id} over."
    letter = _answer(world, context, known, words, said=command.note)
    result = HandoffResult(
        handoff_id=known.id,
        task_id=task.id,
        state="accepted",
        lease_token=accepted.lease_token,
        attempt=accepted.attempt,
        lease_until=iso(
            lease_until_us(accepted.silence_us, accepted.budget_us, context.now_us, context.now_us)
        ),
        next_step="Read get_task_context, then go on where the work lies.",
    )
    events: list[EventData] = [released, accepted, letter.event]
    # An agent that is full now must not be waited for.
    full = len(receiver.active) + 1 >= receiver.capacity
    return Decision(
        events=events,
        bodies=[letter.body],
        result=result,
        withdraw=receiver.id if full else None,
    )


def expire(world: World, command: ExpireHandoff, context: Context) -> Decision:
    """Leave a task with its giver when nobody has answered."""
    known = _require_handoff(world, command.handoff_id)
    result = HandoffResult(handoff_id=known.id, task_id=known.task_id, state="expired")
    if context.now_us < known.until_us:
        return Decision(result=result, check_again_us=known.until_us)
    expired = HandoffExpired(handoff_id=known.id, task_id=known.task_id, agent_id=known.receiver_id)
    words = f"{known.receiver_id} did not answer in time: {known.task_id} is still yours."
    letter = _answer(world, context, known, words)
    return Decision(events=[expired, letter.event], bodies=[letter.body], result=result)


def _declined(
    world: World, command: RespondToHandoff, context: Context, known: Handoff
) -> Decision:
    words = f"{known.receiver_id} does not take {known.task_id} over."
    letter = _answer(world, context, known, words, said=command.note)
    declined = HandoffDeclined(
        handoff_id=known.id,
        task_id=known.task_id,
        agent_id=known.receiver_id,
        note=letter.body.ref,
    )
    result = HandoffResult(handoff_id=known.id, task_id=known.task_id, state="declined")
    return Decision(events=[declined, letter.event], bodies=[letter.body], result=result)


def _require_handoff(world: World, identifier: str) -> Handoff:
    known = world.handoffs.get(identifier)
    if known is None:
        was = 0 < number_of(identifier) <= world.tables.handoffs_offered
        what = (
            "is over: it was answered or has expired, or the task went on"
            if was
            else ("does not exist")
        )
        message = f"The handoff {identifier[:40]} {what}."
        raise UnknownHandoff(message)
    return known


def _require_able(agent: Agent, task: Task) -> None:
    if not is_able(agent, task.project_id, task.skills):
        wanted = ", ".join(f"{s.name} {s.level}" for s in task.skills) or "no skill"
        message = f"{agent.id} cannot do {task.id}: it needs {wanted} in {task.project_id}."
        raise NotCapable(message)


def _answer(
    world: World, context: Context, known: Handoff, words: str, *, said: str = ""
) -> Letter:
    """Tell who gives what became of it."""
    return write_answer(
        world,
        context,
        known.giver_id,
        words,
        said=said,
        kind="handoff_answer",
        thread_id=known.thread_id,
        task_id=known.task_id,
        about_id=known.id,
    )
