"""What may happen to leases and attempts."""

from collections.abc import Callable

from pm_agent.domain.assignment import (
    AssignmentExpired,
    CandidateKept,
    CandidateRejected,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    LeaseSuspected,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.decision_record import DecisionRecord
from pm_agent.domain.envelope import NO_USAGE, Event, EventData
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.ids import TaskId
from pm_agent.domain.task import LEASED
from pm_agent.kernel.invariants.promises import (
    CAPACITY,
    EXPLAINABLE,
    FENCED,
    READY_SET,
    SINGLE_LEASE,
    TERMINAL_STAYS,
)
from pm_agent.kernel.invariants.seen import Seen, SeenProject, SeenTask


def _assigned(seen: Seen, event: Event, data: TaskAssigned) -> None:
    task = seen.live(data.task_id, "assigned")
    if task.holder:
        seen.broken(SINGLE_LEASE, f"{data.task_id} is leased to {task.holder} already")
    if data.lease_token <= task.lease_token:
        detail = f"{data.task_id}: lease token {data.lease_token} follows {task.lease_token}"
        seen.broken(SINGLE_LEASE, detail)
    _require_ready(seen, data, task)
    _require_no_hold(seen, data, task)
    _require_explained(seen, event, data)
    seen.move(task, "assigned")
    task.lease_token, task.holder = data.lease_token, data.agent_id
    task.reserved, task.used = data.reserved, NO_USAGE
    seen.n_active[data.agent_id] += 1
    project = seen.projects[task.project_id]
    project.promised = project.promised.plus(data.reserved)
    project.in_progress += 1
    _require_limits(seen, data, project)


def _regranted(seen: Seen, _: Event, data: LeaseRegranted) -> None:
    """Finished work is taken back: no limit and no hold keeps it out, only another holder."""
    task = seen.live(data.task_id, "granted again")
    if task.holder:
        seen.broken(SINGLE_LEASE, f"{data.task_id} is leased to {task.holder} already")
    if not data.late_token <= task.lease_token < data.lease_token:
        detail = f"{data.late_token} ≤ {task.lease_token} < {data.lease_token} does not hold"
        seen.broken(SINGLE_LEASE, f"{data.task_id} is granted again: {detail}")
    _require_lost(seen, task, data, data.late_token)
    if data.late_token in task.rejected:
        seen.broken(FENCED, f"{data.task_id}: the work of {data.late_token} was rejected already")
    task.lost -= {(data.late_token, data.agent_id)}  # it is judged now, once
    _require_ready(seen, data, task)
    seen.move(task, "assigned")
    task.lease_token, task.holder = data.lease_token, data.agent_id
    task.reserved = task.used = NO_USAGE
    seen.n_active[data.agent_id] += 1
    seen.projects[task.project_id].in_progress += 1


def _handed_off(seen: Seen, _: Event, data: HandoffAccepted) -> None:
    """Running work passes on: no hold keeps it, and the receiver must have room for it."""
    task = seen.live(data.task_id, "handed off")
    if task.holder:
        seen.broken(SINGLE_LEASE, f"{data.task_id} is leased to {task.holder} still")
    if data.lease_token != task.lease_token + 1:
        detail = f"lease token {data.lease_token} follows {task.lease_token}"
        seen.broken(SINGLE_LEASE, f"{data.task_id} is handed off: {detail}")
    _require_ready(seen, data, task)
    seen.move(task, "blocked" if task.open_blockers else "assigned")
    task.lease_token, task.holder = data.lease_token, data.agent_id
    task.reserved, task.used = data.reserved, NO_USAGE
    seen.n_active[data.agent_id] += 1
    project = seen.projects[task.project_id]
    project.promised = project.promised.plus(data.reserved)
    project.in_progress += 1
    n_active, capacity = seen.n_active[data.agent_id], seen.capacity.get(data.agent_id, 0)
    if n_active > capacity:
        seen.broken(CAPACITY, f"{data.agent_id} holds {n_active} of {capacity} tasks")


def _suspected(seen: Seen, _: Event, data: LeaseSuspected) -> None:
    task = seen.fenced(data)
    if task.state not in LEASED:
        seen.broken(FENCED, f"{data.task_id} is {task.state}, yet its lease is suspect")


def _candidate_kept(seen: Seen, _: Event, data: CandidateKept) -> None:
    task = seen.tasks[data.task_id]
    _require_lost(seen, task, data, data.lease_token)
    project = seen.projects[task.project_id]
    project.usage = project.usage.plus(data.usage)


def _candidate_rejected(seen: Seen, _: Event, data: CandidateRejected) -> None:
    task = seen.live(data.task_id, "judged")
    if task.holder and data.lease_token == task.lease_token:
        detail = f"lease token {data.lease_token} is the live one of {task.holder}"
        seen.broken(FENCED, f"a candidate for {data.task_id} is rejected, but {detail}")
    task.rejected |= {data.lease_token}


def _progress(seen: Seen, _: Event, data: ProgressReported) -> None:
    task = seen.fenced(data)
    if task.state not in LEASED:
        seen.broken(FENCED, f"{data.task_id} is {task.state}, yet progress is reported")
    seen.use(task, data.usage)


def _submitted(seen: Seen, _: Event, data: CompletionSubmitted) -> None:
    task = seen.fenced(data)
    seen.use(task, data.usage)
    if task.state in LEASED:
        seen.n_active[task.holder] -= 1  # waiting for a verdict costs no capacity
        seen.projects[task.project_id].in_progress -= 1
    seen.move(task, "in_review")


def _completion_accepted(seen: Seen, _: Event, data: CompletionAccepted) -> None:
    task = seen.fenced(data)
    if task.state != "in_review":
        seen.broken(TERMINAL_STAYS, f"{data.task_id} is accepted while it is {task.state}")
    seen.end_lease(task)
    seen.move(task, "done")
    seen.accepted.add(data.task_id)


def _attempt_ended(
    seen: Seen, _: Event, data: CompletionRejected | TaskReleased | AssignmentExpired
) -> None:
    task = seen.fenced(data)
    if isinstance(data, AssignmentExpired) and data.reason != "unconfirmed":
        task.lost |= {(data.lease_token, data.agent_id)}
    seen.end_lease(task)
    seen.move(task, "blocked" if task.open_blockers else "open")


def _require_lost(
    seen: Seen, task: SeenTask, data: LeaseRegranted | CandidateKept, late_token: int
) -> None:
    """Late is what was done under a lease that ended by its agent's silence, and by it alone."""
    if (late_token, data.agent_id) not in task.lost:
        detail = f"{data.agent_id} lost no lease {late_token} of {data.task_id} by silence"
        seen.broken(FENCED, f"{type(data).__name__}: {detail}")


def _require_ready(
    seen: Seen, data: TaskAssigned | LeaseRegranted | HandoffAccepted, task: SeenTask
) -> None:
    allowed = ("open",) if isinstance(data, TaskAssigned) else ("open", "blocked")
    if task.state not in allowed:
        seen.broken(READY_SET, f"{data.task_id} is {task.state}, yet it is assigned")
    missing = [d for d in task.dependencies if d not in seen.accepted]
    if missing:
        seen.broken(READY_SET, f"{data.task_id} is assigned before {', '.join(missing)}")


def _require_no_hold(seen: Seen, data: TaskAssigned, task: SeenTask) -> None:
    targets = (
        ("workspace", ""),
        ("project", task.project_id),
        ("agent", data.agent_id),
        ("task", data.task_id),
    )
    for target in targets:
        if kinds := seen.holds.get(target):
            detail = f"{data.task_id} is assigned while {target} is held: {sorted(kinds)}"
            seen.broken(READY_SET, detail)


def _require_limits(seen: Seen, data: TaskAssigned, project: SeenProject) -> None:
    n_active, capacity = seen.n_active[data.agent_id], seen.capacity.get(data.agent_id, 0)
    if n_active > capacity:
        seen.broken(CAPACITY, f"{data.agent_id} holds {n_active} of {capacity} tasks")
    if project.max_in_progress and project.in_progress > project.max_in_progress:
        detail = f"{project.in_progress} of {project.max_in_progress} tasks in progress"
        seen.broken(CAPACITY, f"with {data.task_id} there are {detail}")
    total = project.usage.plus(project.promised)
    if project.token_cap and total.tokens > project.token_cap:
        detail = f"{total.tokens} of {project.token_cap} tokens are used or promised"
        seen.broken(CAPACITY, f"with {data.task_id} {detail}")
    if project.cost_cap_microusd and total.cost_microusd > project.cost_cap_microusd:
        detail = f"{total.cost_microusd} of {project.cost_cap_microusd} micro-dollars"
        seen.broken(CAPACITY, f"with {data.task_id} {detail} are used or promised")


def _require_explained(seen: Seen, event: Event, data: TaskAssigned) -> None:
    record = data.decision
    wrong = _unexplained(record, data.task_id)
    if seen.recompute is not None and not wrong:
        wrong = seen.recompute(record, data.task_id)
    for what in wrong:
        seen.broken(EXPLAINABLE, f"assignment of {data.task_id} at {event.position}: {what}")


def _unexplained(record: DecisionRecord, task_id: TaskId) -> list[str]:
    """What keeps a record from explaining the choice of a task, without computing it again."""
    if not record.is_whole():
        return ["its arrays do not fit each other"]
    wrong = []
    if record.chosen_id != task_id:
        wrong.append(f"it chose {record.chosen_id}")
    if not (record.policy and record.version):
        wrong.append("no policy or version")
    if not 0 < record.propensity <= 1:
        wrong.append(f"propensity {record.propensity}")
    if record.n_eligible < record.n_candidates:
        wrong.append("fewer eligible than shortlisted")
    return wrong


FOLDS: dict[type[EventData], Callable[..., None]] = {
    TaskAssigned: _assigned,
    LeaseRegranted: _regranted,
    LeaseSuspected: _suspected,
    CandidateKept: _candidate_kept,
    CandidateRejected: _candidate_rejected,
    ProgressReported: _progress,
    CompletionSubmitted: _submitted,
    CompletionAccepted: _completion_accepted,
    CompletionRejected: _attempt_ended,
    TaskReleased: _attempt_ended,
    AssignmentExpired: _attempt_ended,
    HandoffAccepted: _handed_off,
}
