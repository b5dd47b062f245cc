"""Collaboration requests: an agent needs help, and the best of those who could give it are asked.

The first yes gets it. A no passes the question on to the next best; after the deadline nobody is
asked any more. One that names a blocker ends with it. A request that is over leaves the world; what
was said stays in the journal.
"""

from typing import TYPE_CHECKING

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import AgentId, BlockerId, BodyRef, CollaborationId, MessageId, TaskId
from pm_agent.domain.task import Skill

if TYPE_CHECKING:
    from pm_agent.domain.world import World


class Collaboration(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: CollaborationId
    task_id: TaskId
    asker_id: AgentId
    need: BodyRef
    thread_id: MessageId
    until_us: int
    skills: tuple[Skill, ...] = ()
    invited: tuple[AgentId, ...] = ()  # all that were ever asked
    declined: tuple[AgentId, ...] = ()
    blocker_id: BlockerId = ""  # what it is about; empty: the task


class RequestCollaboration(Command, frozen=True, kw_only=True):
    """Ask for help with a task that one holds."""

    task_id: TaskId
    lease_token: int
    need: str
    skills: tuple[Skill, ...] = ()
    answer_within_s: int = 900
    blocker_id: BlockerId = ""  # an open one of the task


class RespondToCollaboration(Command, frozen=True, kw_only=True):
    collaboration_id: CollaborationId
    accept: bool
    note: str = ""


class ExpireCollaboration(Command, frozen=True, kw_only=True):
    """The clock's: nobody could help in time."""

    collaboration_id: CollaborationId


class CollaborationRequested(EventData, frozen=True, kw_only=True):
    collaboration_id: CollaborationId
    number: int
    task_id: TaskId
    agent_id: AgentId  # who asks
    need: BodyRef
    thread_id: MessageId
    until_us: int
    invited: tuple[AgentId, ...]
    skills: tuple[Skill, ...] = ()
    blocker_id: BlockerId = ""


class CollaborationAccepted(EventData, frozen=True, kw_only=True):
    collaboration_id: CollaborationId
    task_id: TaskId
    agent_id: AgentId  # who helps
    asker_id: AgentId
    blocker_id: BlockerId = ""


class CollaborationDeclined(EventData, frozen=True, kw_only=True):
    collaboration_id: CollaborationId
    task_id: TaskId
    agent_id: AgentId
    invited_next: AgentId = ""  # who is asked instead; empty: nobody is left
    blocker_id: BlockerId = ""


class CollaborationExpired(EventData, frozen=True, kw_only=True):
    """Over without help: the deadline came, all who could help said no, or none is needed."""

    collaboration_id: CollaborationId
    task_id: TaskId
    agent_id: AgentId  # who asked
    blocker_id: BlockerId = ""


def _requested(world: "World", event: Event, data: CollaborationRequested) -> None:
    world.tables.collaborations_requested = data.number
    world.collaborations[data.collaboration_id] = Collaboration(
        id=data.collaboration_id,
        task_id=data.task_id,
        asker_id=data.agent_id,
        need=data.need,
        thread_id=data.thread_id,
        until_us=data.until_us,
        skills=data.skills,
        invited=data.invited,
        blocker_id=data.blocker_id,
    )


def _declined(world: "World", event: Event, data: CollaborationDeclined) -> None:
    known = world.collaborations[data.collaboration_id]
    invited = (*known.invited, data.invited_next) if data.invited_next else known.invited
    world.collaborations[known.id] = msgspec.structs.replace(
        known, invited=invited, declined=(*known.declined, data.agent_id)
    )


def _closed(
    world: "World", event: Event, data: CollaborationAccepted | CollaborationExpired
) -> None:
    del world.collaborations[data.collaboration_id]


APPLY = {
    CollaborationRequested: _requested,
    CollaborationAccepted: _closed,
    CollaborationDeclined: _declined,
    CollaborationExpired: _closed,
}
