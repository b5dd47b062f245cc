"""Who may say what to whom, and what was read."""

from pm_agent.domain.agent import Agent
from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import (
    InvalidInput,
    UnknownMessage,
)
from pm_agent.domain.ids import (
    MessageId,
    number_of,
)
from pm_agent.domain.message import (
    EMPTY_INBOX,
    AcknowledgeMessages,
    BroadcastUpdate,
    MessagesAcknowledged,
    SendMessage,
)
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_member, require_project, require_self
from pm_agent.kernel.mail import Letter, require_room, write_letter
from pm_agent.kernel.types import Context, Decision, Result

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
