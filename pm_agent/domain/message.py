"""Messages between agents, and the bounded inbox in which they wait until they are acknowledged.

A message stays in the world until each of its recipients has acknowledged it or left: at least
once. Its id is its number in one order for the whole workspace, so a reader tells a second delivery
from a new message, and each sender's messages come in the order in which they were sent.
"""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import AgentId, BlockerId, BodyRef, MessageId, TaskId

if TYPE_CHECKING:
    from pm_agent.domain.world import World

Urgency = Literal["normal", "urgent"]
# What a message is about: words, or something that waits for an answer, or the answer.
MessageKind = Literal[
    "message", "broadcast", "help_wanted", "help_answer", "handoff", "handoff_answer"
]
Audience = Literal["team", "project", "skill"]

# An agent reads twenty at a time; beyond ten such pages it is not reading at all, and what is kept
# for it would only grow.
MAX_INBOX = 200


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: MessageId
    number: int
    sender: str  # principal, such as "agent:A-ada"
    thread_id: MessageId  # the message that began it; its own id when it is the first
    text: BodyRef
    sent_at_us: int
    kind: MessageKind = "message"
    urgency: Urgency = "normal"
    task_id: TaskId = ""
    about_id: str = ""  # handoff or collaboration that it tells of
    blocker_id: BlockerId = ""  # that help is asked with
    n_unread: int = 0  # recipients that have not acknowledged it


class Inbox(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one agent has not acknowledged, oldest first."""

    unread: tuple[MessageId, ...] = ()
    missed: int = 0  # messages that found it full, since it was last read
    n_urgent: int = 0


EMPTY_INBOX = Inbox()


class SendMessage(Command, frozen=True, kw_only=True):
    """To one agent. ``reply_to`` names a message or its thread."""

    to: AgentId
    text: str
    urgency: Urgency = "normal"
    reply_to: MessageId = ""
    task_id: TaskId = ""


class BroadcastUpdate(Command, frozen=True, kw_only=True):
    """To every agent of an audience, but the sender. ``target`` names the project or the skill."""

    audience: Audience = "team"
    target: str = ""
    text: str
    urgency: Urgency = "normal"


class AcknowledgeMessages(Command, frozen=True, kw_only=True):
    """They were read and need not be kept."""

    agent_id: AgentId
    message_ids: tuple[MessageId, ...]


class MessageSent(EventData, frozen=True, kw_only=True):
    """``thread_id`` is what a journal indexes it by, so a thread can be read when it is over."""

    message_id: MessageId
    number: int
    recipients: tuple[AgentId, ...]
    thread_id: MessageId
    text: BodyRef
    kind: MessageKind = "message"
    urgency: Urgency = "normal"
    sender: str = ""  # on whose behalf it was sent; empty: on that of who caused it
    about_task: TaskId = ""
    about_id: str = ""
    missed: tuple[AgentId, ...] = ()  # agents of the audience whose inbox was full
    blocker_id: BlockerId = ""


class MessagesAcknowledged(EventData, frozen=True, kw_only=True):
    agent_id: AgentId
    message_ids: tuple[MessageId, ...]


def _sent(world: "World", event: Event, data: MessageSent) -> None:
    world.tables.messages_sent = data.number
    for agent_id in data.missed:
        inbox = world.inboxes.get(agent_id, EMPTY_INBOX)
        world.inboxes[agent_id] = msgspec.structs.replace(inbox, missed=inbox.missed + 1)
    if not data.recipients:
        return
    is_urgent = data.urgency == "urgent"
    world.messages[data.message_id] = Message(
        id=data.message_id,
        number=data.number,
        sender=data.sender or event.principal,
        thread_id=data.thread_id,
        text=data.text,
        sent_at_us=event.at_us,
        kind=data.kind,
        urgency=data.urgency,
        task_id=data.about_task,
        about_id=data.about_id,
        blocker_id=data.blocker_id,
        n_unread=len(data.recipients),
    )
    for agent_id in data.recipients:
        inbox = world.inboxes.get(agent_id, EMPTY_INBOX)
        world.inboxes[agent_id] = Inbox(
            (*inbox.unread, data.message_id), inbox.missed, inbox.n_urgent + is_urgent
        )


def _acknowledged(world: "World", event: Event, data: MessagesAcknowledged) -> None:
    take_from_inbox(world, data.agent_id, data.message_ids)


def take_from_inbox(world: "World", agent_id: AgentId, message_ids: tuple[MessageId, ...]) -> None:
    """Take messages from an inbox; one that nobody has to read any more leaves the world."""
    inbox = world.inboxes.pop(agent_id, EMPTY_INBOX)
    gone = set(message_ids)
    n_urgent = 0
    for message_id in gone:
        message = world.messages[message_id]
        n_urgent += message.urgency == "urgent"
        if message.n_unread == 1:
            del world.messages[message_id]
        else:
            world.messages[message_id] = msgspec.structs.replace(
                message, n_unread=message.n_unread - 1
            )
    left = tuple(m for m in inbox.unread if m not in gone)
    if left:  # reading is what ends the count of those that were missed
        world.inboxes[agent_id] = Inbox(left, 0, inbox.n_urgent - n_urgent)


APPLY = {MessageSent: _sent, MessagesAcknowledged: _acknowledged}
