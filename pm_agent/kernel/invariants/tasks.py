"""What may happen to tasks outside of an attempt, and to their blockers and instructions."""

from collections.abc import Callable

from pm_agent.domain.blocker import BlockerReported, BlockerResolved
from pm_agent.domain.envelope import Event, EventData
from pm_agent.domain.instruction import InstructionsWritten
from pm_agent.domain.task import (
    TERMINAL,
    TaskArchived,
    TaskCancelled,
    TaskCreated,
    TaskDeadLettered,
    TaskReopened,
    TaskUpdated,
)
from pm_agent.kernel.invariants.promises import CONSERVATION, FENCED, TERMINAL_STAYS
from pm_agent.kernel.invariants.seen import Seen, SeenTask


def _created(seen: Seen, _: Event, data: TaskCreated) -> None:
    if data.task_id in seen.tasks or data.task_id in seen.buried:
        seen.broken(CONSERVATION, f"{data.task_id} is created twice")
    seen.tasks[data.task_id] = SeenTask(data.project_id, data.dependencies)
    seen.states[data.project_id]["open"] += 1
    seen.n_created += 1


def _updated(seen: Seen, _: Event, data: TaskUpdated) -> None:
    task = seen.live(data.task_id, "changed")
    if data.dependencies is not None:
        task.dependencies = data.dependencies


def _blocker_reported(seen: Seen, _: Event, data: BlockerReported) -> None:
    task = seen.fenced(data)
    task.open_blockers |= {data.blocker_id}
    seen.move(task, "blocked")


def _blocker_resolved(seen: Seen, _: Event, data: BlockerResolved) -> None:
    task = seen.tasks[data.task_id]
    task.open_blockers -= {data.blocker_id}
    if task.state == "blocked" and not task.open_blockers:
        seen.move(task, "assigned" if task.holder else "open")


def _instructions(seen: Seen, _: Event, data: InstructionsWritten) -> None:
    task = seen.tasks[data.task_id]
    if data.lease_token != task.lease_token:
        detail = f"{data.task_id}: instructions for token {data.lease_token} come late"
        seen.broken(FENCED, detail)
    if data.call is not None:
        project = seen.projects[task.project_id]
        project.usage = project.usage.plus(data.call.usage)


def _ended(seen: Seen, _: Event, data: TaskCancelled | TaskDeadLettered) -> None:
    task = seen.live(data.task_id, "ended")
    seen.end_lease(task)
    seen.move(task, "cancelled" if isinstance(data, TaskCancelled) else "dead_letter")


def _reopened(seen: Seen, event: Event, data: TaskReopened) -> None:
    task = seen.tasks[data.task_id]
    if task.state not in TERMINAL:
        seen.broken(TERMINAL_STAYS, f"{data.task_id} is {task.state}, yet it is reopened")
    if not data.reason.strip() or not event.principal:
        seen.broken(TERMINAL_STAYS, f"{data.task_id} is reopened without actor or reason")
    seen.accepted.discard(data.task_id)
    seen.move(task, "open")


def _archived(seen: Seen, _: Event, data: TaskArchived) -> None:
    task = seen.tasks.pop(data.task_id)
    seen.buried.add(data.task_id)
    seen.holds.pop(("task", data.task_id), None)
    if task.state not in TERMINAL:
        seen.broken(CONSERVATION, f"{data.task_id} is archived while it is {task.state}")


FOLDS: dict[type[EventData], Callable[..., None]] = {
    TaskCreated: _created,
    TaskUpdated: _updated,
    BlockerReported: _blocker_reported,
    BlockerResolved: _blocker_resolved,
    InstructionsWritten: _instructions,
    TaskCancelled: _ended,
    TaskDeadLettered: _ended,
    TaskReopened: _reopened,
    TaskArchived: _archived,
}
