"""Late work that was kept and waits for a person: who did it, and how it is named.

Where a project has a gate, that judges what it can; a person is told of what is left.
"""

from collections.abc import Sequence

from pm_agent.domain.assignment import CandidateKept, CandidateRejected, LeaseRegranted
from pm_agent.domain.envelope import Event
from pm_agent.domain.task import MAX_KEPT_CANDIDATES, Task, TaskDeadLettered, TaskReopened
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.features.backlog.view import CONCISE_ITEMS
from pm_agent.kernel.types import Result


class LateWork(Result, frozen=True, kw_only=True):
    """Finished work that came too late: approve_task or reject_task with its lease_token."""

    task_id: str
    lease_token: int  # the lease under which it was done
    agent_id: str
    handed_in_at: str


def undecided(world: World, task: Task) -> list[LateWork]:
    """Late work of a task about which nobody has decided, and no gate will."""
    if not task.candidates or task.is_terminal:
        return []
    if world.projects[task.project_id].completion == "command" and not task.waiting_on:
        return []
    return [
        LateWork(
            task_id=task.id,
            lease_token=kept.lease_token,
            agent_id=kept.agent_id,
            handed_in_at=iso(kept.at_us),
        )
        for kept in task.candidates
        if not kept.is_rejected
    ]


def newest_undecided(world: World) -> list[LateWork]:
    """The newest of a workspace."""
    found = [kept for task in world.tasks.values() for kept in undecided(world, task)]
    return sorted(found, key=lambda late: late.handed_in_at)[-CONCISE_ITEMS:]


def undecided_by(events: Sequence[Event]) -> list[LateWork]:
    """Late work of one task about which nobody has decided, from its events alone."""
    kept: list[LateWork] = []
    rejected: set[int] = set()
    is_over = False
    for event in events:
        data = event.data
        if isinstance(data, CandidateKept):
            late = LateWork(
                task_id=data.task_id,
                lease_token=data.lease_token,
                agent_id=data.agent_id,
                handed_in_at=iso(event.at_us),
            )
            kept = [*kept, late][-MAX_KEPT_CANDIDATES:]
        elif isinstance(data, CandidateRejected):
            rejected.add(data.lease_token)
        elif isinstance(data, LeaseRegranted):
            kept = [late for late in kept if late.lease_token != data.late_token]
        elif isinstance(data, TaskReopened):
            is_over = False
        is_over = is_over or data.ends_task or isinstance(data, TaskDeadLettered)
    return [] if is_over else [late for late in kept if late.lease_token not in rejected]
