"""The promises of PM Agent by name, and what checks them.

`Watch` is a small model of its own: it follows the events alone, knows nothing of the world's code,
and costs O(1) an event (a grant: the number of the task's dependencies). `check_world` scans a
whole world; `check_replay` folds a journal again. None of them reads a clock or the outside.

Limits (capacity, work in progress, caps) are checked when a lease is granted. One that is lowered
later binds new grants only: running work is never taken away, so that is no violation.

Neither a world nor its events can show four promises, so they are checked elsewhere:

==============  ==================================================================================
durable-ack     crash tests compare acknowledged replies with the journal that was left
idempotent      request ids are no part of the world: tests of `pm_agent.kernel.idempotency`
single-writer   the conformance suite of the journal port; here only that the epoch never falls
liveness        the simulator, which knows when faults stop and who waits
==============  ==================================================================================
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from pm_agent.domain.agent import AgentLeft, AgentRegistered
from pm_agent.domain.assignment import (
    Assignment,
    AssignmentExpired,
    CandidateKept,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    LeaseSuspected,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.blocker import BlockerReported, BlockerResolved
from pm_agent.domain.decision_record import DecisionRecord
from pm_agent.domain.envelope import NO_USAGE, Event, EventData, Usage
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.hold import HoldLifted, HoldPlaced
from pm_agent.domain.ids import AgentId, MessageId, ProjectId, TaskId, number_of, task_number
from pm_agent.domain.instruction import InstructionsWritten
from pm_agent.domain.message import MAX_INBOX, MessagesAcknowledged, MessageSent
from pm_agent.domain.project import ProjectCreated, ProjectUpdated
from pm_agent.domain.ready_set import COLUMNS
from pm_agent.domain.tables import Tables
from pm_agent.domain.task import (
    LEASED,
    TERMINAL,
    TaskArchived,
    TaskCancelled,
    TaskCreated,
    TaskDeadLettered,
    TaskReopened,
    TaskUpdated,
)
from pm_agent.domain.world import World
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.ports import GENESIS, StoredEvent, StoredSnapshot

SINGLE_LEASE = "single-lease"
FENCED = "fenced"
TERMINAL_STAYS = "terminal"
CONSERVATION = "conservation"
READY_SET = "ready-set"
CAPACITY = "capacity"
REPLAY = "replay"
SINGLE_WRITER = "single-writer"
EXPLAINABLE = "explainable"
MESSAGES = "messages"

HELD: frozenset[str] = LEASED | {"in_review"}  # states in which a task may have an assignment

# (record, the task assigned) → what comes out differently when it is computed again
Recompute = Callable[[DecisionRecord, TaskId], list[str]]


class Violation(NamedTuple):
    """A promise that was broken, with the values in it."""

    invariant: str
    detail: str


class _SeenTask(msgspec.Struct):
    project_id: ProjectId
    dependencies: tuple[TaskId, ...]
    state: str = "open"
    lease_token: int = 0
    holder: AgentId = ""  # of the live lease; empty: nobody
    reserved: Usage = NO_USAGE
    used: Usage = NO_USAGE  # in the live attempt
    open_blockers: set[str] = msgspec.field(default_factory=set)


class _SeenProject(msgspec.Struct):
    max_in_progress: int = 0
    cost_cap_microusd: int = 0
    token_cap: int = 0
    in_progress: int = 0
    usage: Usage = NO_USAGE
    promised: Usage = NO_USAGE  # reserved by live leases and not used yet


class _TaskSet:
    """Tasks by their numbers, which are dense: a byte each, since none is ever forgotten."""

    def __init__(self) -> None:
        self._has = bytearray()

    def __contains__(self, task_id: TaskId) -> bool:
        number = task_number(task_id)
        return number < len(self._has) and self._has[number] == 1

    def add(self, task_id: TaskId) -> None:
        number = task_number(task_id)
        if number >= len(self._has):
            self._has.extend(bytes(number + 1 - len(self._has)))
        self._has[number] = 1

    def discard(self, task_id: TaskId) -> None:
        if task_id in self:
            self._has[task_number(task_id)] = 0


class Watch:
    """Follow a journal from its first event and tell what no event may do.

    Parameters
    ----------
    recompute : optional
        Computes a decision record again; without it records are checked for completeness only.
    """

    def __init__(self, recompute: Recompute | None = None) -> None:
        self._recompute = recompute
        self._position = 0
        self._at_us = 0
        self._epoch = 0
        self._tasks: dict[TaskId, _SeenTask] = {}
        self._buried = _TaskSet()
        self._accepted = _TaskSet()
        self._projects: dict[ProjectId, _SeenProject] = {}
        self._capacity: dict[AgentId, int] = {}
        self._n_active: Counter[AgentId] = Counter()
        self._holds: dict[tuple[str, str], set[str]] = {}
        self._states: Counter[tuple[ProjectId, str]] = Counter()
        self._newest_message = 0
        self._inboxes: dict[AgentId, dict[MessageId, None]] = {}  # in order of delivery
        self._n_created = 0
        self._found: list[Violation] = []

    def observe(self, event: Event) -> list[Violation]:
        """Take the next event; return what it violates."""
        return self.observe_all((event,))

    def observe_all(self, events: Iterable[Event]) -> list[Violation]:
        """Take the next events; return what they violate."""
        self._found = []
        for event in events:
            self._follows(event)
            fold = _FOLDS.get(type(event.data))
            if fold is not None:
                fold(self, event, event.data)
        return self._found

    def compare(self, world: World) -> list[Violation]:
        """Compare counts with those of a world at the same position: O(projects)."""
        found = []
        counted = Counter(
            {(p, s): n for p, states in world.counts.items() for s, n in states.items() if n}
        )
        seen = Counter({key: n for key, n in self._states.items() if n})
        if counted != seen:
            found.append(Violation(CONSERVATION, f"world counts {counted}, events say {seen}"))
        if world.tables.tasks_created != self._n_created:
            detail = f"{world.tables.tasks_created} created, events say {self._n_created}"
            found.append(Violation(CONSERVATION, detail))
        if world.inboxes.keys() != self._inboxes.keys():
            detail = f"inboxes of {sorted(world.inboxes)}, events say {sorted(self._inboxes)}"
            found.append(Violation(MESSAGES, detail))
        found += [
            Violation(MESSAGES, f"inbox of {agent_id} holds {inbox.unread}, events say otherwise")
            for agent_id, inbox in world.inboxes.items()
            if len(inbox.unread) != len(self._inboxes.get(agent_id, ()))
        ]
        for agent_id, n in self._n_active.items():
            if len(world.agents[agent_id].active) != n:
                detail = f"{agent_id} holds {world.agents[agent_id].active}, events say {n}"
                found.append(Violation(CAPACITY, detail))
        return found

    # -- what each event may do ---------------------------------------------------------------

    def _follows(self, event: Event) -> None:
        if event.position != self._position + 1:
            self._broken(REPLAY, f"event {event.position} follows {self._position}")
        if event.at_us < self._at_us:
            self._broken(REPLAY, f"event {event.position} is older than the one before it")
        if event.epoch < self._epoch:
            detail = f"event {event.position} of epoch {event.epoch} follows epoch {self._epoch}"
            self._broken(SINGLE_WRITER, detail)
        self._position, self._at_us = event.position, event.at_us
        self._epoch = max(self._epoch, event.epoch)

    def _created(self, _: Event, data: TaskCreated) -> None:
        if data.task_id in self._tasks or data.task_id in self._buried:
            self._broken(CONSERVATION, f"{data.task_id} is created twice")
        self._tasks[data.task_id] = _SeenTask(data.project_id, data.dependencies)
        self._states[data.project_id, "open"] += 1
        self._n_created += 1

    def _updated(self, _: Event, data: TaskUpdated) -> None:
        task = self._live(data.task_id, "changed")
        if data.dependencies is not None:
            task.dependencies = data.dependencies

    def _assigned(self, event: Event, data: TaskAssigned) -> None:
        task = self._live(data.task_id, "assigned")
        if task.holder:
            self._broken(SINGLE_LEASE, f"{data.task_id} is leased to {task.holder} already")
        if data.lease_token <= task.lease_token:
            detail = f"{data.task_id}: lease token {data.lease_token} follows {task.lease_token}"
            self._broken(SINGLE_LEASE, detail)
        self._require_ready(data, task)
        self._require_no_hold(data, task)
        self._explained(event, data)
        self._move(task, "assigned")
        task.lease_token, task.holder = data.lease_token, data.agent_id
        task.reserved, task.used = data.reserved, NO_USAGE
        self._n_active[data.agent_id] += 1
        project = self._projects[task.project_id]
        project.promised = project.promised.plus(data.reserved)
        project.in_progress += 1
        self._require_limits(data, project)

    def _regranted(self, _: Event, data: LeaseRegranted) -> None:
        """Finished work is taken back: no limit and no hold keeps it out, only another holder."""
        task = self._live(data.task_id, "granted again")
        if task.holder:
            self._broken(SINGLE_LEASE, f"{data.task_id} is leased to {task.holder} already")
        if not data.late_token <= task.lease_token < data.lease_token:
            detail = f"{data.late_token} ≤ {task.lease_token} < {data.lease_token} does not hold"
            self._broken(SINGLE_LEASE, f"{data.task_id} is granted again: {detail}")
        self._require_ready(data, task)
        self._move(task, "assigned")
        task.lease_token, task.holder = data.lease_token, data.agent_id
        task.reserved = task.used = NO_USAGE
        self._n_active[data.agent_id] += 1
        self._projects[task.project_id].in_progress += 1

    def _handed_off(self, _: Event, data: HandoffAccepted) -> None:
        """Running work passes on: no hold keeps it, and the receiver must have room for it."""
        task = self._live(data.task_id, "handed off")
        if task.holder:
            self._broken(SINGLE_LEASE, f"{data.task_id} is leased to {task.holder} still")
        if data.lease_token != task.lease_token + 1:
            detail = f"lease token {data.lease_token} follows {task.lease_token}"
            self._broken(SINGLE_LEASE, f"{data.task_id} is handed off: {detail}")
        self._require_ready(data, task)
        self._move(task, "blocked" if task.open_blockers else "assigned")
        task.lease_token, task.holder = data.lease_token, data.agent_id
        task.reserved, task.used = data.reserved, NO_USAGE
        self._n_active[data.agent_id] += 1
        project = self._projects[task.project_id]
        project.promised = project.promised.plus(data.reserved)
        project.in_progress += 1
        n_active, capacity = self._n_active[data.agent_id], self._capacity.get(data.agent_id, 0)
        if n_active > capacity:
            self._broken(CAPACITY, f"{data.agent_id} holds {n_active} of {capacity} tasks")

    def _message_sent(self, _: Event, data: MessageSent) -> None:
        if data.number <= self._newest_message or number_of(data.message_id) != data.number:
            detail = f"{data.message_id} follows message {self._newest_message}"
            self._broken(MESSAGES, detail)
        self._newest_message = max(self._newest_message, data.number)
        for agent_id in data.recipients:
            inbox = self._inboxes.setdefault(agent_id, {})
            if agent_id not in self._capacity or data.message_id in inbox:
                self._broken(MESSAGES, f"{data.message_id} cannot be delivered to {agent_id}")
            inbox[data.message_id] = None
            if len(inbox) > MAX_INBOX:
                self._broken(MESSAGES, f"{len(inbox)} messages wait for {agent_id}")

    def _messages_read(self, _: Event, data: MessagesAcknowledged) -> None:
        inbox = self._inboxes.get(data.agent_id, {})
        for message_id in data.message_ids:
            if message_id not in inbox:
                detail = f"{data.agent_id} acknowledges {message_id}, which does not wait for it"
                self._broken(MESSAGES, detail)
            inbox.pop(message_id, None)
        if not inbox:
            self._inboxes.pop(data.agent_id, None)

    def _left(self, _: Event, data: AgentLeft) -> None:
        if self._n_active[data.agent_id]:
            self._broken(CAPACITY, f"{data.agent_id} left with tasks in hand")
        self._inboxes.pop(data.agent_id, None)
        self._capacity.pop(data.agent_id, None)

    def _suspected(self, _: Event, data: LeaseSuspected) -> None:
        task = self._fenced(data)
        if task.state not in LEASED:
            self._broken(FENCED, f"{data.task_id} is {task.state}, yet its lease is suspect")

    def _candidate_kept(self, _: Event, data: CandidateKept) -> None:
        task = self._tasks[data.task_id]
        if data.lease_token > task.lease_token or (
            task.holder and data.lease_token == task.lease_token
        ):
            detail = f"lease token {data.lease_token} is not one that was lost"
            self._broken(FENCED, f"a candidate is kept for {data.task_id}, but {detail}")
        project = self._projects[task.project_id]
        project.usage = project.usage.plus(data.usage)

    def _progress(self, _: Event, data: ProgressReported) -> None:
        task = self._fenced(data)
        if task.state not in LEASED:
            self._broken(FENCED, f"{data.task_id} is {task.state}, yet progress is reported")
        self._use(task, data.usage)

    def _submitted(self, _: Event, data: CompletionSubmitted) -> None:
        task = self._fenced(data)
        self._use(task, data.usage)
        if task.state in LEASED:
            self._n_active[task.holder] -= 1  # waiting for a verdict costs no capacity
            self._projects[task.project_id].in_progress -= 1
        self._move(task, "in_review")

    def _completion_accepted(self, _: Event, data: CompletionAccepted) -> None:
        task = self._fenced(data)
        if task.state != "in_review":
            self._broken(TERMINAL_STAYS, f"{data.task_id} is accepted while it is {task.state}")
        self._end_lease(task)
        self._move(task, "done")
        self._accepted.add(data.task_id)

    def _attempt_ended(
        self, _: Event, data: CompletionRejected | TaskReleased | AssignmentExpired
    ) -> None:
        task = self._fenced(data)
        self._end_lease(task)
        self._move(task, "blocked" if task.open_blockers else "open")

    def _blocker_reported(self, _: Event, data: BlockerReported) -> None:
        task = self._fenced(data)
        task.open_blockers.add(data.blocker_id)
        self._move(task, "blocked")

    def _blocker_resolved(self, _: Event, data: BlockerResolved) -> None:
        task = self._tasks[data.task_id]
        task.open_blockers.discard(data.blocker_id)
        if task.state == "blocked" and not task.open_blockers:
            self._move(task, "assigned" if task.holder else "open")

    def _instructions(self, _: Event, data: InstructionsWritten) -> None:
        task = self._tasks[data.task_id]
        if data.lease_token != task.lease_token:
            detail = f"{data.task_id}: instructions for token {data.lease_token} come late"
            self._broken(FENCED, detail)
        if data.call is not None:
            project = self._projects[task.project_id]
            project.usage = project.usage.plus(data.call.usage)

    def _ended(self, _: Event, data: TaskCancelled | TaskDeadLettered) -> None:
        task = self._live(data.task_id, "ended")
        self._end_lease(task)
        self._move(task, "cancelled" if isinstance(data, TaskCancelled) else "dead_letter")

    def _reopened(self, event: Event, data: TaskReopened) -> None:
        task = self._tasks[data.task_id]
        if task.state not in TERMINAL:
            self._broken(TERMINAL_STAYS, f"{data.task_id} is {task.state}, yet it is reopened")
        if not data.reason.strip() or not event.principal:
            self._broken(TERMINAL_STAYS, f"{data.task_id} is reopened without actor or reason")
        self._accepted.discard(data.task_id)
        self._move(task, "open")

    def _archived(self, _: Event, data: TaskArchived) -> None:
        task = self._tasks.pop(data.task_id)
        self._buried.add(data.task_id)
        self._holds.pop(("task", data.task_id), None)
        if task.state not in TERMINAL:
            self._broken(CONSERVATION, f"{data.task_id} is archived while it is {task.state}")

    def _registered(self, _: Event, data: AgentRegistered) -> None:
        self._capacity[data.agent_id] = data.capacity

    def _project(self, _: Event, data: ProjectCreated | ProjectUpdated) -> None:
        project = self._projects.setdefault(data.project_id, _SeenProject())
        for limit in ("max_in_progress", "cost_cap_microusd", "token_cap"):
            value = getattr(data, limit)
            if value is not None:
                setattr(project, limit, value)

    def _hold_placed(self, _: Event, data: HoldPlaced) -> None:
        target = "" if data.scope == "workspace" else data.target_id
        self._holds.setdefault((data.scope, target), set()).add(data.kind)

    def _hold_lifted(self, _: Event, data: HoldLifted) -> None:
        target = "" if data.scope == "workspace" else data.target_id
        self._holds.get((data.scope, target), set()).discard(data.kind)

    # -- parts of the checks ------------------------------------------------------------------

    def _broken(self, invariant: str, detail: str) -> None:
        self._found.append(Violation(invariant, detail))

    def _live(self, task_id: TaskId, what: str) -> _SeenTask:
        task = self._tasks[task_id]
        if task.state in TERMINAL:
            self._broken(TERMINAL_STAYS, f"{task_id} is {task.state}, yet it is {what}")
        return task

    def _fenced(self, data: Any) -> _SeenTask:  # any event with a task, an agent and a token
        task = self._live(data.task_id, f"subject of {type(data).__name__}")
        if data.lease_token != task.lease_token:
            detail = (
                f"{type(data).__name__} on {data.task_id} carries token {data.lease_token}, "
                f"current is {task.lease_token}"
            )
            self._broken(FENCED, detail)
        elif data.agent_id != task.holder:
            detail = (
                f"{type(data).__name__} on {data.task_id} is by {data.agent_id or 'nobody'}, "
                f"holder is {task.holder or 'nobody'}"
            )
            self._broken(FENCED, detail)
        return task

    def _move(self, task: _SeenTask, state: str) -> None:
        self._states[task.project_id, task.state] -= 1
        self._states[task.project_id, state] += 1
        task.state = state

    def _end_lease(self, task: _SeenTask) -> None:
        if not task.holder:
            return
        project = self._projects[task.project_id]
        if task.state in LEASED:
            self._n_active[task.holder] -= 1
            project.in_progress -= 1
        project.promised = _minus(project.promised, _left(task.reserved, task.used))
        task.holder = ""

    def _use(self, task: _SeenTask, usage: Usage) -> None:
        project = self._projects[task.project_id]
        before = _left(task.reserved, task.used)
        task.used = task.used.plus(usage)
        project.usage = project.usage.plus(usage)
        used_up = _minus(before, _left(task.reserved, task.used))
        project.promised = _minus(project.promised, used_up)

    def _require_ready(
        self, data: TaskAssigned | LeaseRegranted | HandoffAccepted, task: _SeenTask
    ) -> None:
        allowed = ("open",) if isinstance(data, TaskAssigned) else ("open", "blocked")
        if task.state not in allowed:
            self._broken(READY_SET, f"{data.task_id} is {task.state}, yet it is assigned")
        missing = [d for d in task.dependencies if d not in self._accepted]
        if missing:
            self._broken(READY_SET, f"{data.task_id} is assigned before {', '.join(missing)}")

    def _require_no_hold(self, data: TaskAssigned, task: _SeenTask) -> None:
        targets = (
            ("workspace", ""),
            ("project", task.project_id),
            ("agent", data.agent_id),
            ("task", data.task_id),
        )
        for target in targets:
            if kinds := self._holds.get(target):
                detail = f"{data.task_id} is assigned while {target} is held: {sorted(kinds)}"
                self._broken(READY_SET, detail)

    def _require_limits(self, data: TaskAssigned, project: _SeenProject) -> None:
        n_active, capacity = self._n_active[data.agent_id], self._capacity.get(data.agent_id, 0)
        if n_active > capacity:
            self._broken(CAPACITY, f"{data.agent_id} holds {n_active} of {capacity} tasks")
        if project.max_in_progress and project.in_progress > project.max_in_progress:
            detail = f"{project.in_progress} of {project.max_in_progress} tasks in progress"
            self._broken(CAPACITY, f"with {data.task_id} there are {detail}")
        total = project.usage.plus(project.promised)
        if project.token_cap and total.tokens > project.token_cap:
            detail = f"{total.tokens} of {project.token_cap} tokens are used or promised"
            self._broken(CAPACITY, f"with {data.task_id} {detail}")
        if project.cost_cap_microusd and total.cost_microusd > project.cost_cap_microusd:
            detail = f"{total.cost_microusd} of {project.cost_cap_microusd} micro-dollars"
            self._broken(CAPACITY, f"with {data.task_id} {detail} are used or promised")

    def _explained(self, event: Event, data: TaskAssigned) -> None:
        record = data.decision
        wrong = _unexplained(record, data.task_id)
        if self._recompute is not None and not wrong:
            wrong = self._recompute(record, data.task_id)
        for what in wrong:
            self._broken(EXPLAINABLE, f"assignment of {data.task_id} at {event.position}: {what}")


_FOLDS: dict[type[EventData], Callable[..., None]] = {
    TaskCreated: Watch._created,  # noqa: SLF001 - the table of this very class
    TaskUpdated: Watch._updated,  # noqa: SLF001
    TaskAssigned: Watch._assigned,  # noqa: SLF001
    LeaseRegranted: Watch._regranted,  # noqa: SLF001
    LeaseSuspected: Watch._suspected,  # noqa: SLF001
    CandidateKept: Watch._candidate_kept,  # noqa: SLF001
    ProgressReported: Watch._progress,  # noqa: SLF001
    CompletionSubmitted: Watch._submitted,  # noqa: SLF001
    CompletionAccepted: Watch._completion_accepted,  # noqa: SLF001
    CompletionRejected: Watch._attempt_ended,  # noqa: SLF001
    TaskReleased: Watch._attempt_ended,  # noqa: SLF001
    AssignmentExpired: Watch._attempt_ended,  # noqa: SLF001
    BlockerReported: Watch._blocker_reported,  # noqa: SLF001
    BlockerResolved: Watch._blocker_resolved,  # noqa: SLF001
    InstructionsWritten: Watch._instructions,  # noqa: SLF001
    TaskCancelled: Watch._ended,  # noqa: SLF001
    TaskDeadLettered: Watch._ended,  # noqa: SLF001
    TaskReopened: Watch._reopened,  # noqa: SLF001
    TaskArchived: Watch._archived,  # noqa: SLF001
    AgentRegistered: Watch._registered,  # noqa: SLF001
    AgentLeft: Watch._left,  # noqa: SLF001
    HandoffAccepted: Watch._handed_off,  # noqa: SLF001
    MessageSent: Watch._message_sent,  # noqa: SLF001
    MessagesAcknowledged: Watch._messages_read,  # noqa: SLF001
    ProjectCreated: Watch._project,  # noqa: SLF001
    ProjectUpdated: Watch._project,  # noqa: SLF001
    HoldPlaced: Watch._hold_placed,  # noqa: SLF001
    HoldLifted: Watch._hold_lifted,  # noqa: SLF001
}


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


def _left(reserved: Usage, used: Usage) -> Usage:
    return Usage(
        max(0, reserved.tokens - used.tokens), max(0, reserved.cost_microusd - used.cost_microusd)
    )


def _minus(one: Usage, other: Usage) -> Usage:
    return Usage(one.tokens - other.tokens, one.cost_microusd - other.cost_microusd)


# -- the full scan ------------------------------------------------------------------------------


def check_world(world: World) -> list[Violation]:
    """Scan a whole world: linear in tasks, dependencies and agents.

    The ready-set holds tasks by their own state, dependencies and holds; holds of the workspace, a
    project or an agent keep a task back at dispatch, which `Watch` checks.
    """
    return [
        *_check_ready_set(world),
        *_check_cycles(world),
        *_check_conservation(world),
        *_check_assignments(world),
        *_check_reserved(world),
        *_check_messages(world),
        *_check_indexes(world),
    ]


def _check_ready_set(world: World) -> Iterator[Violation]:
    done = {t.id for t in world.tasks.values() if t.state == "done"}
    ready = set()
    for task in world.tasks.values():
        waiting_on = sum(d not in done and not _is_buried_done(world, d) for d in task.dependencies)
        if task.waiting_on != waiting_on:
            detail = f"{task.id} waits for {waiting_on} tasks, counted {task.waiting_on}"
            yield Violation(READY_SET, detail)
        if task.state == "open" and not waiting_on and not task.holds:
            ready.add(task.id)
    kept = set(world.ready)
    if kept != ready:
        detail = f"missing {sorted(ready - kept)}, too many {sorted(kept - ready)}"
        yield Violation(READY_SET, detail)


def _is_buried_done(world: World, task_id: TaskId) -> bool:
    buried = world.tombstones.get(task_id)
    return buried is not None and buried.state == "done"


def _check_cycles(world: World) -> Iterator[Violation]:
    """Take away tasks that wait for none, until none is left; what stays is a cycle."""
    missing = {
        task.id: sum(d in world.tasks for d in task.dependencies) for task in world.tasks.values()
    }
    waiting: dict[TaskId, list[TaskId]] = {}
    for task in world.tasks.values():
        for dependency in task.dependencies:
            waiting.setdefault(dependency, []).append(task.id)
    free = [task_id for task_id, n in missing.items() if n == 0]
    for task_id in free:  # grows while it is read
        for other in waiting.get(task_id, ()):
            missing[other] -= 1
            if missing[other] == 0:
                free.append(other)
    if len(free) < len(world.tasks):
        stuck = sorted(set(world.tasks) - set(free))
        yield Violation(READY_SET, f"these tasks wait for each other: {stuck[:9]}")


def _check_conservation(world: World) -> Iterator[Violation]:
    counts: Counter[tuple[ProjectId, str]] = Counter()
    for task in world.tasks.values():
        counts[task.project_id, task.state] += 1
    for task_id, buried in world.tombstones.items():
        counts[buried.project_id, buried.state] += 1
        if buried.state not in TERMINAL or task_id in world.tasks:
            yield Violation(CONSERVATION, f"{task_id} has a tombstone but has not ended")
    if counts.total() != world.tables.tasks_created:
        detail = f"{world.tables.tasks_created} tasks created, {counts.total()} accounted for"
        yield Violation(CONSERVATION, detail)
    kept = {(p, s): n for p, states in world.counts.items() for s, n in states.items() if n}
    if kept != dict(counts):
        yield Violation(CONSERVATION, f"counts by state are {kept}, should be {dict(counts)}")


def _check_assignments(world: World) -> Iterator[Violation]:
    active: dict[AgentId, set[TaskId]] = {}
    for task_id, held in world.assignments.items():
        task = world.tasks.get(task_id)
        if task is None or task.state not in HELD:
            state = task.state if task else "unknown"
            yield Violation(SINGLE_LEASE, f"{task_id} is {state}, yet {held.agent_id} holds it")
            continue
        if (held.lease_token, held.attempt) != (task.lease_token, task.attempt):
            detail = f"{task_id}: assignment has token {held.lease_token}, task {task.lease_token}"
            yield Violation(FENCED, detail)
        if task.state in LEASED:
            active.setdefault(held.agent_id, set()).add(task_id)
    for task in world.tasks.values():
        if task.state in ("assigned", "in_review") and task.id not in world.assignments:
            yield Violation(SINGLE_LEASE, f"{task.id} is {task.state}, yet nobody holds it")
    for agent in world.agents.values():
        held_now = active.pop(agent.id, set())
        if set(agent.active) != held_now or len(agent.active) != len(held_now):
            detail = f"{agent.id} counts {agent.active} as active, should be {sorted(held_now)}"
            yield Violation(CAPACITY, detail)
    if active:
        yield Violation(SINGLE_LEASE, f"unknown agents hold tasks: {sorted(active)}")


def _check_reserved(world: World) -> Iterator[Violation]:
    tokens: Counter[ProjectId] = Counter()
    cost: Counter[ProjectId] = Counter()
    for held in world.assignments.values():
        left = _left_of(held)
        project_id = world.tasks[held.task_id].project_id
        tokens[project_id] += left.tokens
        cost[project_id] += left.cost_microusd
    if _nonzero(world.reserved_tokens) != _nonzero(tokens):
        yield Violation(CAPACITY, f"{world.reserved_tokens} tokens reserved, should be {tokens}")
    if _nonzero(world.reserved) != _nonzero(cost):
        yield Violation(CAPACITY, f"{world.reserved} micro-dollars reserved, should be {cost}")


def _check_messages(world: World) -> Iterator[Violation]:
    """Each message waits in as many inboxes as it counts, in the order in which it was sent."""
    n_unread: Counter[MessageId] = Counter()
    for agent_id, inbox in world.inboxes.items():
        n_unread.update(inbox.unread)
        numbers = [number_of(message_id) for message_id in inbox.unread]
        if numbers != sorted(set(numbers)) or not 0 < len(numbers) <= MAX_INBOX:
            yield Violation(MESSAGES, f"the inbox of {agent_id} holds {numbers}")
        urgent = sum(
            world.messages[m].urgency == "urgent" for m in inbox.unread if m in world.messages
        )
        if urgent != inbox.n_urgent or world.agents[agent_id].left_at_us:
            yield Violation(MESSAGES, f"the inbox of {agent_id} counts {inbox.n_urgent} urgent")
    counted = {message.id: message.n_unread for message in world.messages.values()}
    if counted != dict(n_unread):
        yield Violation(MESSAGES, f"messages wait {counted}, inboxes hold {dict(n_unread)}")
    for handoff in world.handoffs.values():
        held = world.assignments.get(handoff.task_id)
        if held is None or held.lease_token != handoff.lease_token:
            yield Violation(FENCED, f"{handoff.id} is of a lease of {handoff.task_id} that ended")


def _left_of(held: Assignment) -> Usage:
    return _left(held.reserved, held.usage)


def _nonzero(counts: Counter[ProjectId]) -> dict[ProjectId, int]:
    return {key: n for key, n in counts.items() if n}


def _check_indexes(world: World) -> Iterator[Violation]:
    """Compare everything derived with what a world rebuilt from the same tables derives."""
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(world.tables), type=Tables)
    rebuilt = World(copy)
    if rebuilt.fingerprint() != world.fingerprint():
        yield Violation(REPLAY, "the tables change on their way through a snapshot")
    live, again = _indexes(world), _indexes(rebuilt)
    for name, value in live.items():
        if value != again[name]:
            detail = f"index {name} is {_difference(value, again[name])} in a rebuilt world"
            yield Violation(REPLAY, detail)


def _indexes(world: World) -> dict[str, dict[Any, Any]]:
    kinds = {number: kind for kind, number in world.kind_numbers.items()}
    ready: dict[Any, Any] = {}
    for key, ready_class in world.ready.classes.items():
        for rank, number, slot in ready_class.entries:
            row = dict(zip(COLUMNS, world.ready.columns[slot].tolist(), strict=True))
            row["kind"] = kinds[row["kind"]]
            last_agent = int(world.ready.last_agents[slot])
            ready[world.ready.task_ids[slot]] = (key, rank, number, row, last_agent)
    return {
        "ready": ready,
        "dependants": {t: set(waiting) for t, waiting in world.dependants.items() if waiting},
        "signatures": {s: set(agents) for s, agents in world.signatures.items() if agents},
        "task_blockers": {t: list(blockers) for t, blockers in world.task_blockers.items()},
        "awaited": {t: set(blockers) for t, blockers in world.awaited.items()},
        "task_keys": dict(world.task_keys),
        "task_handoffs": dict(world.task_handoffs),
        "watched": {f: set(one.where) for f, one in world.watchlists.by_filter.items()},
        "subscribers": {a: dict(own) for a, own in world.watchlists.of_agent.items()},
        "hooked": dict(world.watchlists.hooked),
        "agent_numbers": dict(world.agent_numbers),
        "leased": _nonzero(world.leased),
        "held_min": _nonzero(world.held_min),
        "unanswered": dict(world.unanswered),
        "inheritance": {
            t.id: world.inheritance.of(t) for t in world.tasks.values() if not t.is_terminal
        },
    }


def _difference(live: dict[Any, Any], rebuilt: dict[Any, Any]) -> str:
    key = next(k for k in (*live, *rebuilt) if live.get(k) != rebuilt.get(k))
    return f"{live.get(key)} at {key}, but {rebuilt.get(key)}"


# -- the replay ---------------------------------------------------------------------------------


def check_replay(
    stored: Sequence[StoredEvent], live: str, snapshot: StoredSnapshot | None = None
) -> list[Violation]:
    """Fold a whole journal again and compare fingerprints.

    Parameters
    ----------
    stored
        Every event from the first on.
    live
        Fingerprint of the world that is to come out.
    snapshot : optional
        Of the same journal; with the events after it the same world must come out.
    """
    found = list(_check_chain(stored))
    world = World()
    at_snapshot = ""
    for one in stored:
        world.apply(unseal(one))
        if snapshot is not None and one.position == snapshot.position:
            at_snapshot = world.fingerprint()
    if world.fingerprint() != live:
        found.append(Violation(REPLAY, f"{len(stored)} events fold to another world"))
    if snapshot is not None:
        loaded, _ = snapshots.load(snapshot)
        if snapshot.position and loaded.fingerprint() != at_snapshot:
            found.append(Violation(REPLAY, f"the snapshot at {snapshot.position} is another world"))
        for one in stored[snapshot.position :]:
            loaded.apply(unseal(one))
        if loaded.fingerprint() != live:
            detail = f"the snapshot at {snapshot.position} and its tail fold to another world"
            found.append(Violation(REPLAY, detail))
    return found


def _check_chain(stored: Iterable[StoredEvent]) -> Iterator[Violation]:
    previous, epoch = GENESIS, 0
    for one in stored:
        if not is_intact(one, previous):
            yield Violation(REPLAY, f"event {one.position} does not follow the hash before it")
        if one.epoch < epoch:
            detail = f"event {one.position} of epoch {one.epoch} follows epoch {epoch}"
            yield Violation(SINGLE_WRITER, detail)
        previous, epoch = one.hash, max(epoch, one.epoch)
