"""Who may say what to whom, who helps, and to whom a task passes."""

import msgspec

from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import Assignment, TaskReleased
from pm_agent.domain.collaboration import (
    Collaboration,
    CollaborationAccepted,
    CollaborationDeclined,
    CollaborationExpired,
    CollaborationRequested,
    ExpireCollaboration,
    RequestCollaboration,
    RespondToCollaboration,
)
from pm_agent.domain.envelope import SYSTEM, Body, EventData, Usage
from pm_agent.domain.errors import (
    CapacityExceeded,
    InvalidInput,
    NotCapable,
    OnHold,
    UnknownCollaboration,
    UnknownHandoff,
    UnknownMessage,
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
    AgentId,
    MessageId,
    TaskId,
    collaboration_id,
    handoff_id,
    message_id,
    number_of,
)
from pm_agent.domain.message import (
    EMPTY_INBOX,
    AcknowledgeMessages,
    BroadcastUpdate,
    MessagesAcknowledged,
    MessageSent,
    SendMessage,
)
from pm_agent.domain.task import LEASED, Skill, Task, normal_skills
from pm_agent.domain.time import SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.kernel.candidates import best_agents, is_able
from pm_agent.kernel.fencing import require_lease, require_member, require_project, require_self
from pm_agent.kernel.leases import attempt_budget_us, lease_until_us, silence_allowance_us
from pm_agent.kernel.mail import Letter, is_full, name_of, require_room, write_letter
from pm_agent.kernel.types import Context, Decision, Result

# Asked at once. One may be away or say no; more than three would read a question that two of them
# answer in vain.
INVITED_AT_ONCE = 3
NAMED = 20  # agents that an answer names


class SentResult(Result, frozen=True, kw_only=True):
    """The message, and who will see it."""

    message_id: str
    thread_id: str
    delivered: int  # inboxes it is in
    missed: list[str] = []  # agents whose inbox was full; the first twenty


class AcknowledgedResult(Result, frozen=True, kw_only=True):
    """How many messages are not kept any more."""

    acknowledged: int


class CollaborationResult(Result, frozen=True, kw_only=True):
    """Where a request for help stands: open, accepted, declined or expired."""

    collaboration_id: str
    task_id: str
    state: str
    thread_id: str
    invited: list[str] = []
    until: str = ""
    next_step: str = ""


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


# -- messages -----------------------------------------------------------------------------------


def send(world: World, command: SendMessage, context: Context) -> Decision:
    """Put a message into one agent's inbox."""
    recipient = require_member(world, command.to)
    if command.principal.id == recipient.id:
        message = "to: an agent does not write to itself."
        raise InvalidInput(message, "Note it with report_task_progress or log_decision instead.")
    if command.task_id and command.task_id not in world.tasks:
        message = f"task_id: there is no task {command.task_id} that has not been archived."
        raise InvalidInput(message)
    require_room(world, recipient.id)
    return _sent(
        write_letter(
            world,
            context,
            (recipient.id,),
            command.text,
            urgency=command.urgency,
            thread_id=_thread_of(world, command.reply_to),
            task_id=command.task_id,
        )
    )


def broadcast(world: World, command: BroadcastUpdate, context: Context) -> Decision:
    """Put a message into the inbox of everybody it concerns."""
    audience = [a.id for a in _audience(world, command) if a.id != command.principal.id]
    if not audience:
        message = f"No other agent belongs to {command.audience} {command.target}".rstrip() + "."
        raise InvalidInput(message, "See list_agents for who is there.")
    return _sent(
        write_letter(
            world, context, audience, command.text, kind="broadcast", urgency=command.urgency
        )
    )


def acknowledge(world: World, command: AcknowledgeMessages, context: Context) -> Decision:
    """Take messages from an inbox. Those acknowledged before are passed over."""
    require_self(command.principal, command.agent_id)
    require_member(world, command.agent_id)
    waiting = set(world.inboxes.get(command.agent_id, EMPTY_INBOX).unread)
    for named in command.message_ids:
        if not 0 < number_of(named) <= world.tables.messages_sent:
            message = f"There is no message {named[:40]}."
            raise UnknownMessage(message)
    read = tuple(dict.fromkeys(m for m in command.message_ids if m in waiting))
    events: list[EventData] = []
    if read:
        events.append(MessagesAcknowledged(agent_id=command.agent_id, message_ids=read))
    return Decision(events=events, result=AcknowledgedResult(acknowledged=len(read)))


