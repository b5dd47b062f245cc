"""Handoffs: an agent gives its running task to another one, who must say yes.

Until then the giver holds the task and its lease goes on. The yes ends the giver's attempt and
begins the receiver's in one step, under the next lease token; no, or no answer in time, changes
nothing. A handoff ends with the attempt that offered it, and then leaves the world.
"""

from typing import TYPE_CHECKING

import msgspec

from pm_agent.domain.assignment import Assignment
from pm_agent.domain.envelope import NO_USAGE, Command, Event, EventData, Usage
from pm_agent.domain.ids import AgentId, BodyRef, HandoffId, MessageId, TaskId

if TYPE_CHECKING:
    from pm_agent.domain.world import World


class Handoff(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: HandoffId
    task_id: TaskId
    giver_id: AgentId
    receiver_id: AgentId
    lease_token: int  # the giver's
    note: BodyRef
    until_us: int
    thread_id: MessageId = ""
    where: str = ""


class HandOffTask(Command, frozen=True, kw_only=True):
    """Offer a task that one holds to another agent."""

    task_id: TaskId
    lease_token: int
    to: AgentId
    note: str  # where the work stands, and what comes next
    where: str = ""
    answer_within_s: int = 600


class RespondToHandoff(Command, frozen=True, kw_only=True):
    handoff_id: HandoffId
    accept: bool
    note: str = ""


class ExpireHandoff(Command, frozen=True, kw_only=True):
    """The clock's: nobody has answered."""

    handoff_id: HandoffId


class HandoffOffered(EventData, frozen=True, kw_only=True):
    handoff_id: HandoffId
    number: int
    task_id: TaskId
    agent_id: AgentId  # who gives
    lease_token: int
    to: AgentId
    note: BodyRef
    until_us: int
    thread_id: MessageId
    where: str = ""


class HandoffAccepted(EventData, frozen=True, kw_only=True):
    """The receiver has the task. Follows the `TaskReleased` of the giver in the same step."""

    handoff_id: HandoffId
    task_id: TaskId
    agent_id: AgentId  # who has it now
    giver_id: AgentId
    lease_token: int  # the receiver's
    attempt: int
    silence_us: int
    budget_us: int
    note: BodyRef
    percent: int = 0
    where: str = ""
    reserved: Usage = NO_USAGE


class HandoffDeclined(EventData, frozen=True, kw_only=True):
    handoff_id: HandoffId
    task_id: TaskId
    agent_id: AgentId  # who would have got it
    note: BodyRef | None = None


class HandoffExpired(EventData, frozen=True, kw_only=True):
    """Nobody answered in time: the task stays with its giver."""

    handoff_id: HandoffId
    task_id: TaskId
    agent_id: AgentId  # who would have got it


def _offered(world: "World", event: Event, data: HandoffOffered) -> None:
    world.tables.handoffs_offered = data.number
    world.put_handoff(
        Handoff(
            id=data.handoff_id,
            task_id=data.task_id,
            giver_id=data.agent_id,
            receiver_id=data.to,
            lease_token=data.lease_token,
            note=data.note,
            until_us=data.until_us,
            thread_id=data.thread_id,
            where=data.where,
        )
    )
    held = world.assignments[data.task_id]
    world.put_assignment(msgspec.structs.replace(held, heard_at_us=event.at_us, is_offered=False))


def _accepted(world: "World", event: Event, data: HandoffAccepted) -> None:
    task = world.tasks[data.task_id]  # the giver's attempt has ended, and with it the handoff
    state = "blocked" if world.open_blockers(task.id) else "assigned"
    world.put_task(
        msgspec.structs.replace(
            task,
            state=state,
            lease_token=data.lease_token,
            attempt=data.attempt,
            version=event.position,
        )
    )
    world.put_assignment(
        Assignment(
            task_id=data.task_id,
            agent_id=data.agent_id,
            lease_token=data.lease_token,
            attempt=data.attempt,
            granted_at_us=event.at_us,
            heard_at_us=event.at_us,
            silence_us=data.silence_us,
            budget_us=data.budget_us,
            percent=data.percent,
            note=data.note,
            where=data.where,
            reserved=data.reserved,
        )
    )


def _closed(world: "World", event: Event, data: HandoffDeclined | HandoffExpired) -> None:
    world.drop_handoff(data.task_id)


APPLY = {
    HandoffOffered: _offered,
    HandoffAccepted: _accepted,
    HandoffDeclined: _closed,
    HandoffExpired: _closed,
}
