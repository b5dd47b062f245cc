"""Attempts: one assignment from its start to its end, and what its end changes."""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import Event
from pm_agent.domain.ids import AgentId, BodyRef, ProjectId, TaskId
from pm_agent.domain.time import MINUTE_US
from pm_agent.domain.track_record import NO_RECORD, with_outcome

if TYPE_CHECKING:
    from pm_agent.domain.assignment import Assignment
    from pm_agent.domain.task import TaskState
    from pm_agent.domain.world import World

AttemptOutcome = Literal[
    "completed", "rejected", "failed", "released", "blocked", "expired", "stopped", "handed_off"
]
# How an attempt fails: its agent said so, its work was rejected, its lease was lost.
FAILED_OUTCOMES: frozenset[str] = frozenset({"rejected", "failed", "expired"})
MAX_KEPT_ATTEMPTS = 10  # older attempts stay in the journal


class Attempt(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How one assignment ended; the newest one is the recovery note for the next agent."""

    agent_id: AgentId
    lease_token: int
    outcome: AttemptOutcome
    started_at_us: int
    ended_at_us: int
    percent: int = 0
    note: BodyRef | None = None  # the last thing the agent said about its work
    where: str = ""  # branch or folder of the work
    late_token: int = 0  # the lost lease under which the work was done, if it came late


def end_attempt(
    world: "World",
    event: Event,
    task_id: TaskId,
    outcome: AttemptOutcome,
    note: BodyRef | None = None,
) -> None:
    """End the live assignment, if any: record the attempt; the task is done or open again."""
    ended = world.assignments.pop(task_id, None)
    if ended is None:
        return
    world.unanswered.pop(task_id, None)
    world.count_reserved(ended, None)
    free_agent(world, task_id, ended.agent_id)
    old = world.tasks[task_id]
    attempt = Attempt(
        agent_id=ended.agent_id,
        lease_token=ended.lease_token,
        outcome=outcome,
        started_at_us=ended.granted_at_us,
        ended_at_us=event.at_us,
        percent=ended.percent,
        note=note or ended.note,
        where=ended.where,
        late_token=ended.late_token,
    )
    failed = outcome in FAILED_OUTCOMES
    is_done = outcome == "completed"
    state: TaskState = "done" if is_done else "open"
    if not is_done and world.open_blockers(task_id):
        state = "blocked"
    world.put_task(
        msgspec.structs.replace(
            old,
            state=state,
            ended_at_us=event.at_us if is_done else old.ended_at_us,
            attempts=(*old.attempts, attempt)[-MAX_KEPT_ATTEMPTS:],
            failures=old.failures + failed,
            version=event.position,
        )
    )
    if failed or is_done:
        _record_outcome(world, old.kind, ended, event.at_us, accepted=not failed)
    make_room(world, old.project_id)


def free_agent(world: "World", task_id: TaskId, agent_id: AgentId) -> None:
    """Take a task from the agent's active ones, which count against its capacity.

    It has been handed in or is over, so nobody can take it over any more.
    """
    world.drop_handoff(task_id)
    holder = world.agents[agent_id]
    if task_id in holder.active:
        freed = world.tasks[task_id]
        world.leased[freed.project_id] -= 1
        world.held_min[agent_id] -= freed.minutes
        active = tuple(t for t in holder.active if t != task_id)
        world.put_agent(msgspec.structs.replace(holder, active=active))


def make_room(world: "World", project_id: ProjectId) -> None:
    """Mark a project's classes as fresh: work has left room under a limit."""
    limited = world.projects[project_id]
    if limited.max_in_progress or limited.cost_cap_microusd or limited.token_cap:
        world.ready.refresh_project(project_id)


def _record_outcome(
    world: "World", kind: str, ended: "Assignment", ended_at_us: int, *, accepted: bool
) -> None:
    old = world.track_records.get(ended.agent_id, {}).get(kind, NO_RECORD)
    duration_min = (ended_at_us - ended.granted_at_us) / MINUTE_US
    new = with_outcome(old, accepted=accepted, duration_min=duration_min)
    world.put_track_record(ended.agent_id, kind, new)