def _sent(letter: Letter) -> Decision:
    event = letter.event
    result = SentResult(
        message_id=event.message_id,
        thread_id=event.thread_id,
        delivered=len(event.recipients),
        missed=list(event.missed[:NAMED]),
    )
    return Decision(events=[event], bodies=[letter.body], result=result)


def _thread_of(world: World, reply_to: MessageId) -> MessageId:
    """Thread of the message that is answered. One that has left the world names it itself."""
    if not reply_to:
        return ""
    known = world.messages.get(reply_to)
    if known is not None:
        return known.thread_id
    if not 0 < number_of(reply_to) <= world.tables.messages_sent:
        message = f"There is no message {reply_to[:40]}."
        raise UnknownMessage(message, "Leave reply_to out to begin a new thread.")
    return reply_to


def _audience(world: World, command: BroadcastUpdate) -> list[Agent]:
    members = [a for a in world.agents.values() if not a.left_at_us]
    if command.audience == "team":
        return members
    if command.audience == "project":
        project = require_project(world, command.target)
        return [a for a in members if not a.project_ids or project.id in a.project_ids]
    skill = command.target.strip().lower()
    if not skill:
        message = "target: say which skill the agents must have."
        raise InvalidInput(message)
    return [a for a in members if any(s.name == skill for s in a.skills)]


# -- help ---------------------------------------------------------------------------------------


def request_help(world: World, command: RequestCollaboration, context: Context) -> Decision:
    """Ask the best of those who could help with a running task."""
    task, held = _running(world, command)
    skills = normal_skills(command.skills) or task.skills
    able = _invitable(world, context, task, skills, without=(held.agent_id,))
    if not able:
        wanted = ", ".join(skill.name for skill in skills) or "any skill"
        message = f"No other agent could help with {task.id} now ({wanted})."
        raise NotCapable(message, "Use report_blocker, so that a person hears of it.")
    number = world.tables.collaborations_requested + 1
    request_id = collaboration_id(number)
    until_us = context.now_us + command.answer_within_s * SECOND_US
    invited = able[:INVITED_AT_ONCE]
    letter = write_letter(
        world,
        context,
        invited,
        command.need,
        kind="help_wanted",
        task_id=task.id,
        about_id=request_id,
    )
    requested = CollaborationRequested(
        collaboration_id=request_id,
        number=number,
        task_id=task.id,
        agent_id=held.agent_id,
        need=letter.body.ref,
        thread_id=letter.event.thread_id,
        until_us=until_us,
        invited=tuple(invited),
        skills=skills,
    )
    result = CollaborationResult(
        collaboration_id=request_id,
        task_id=task.id,
        state="open",
        thread_id=letter.event.thread_id,
        invited=invited,
        until=iso(until_us),
        next_step="Go on with what you can do; the answer comes as a message.",
    )
    return Decision(events=[requested, letter.event], bodies=[letter.body], result=result)


def respond_to_help(world: World, command: RespondToCollaboration, context: Context) -> Decision:
    """Say yes, which gives the help to this agent alone, or no, which asks the next one."""
    known = _require_collaboration(world, command.collaboration_id)
    helper = _invited(known, command)
    require_member(world, helper)
    if command.accept:
        return _help_accepted(world, command, context, known, helper)
    return _help_declined(world, command, context, known, helper)


