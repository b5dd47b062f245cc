"""Blockers: what stops a task, reported by its agent, until somebody resolves it."""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import AgentId, BlockerId, BodyRef, TaskId

if TYPE_CHECKING:
    from pm_agent.domain.world import World

Severity = Literal["low", "medium", "high"]
BlockerType = Literal[
    "dependency",  # waits for other work
    "needs_input",  # waits for an answer or a decision
    "capability",  # the agent cannot do it; another could
    "environment",  # tools, access or machines are not as they must be
    "transient",  # goes away by itself
    "other",
]


class Blocker(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: BlockerId
    task_id: TaskId
    agent_id: AgentId
    description: BodyRef
    severity: Severity
    reported_at_us: int
    resolution: BodyRef | None = None
    resolved_by: str = ""
    resolved_at_us: int = 0

    @property
    def is_open(self) -> bool:
        return self.resolved_at_us == 0


class ReportBlocker(Command, frozen=True, kw_only=True):
    """``release`` gives the task back; otherwise the agent keeps it and waits for an answer."""

    task_id: TaskId
    lease_token: int
    description: str
    severity: Severity = "medium"
    release: bool = False


class ResolveBlocker(Command, frozen=True, kw_only=True):
    blocker_id: BlockerId
    resolution: str


class BlockerReported(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    number: int
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    description: BodyRef
    severity: Severity


class BlockerResolved(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    task_id: TaskId
    resolution: BodyRef


def _reported(world: "World", event: Event, data: BlockerReported) -> None:
    world.next_blocker_number = data.number + 1
    world.put_blocker(
        Blocker(
            id=data.blocker_id,
            task_id=data.task_id,
            agent_id=data.agent_id,
            description=data.description,
            severity=data.severity,
            reported_at_us=event.at_us,
        )
    )
    task = world.tasks[data.task_id]
    world.put_task(msgspec.structs.replace(task, state="blocked", version=event.position))
    assignment = world.assignments[data.task_id]
    world.put_assignment(
        msgspec.structs.replace(assignment, heard_at_us=event.at_us, is_offered=False)
    )


def _resolved(world: "World", event: Event, data: BlockerResolved) -> None:
    blocker = world.blockers[data.blocker_id]
    world.put_blocker(
        msgspec.structs.replace(
            blocker,
            resolution=data.resolution,
            resolved_by=event.principal,
            resolved_at_us=event.at_us,
        )
    )
    task = world.tasks[data.task_id]
    if task.state != "blocked" or world.open_blockers(task.id):
        return
    assignment = world.assignments.get(task.id)
    if assignment is not None:  # waiting for the answer was not the agent's silence
        world.put_assignment(msgspec.structs.replace(assignment, heard_at_us=event.at_us))
    state = "assigned" if assignment is not None else "open"
    world.put_task(msgspec.structs.replace(task, state=state, version=event.position))


APPLY = {BlockerReported: _reported, BlockerResolved: _resolved}
