"""Makes the event of a message: who gets it, in which thread, and whose inbox is full.

Every feature that has something to say to an agent says it by the same event.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pm_agent.domain.envelope import SYSTEM, Body, Principal
from pm_agent.domain.errors import InboxFull, InvalidInput
from pm_agent.domain.ids import AgentId, BlockerId, MessageId, TaskId, message_id
from pm_agent.domain.message import MAX_INBOX, MessageKind, MessageSent, Urgency
from pm_agent.domain.world import World
from pm_agent.kernel.types import Context


class Letter(NamedTuple):
    """A message about to be sent, and its text."""

    event: MessageSent
    body: Body


def write_letter(
    world: World,
    context: Context,
    recipients: Iterable[AgentId],
    text: str,
    *,
    kind: MessageKind = "message",
    urgency: Urgency = "normal",
    thread_id: MessageId = "",
    task_id: TaskId = "",
    about_id: str = "",
    blocker_id: BlockerId = "",
    sender: str = "",
    n_before: int = 0,
) -> Letter:
    """Make a message to agents of the team; those whose inbox is full miss it.

    Parameters
    ----------
    thread_id
        Of the conversation it belongs to; empty: it begins one.
    sender
        On whose behalf it is sent; empty: on that of who sends the command.
    n_before
        Messages of the same decision that come before it.

    Raises
    ------
    InvalidInput
        There is no text.
    """
    body = context.body(text.strip())
    if body is None:
        message = "text: a message needs words."
        raise InvalidInput(message)
    number = world.tables.messages_sent + 1 + n_before
    reached: list[AgentId] = []
    missed: list[AgentId] = []
    for agent_id in recipients:
        (missed if is_full(world, agent_id) else reached).append(agent_id)
    event = MessageSent(
        message_id=message_id(number),
        number=number,
        recipients=tuple(reached),
        thread_id=thread_id or message_id(number),
        text=body.ref,
        kind=kind,
        urgency=urgency,
        sender=sender,
        about_task=task_id,
        about_id=about_id,
        missed=tuple(missed),
        blocker_id=blocker_id,
    )
    return Letter(event, body)


def write_answer(
    world: World,
    context: Context,
    to: AgentId,
    words: str,
    *,
    said: str,
    kind: MessageKind,
    thread_id: MessageId,
    task_id: TaskId,
    about_id: str,
    blocker_id: BlockerId = "",
    n_before: int = 0,
) -> Letter:
    """Tell an agent what became of what it asked: in the answerer's own words, else in ours."""
    return write_letter(
        world,
        context,
        (to,),
        said.strip() or words,
        sender="" if said.strip() else str(SYSTEM),
        kind=kind,
        thread_id=thread_id,
        task_id=task_id,
        about_id=about_id,
        blocker_id=blocker_id,
        n_before=n_before,
    )


def is_full(world: World, agent_id: AgentId) -> bool:
    """Whether an agent's inbox holds as much as it may."""
    inbox = world.inboxes.get(agent_id)
    return inbox is not None and len(inbox.unread) >= MAX_INBOX


def require_room(world: World, agent_id: AgentId) -> None:
    """Refuse what one agent alone would have to read, and could not."""
    if is_full(world, agent_id):
        message = f"{agent_id} has {MAX_INBOX} messages that it has not acknowledged."
        raise InboxFull(message)


def name_of(principal: Principal) -> str:
    """How a sentence of ours names who acts."""
    return principal.id if principal.kind == "agent" else str(principal)