def _help_accepted(
    world: World,
    command: RespondToCollaboration,
    context: Context,
    known: Collaboration,
    helper: AgentId,
) -> Decision:
    if known.asker_id != _holder(world, known.task_id):
        message = f"{known.asker_id} does not work on {known.task_id} any more."
        raise UnknownCollaboration(message)
    words = f"{helper} helps with {known.task_id}."
    letter = _answer(world, context, known, known.asker_id, words, said=command.note)
    accepted = CollaborationAccepted(
        collaboration_id=known.id,
        task_id=known.task_id,
        agent_id=helper,
        asker_id=known.asker_id,
    )
    result = CollaborationResult(
        collaboration_id=known.id,
        task_id=known.task_id,
        state="accepted",
        thread_id=known.thread_id,
        next_step=f"Read get_task_context of {known.task_id}; write to {known.asker_id} with "
        f"send_agent_message and reply_to {known.thread_id}.",
    )
    return Decision(events=[accepted, letter.event], bodies=[letter.body], result=result)


def _help_declined(
    world: World,
    command: RespondToCollaboration,
    context: Context,
    known: Collaboration,
    helper: AgentId,
) -> Decision:
    task = world.tasks.get(known.task_id)
    others = (
        _invitable(world, context, task, known.skills, without=(*known.invited, known.asker_id))
        if task is not None and known.asker_id == _holder(world, task.id)
        else []
    )
    next_one = others[0] if others else ""
    events: list[EventData] = [
        CollaborationDeclined(
            collaboration_id=known.id,
            task_id=known.task_id,
            agent_id=helper,
            invited_next=next_one,
        )
    ]
    bodies: list[Body] = []
    n_letters = 0
    if command.note.strip():
        letter = _answer(world, context, known, known.asker_id, "", said=command.note)
        events.append(letter.event)
        bodies.append(letter.body)
        n_letters = 1
    if next_one:
        events.append(_invitation(world, known, next_one, n_letters))
    elif set(known.invited) <= {*known.declined, helper}:
        why = "Everybody who could help said no."
        ended = _help_expired(world, context, known, why, n_letters)
        events += ended.events
        bodies += ended.bodies
    result = msgspec.structs.replace(_help_result(known), state="declined")
    return Decision(events=events, bodies=bodies, result=result)


def _invitation(world: World, known: Collaboration, to: AgentId, n_before: int) -> MessageSent:
    """The asker's own words, to one more agent."""
    number = world.tables.messages_sent + 1 + n_before
    return MessageSent(
        message_id=message_id(number),
        number=number,
        recipients=(to,),
        thread_id=known.thread_id,
        text=known.need,
        sender=f"agent:{known.asker_id}",
        kind="help_wanted",
        about_task=known.task_id,
        about_id=known.id,
    )


def expire_help(world: World, command: ExpireCollaboration, context: Context) -> Decision:
    """End a request that nobody took up in time."""
    known = _require_collaboration(world, command.collaboration_id)
    if context.now_us < known.until_us:
        return Decision(result=_help_result(known), check_again_us=known.until_us)
    return _help_expired(world, context, known, "Nobody took it up in time.")


def _help_expired(
    world: World, context: Context, known: Collaboration, why: str, n_before: int = 0
) -> Decision:
    expired = CollaborationExpired(
        collaboration_id=known.id, task_id=known.task_id, agent_id=known.asker_id
    )
    events: list[EventData] = [expired]
    bodies: list[Body] = []
    if not world.agents[known.asker_id].left_at_us:
        words = f"No help for {known.task_id}: {why} report_blocker tells a person."
        letter = _answer(world, context, known, known.asker_id, words, n_before=n_before)
        events.append(letter.event)
        bodies.append(letter.body)
    return Decision(events=events, bodies=bodies, result=_help_result(known))


def _help_result(known: Collaboration) -> CollaborationResult:
    return CollaborationResult(
        collaboration_id=known.id, task_id=known.task_id, state="expired", thread_id=known.thread_id
    )


def _require_collaboration(world: World, identifier: str) -> Collaboration:
    known = world.collaborations.get(identifier)
    if known is None:
        was = 0 < number_of(identifier) <= world.tables.collaborations_requested
        what = "is over: it was taken up or has expired" if was else "does not exist"
        message = f"The request for help {identifier[:40]} {what}."
        raise UnknownCollaboration(message)
    return known


def _invited(known: Collaboration, command: RespondToCollaboration) -> AgentId:
    """Return the invited agent that answers, or refuse."""
    who = command.principal.id
    if who not in known.invited:
        message = f"{name_of(command.principal)} was not asked to help with {known.task_id}."
        raise UnknownCollaboration(message)
    if who in known.declined:
        message = f"{who} has declined {known.id} already."
        raise WrongState(message, "Nothing more to answer.")
    return who


def _invitable(
    world: World,
    context: Context,
    task: Task,
    skills: tuple[Skill, ...],
    without: tuple[AgentId, ...],
) -> list[AgentId]:
    able = best_agents(world, context, task, skills, without)
    return [agent_id for agent_id in able if not is_full(world, agent_id)]


# -- handoff ------------------------------------------------------------------------------------


def offer_handoff(world: World, command: HandOffTask, context: Context) -> Decision:
    """Offer a running task to another agent; nothing changes before it says yes."""
    task, held = _running(world, command)
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


def respond_to_handoff(world: World, command: RespondToHandoff, context: Context) -> Decision:
    """Take a task over, or leave it with its giver."""
    known = _require_handoff(world, command.handoff_id)
    require_self(command.principal, known.receiver_id)
    receiver = require_member(world, known.receiver_id)
    if not command.accept:
        return _handoff_declined(world, command, context, known)
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
        budget_us=attempt_budget_us(context.policy, task.estimate_min),
        note=known.note,
        percent=held.percent,
        where=known.where,
        reserved=_rest_of(held),
    )
    released = TaskReleased(
        task_id=task.id,
        agent_id=known.giver_id,
        lease_token=held.lease_token,
        reason="handed_off",
        note=known.note,
    )
    words = f"{receiver.id} has taken {task.id} over."
    letter = _answer(world, context, known, known.giver_id, words, said=command.note)
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


def expire_handoff(world: World, command: ExpireHandoff, context: Context) -> Decision:
    """Leave a task with its giver when nobody has answered."""
    known = _require_handoff(world, command.handoff_id)
    result = HandoffResult(handoff_id=known.id, task_id=known.task_id, state="expired")
    if context.now_us < known.until_us:
        return Decision(result=result, check_again_us=known.until_us)
    expired = HandoffExpired(handoff_id=known.id, task_id=known.task_id, agent_id=known.receiver_id)
    words = f"{known.receiver_id} did not answer in time: {known.task_id} is still yours."
    letter = _answer(world, context, known, known.giver_id, words)
    return Decision(events=[expired, letter.event], bodies=[letter.body], result=result)


def _handoff_declined(
    world: World, command: RespondToHandoff, context: Context, known: Handoff
) -> Decision:
    words = f"{known.receiver_id} does not take {known.task_id} over."
    letter = _answer(world, context, known, known.giver_id, words, said=command.note)
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


def _rest_of(held: Assignment) -> Usage:
    """What the giver had been promised and did not use."""
    return Usage(
        max(0, held.reserved.tokens - held.usage.tokens),
        max(0, held.reserved.cost_microusd - held.usage.cost_microusd),
    )


# -- both ---------------------------------------------------------------------------------------


def _running(world: World, command: RequestCollaboration | HandOffTask) -> tuple[Task, Assignment]:
    """Return the task that the sender works on, or refuse."""
    task, held = require_lease(world, command.principal, command.task_id, command.lease_token)
    if task.state not in LEASED:
        message = f"Task {task.id} is {task.state}: its work was handed in already."
        raise WrongState(message)
    return task, held


def _holder(world: World, task_id: TaskId) -> AgentId:
    held = world.assignments.get(task_id)
    return held.agent_id if held else ""


def _answer(
    world: World,
    context: Context,
    known: Collaboration | Handoff,
    to: AgentId,
    words: str,
    *,
    said: str = "",
    n_before: int = 0,
) -> Letter:
    """Tell who asked or gave what became of it: in the answerer's words, else in ours."""
    return write_letter(
        world,
        context,
        (to,),
        said.strip() or words,
        sender="" if said.strip() else str(SYSTEM),
        kind="handoff_answer" if isinstance(known, Handoff) else "help_answer",
        thread_id=known.thread_id,
        task_id=known.task_id,
        about_id=known.id,
        n_before=n_before,
    )
