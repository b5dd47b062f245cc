"""The world: everything decisions read. A fold of the journal; ``apply`` only dispatches.

Tables hold frozen structs and are what a snapshot stores. Indexes are derived from the tables by
the ``put_`` methods, the only writers, and are rebuilt when a snapshot is loaded.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from pm_agent.domain import (
    access,
    agent,
    assignment,
    blocker,
    collaboration,
    handoff,
    hold,
    instruction,
    message,
    project,
    subscription,
    task,
)
from pm_agent.domain.access import AccessToken, ApiKey
from pm_agent.domain.agent import Agent, Signature
from pm_agent.domain.assignment import Assignment
from pm_agent.domain.blocker import Blocker
from pm_agent.domain.case import Case
from pm_agent.domain.collaboration import Collaboration
from pm_agent.domain.envelope import DEFAULT_WORKSPACE, NO_USAGE, Event, EventData, Usage
from pm_agent.domain.handoff import Handoff
from pm_agent.domain.hold import Hold, Scope
from pm_agent.domain.ids import (
    AgentId,
    BlockerId,
    BodyRef,
    CollaborationId,
    HandoffId,
    MessageId,
    ProjectId,
    SubscriptionId,
    TaskId,
)
from pm_agent.domain.inheritance import Inheritance
from pm_agent.domain.instruction import Instruction
from pm_agent.domain.message import Inbox, Message
from pm_agent.domain.project import Project
from pm_agent.domain.ready_set import ReadySet
from pm_agent.domain.subscription import Subscription, Watchlist, Watchlists
from pm_agent.domain.task import (
    FAILED_OUTCOMES,
    LEASED,
    MAX_KEPT_ATTEMPTS,
    Attempt,
    AttemptOutcome,
    Task,
    TaskState,
)
from pm_agent.domain.time import MINUTE_US
from pm_agent.domain.tombstone import Tombstone, Tombstones
from pm_agent.domain.track_record import NO_RECORD, TrackRecord, with_outcome

NOUNS = (
    hold,
    task,
    agent,
    project,
    assignment,
    blocker,
    access,
    instruction,
    message,
    handoff,
    collaboration,
    subscription,
)
APPLIERS: dict[type[EventData], Any] = {
    kind: applier for noun in NOUNS for kind, applier in noun.APPLY.items()
}


class Tables(msgspec.Struct, kw_only=True):
    """What a snapshot stores. Everything else in the world follows from it."""

    workspace_id: str = DEFAULT_WORKSPACE
    position: int = 0
    epoch: int = 0
    now_us: int = 0  # instant of the last event
    next_task_number: int = 1
    next_blocker_number: int = 1
    messages_sent: int = 0
    handoffs_offered: int = 0
    collaborations_requested: int = 0
    subscriptions_made: int = 0
    tasks_created: int = 0
    tasks: dict[TaskId, Task] = {}
    tombstones: Tombstones = msgspec.field(default_factory=Tombstones)
    agents: dict[AgentId, Agent] = {}
    projects: dict[ProjectId, Project] = {}
    assignments: dict[TaskId, Assignment] = {}
    blockers: dict[BlockerId, Blocker] = {}
    cases: dict[BlockerId, Case] = {}
    person_answer_us: int = 0  # how long people take who are asked, smoothed; 0: none answered yet
    tokens: dict[str, AccessToken] = {}
    instructions: dict[TaskId, Instruction] = {}
    # agent id -> kind of task -> how it went
    track_records: dict[AgentId, dict[str, TrackRecord]] = {}
    workspace_holds: tuple[Hold, ...] = ()
    api_keys: dict[str, ApiKey] = {}
    denied: dict[str, int] = {}  # id of a short-lived token -> when it ends by itself
    messages: dict[MessageId, Message] = {}  # until every recipient has acknowledged them
    inboxes: dict[AgentId, Inbox] = {}  # those that are not empty
    handoffs: dict[HandoffId, Handoff] = {}  # that wait for an answer
    collaborations: dict[CollaborationId, Collaboration] = {}  # that nobody has taken up yet
    subscriptions: dict[SubscriptionId, Subscription] = {}
    earned_silences: dict[AgentId, int] = {}  # allowances granted by habit, above the common one


# Tables that came after the first release: an empty one is no part of the fingerprint, so that
# journals of before fold to what they always folded to.
LATER_TABLES = frozenset(
    {
        "api_keys",
        "cases",
        "person_answer_us",
        "denied",
        "messages_sent",
        "handoffs_offered",
        "collaborations_requested",
        "subscriptions_made",
        "messages",
        "inboxes",
        "handoffs",
        "collaborations",
        "subscriptions",
        "earned_silences",
    }
)


class World:
    def __init__(self, tables: Tables | None = None) -> None:
        t = self.tables = tables or Tables()
        self.tasks = t.tasks
        self.tombstones = t.tombstones
        self.agents = t.agents
        self.projects = t.projects
        self.assignments = t.assignments
        self.blockers = t.blockers
        self.cases = t.cases
        self.tokens = t.tokens
        self.instructions = t.instructions
        self.track_records = t.track_records
        self.api_keys = t.api_keys
        self.denied = t.denied
        # How often access was taken away, so that who remembers a token knows when to look again.
        self.access_changes = 0
        self.messages = t.messages
        self.inboxes = t.inboxes
        self.handoffs = t.handoffs
        self.collaborations = t.collaborations
        self.subscriptions = t.subscriptions
        self.earned_silences = t.earned_silences
        # Indexes, derived.
        self.ready = ReadySet()
        self.inheritance = Inheritance(self.tasks, self.tombstones)
        self.dependants: dict[TaskId, dict[TaskId, None]] = {}
        self.counts: dict[ProjectId, Counter[str]] = defaultdict(Counter)  # tasks by state
        self.held_min: Counter[AgentId] = Counter()  # estimated minutes of its active tasks
        self.unanswered: dict[TaskId, AgentId] = {}  # offered to a waiting agent, not heard yet
        self.leased: Counter[ProjectId] = Counter()  # tasks that agents work on now
        self.reserved: Counter[ProjectId] = Counter()  # micro-dollars promised to running work
        self.reserved_tokens: Counter[ProjectId] = Counter()
        self.limited: dict[ProjectId, None] = {}  # projects with a hold, a limit or a cap
        self.signatures: dict[Signature, dict[AgentId, None]] = {}
        # Agents that a ready class admits, by its number; counted when asked, until agents change.
        self.able: dict[int, int] = {}
        self.task_blockers: dict[TaskId, list[BlockerId]] = {}
        self.task_handoffs: dict[TaskId, HandoffId] = {}
        self.awaited: dict[TaskId, dict[BlockerId, None]] = {}  # by open blockers
        self.watchlists = Watchlists()
        self.task_keys: dict[tuple[ProjectId, str], TaskId] = {}
        self.kind_numbers: dict[str, int] = {}
        self.agent_numbers: dict[AgentId, int] = {}
        self._rebuild_indexes()

    # -- the fold ---------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Change the world by one event. Events come in order, each once."""
        t = self.tables
        assert event.position == t.position + 1, (event.position, t.position)
        t.position = event.position
        t.epoch = event.epoch
        t.now_us = event.at_us
        APPLIERS[type(event.data)](self, event, event.data)

    @property
    def position(self) -> int:
        return self.tables.position

    @property
    def next_task_number(self) -> int:
        return self.tables.next_task_number

    @next_task_number.setter
    def next_task_number(self, number: int) -> None:
        self.tables.next_task_number = number

    @property
    def next_blocker_number(self) -> int:
        return self.tables.next_blocker_number

    @next_blocker_number.setter
    def next_blocker_number(self, number: int) -> None:
        self.tables.next_blocker_number = number

    def fingerprint(self) -> str:
        """SHA-256 of all tables in canonical JSON: equal worlds, equal fingerprints."""
        digest = hashlib.sha256()
        for part in _canonical(self.tables):
            digest.update(part)
        return digest.hexdigest()

    # -- writers: the only places that change tables ------------------------------------------

    def put_task(self, new: Task) -> None:
        old = self.tasks.get(new.id)
        self.tasks[new.id] = new
        if old is None:
            self.tables.tasks_created += 1
            self.counts[new.project_id][new.state] += 1
            if new.key:
                self.task_keys[new.project_id, new.key] = new.id
        elif old.state != new.state:
            counts = self.counts[new.project_id]
            counts[old.state] -= 1
            counts[new.state] += 1
            if new.is_terminal or old.is_terminal:
                self._change_urgency(old, new)
        elif old.estimate_min != new.estimate_min and new.state in LEASED:
            holding = self.assignments.get(new.id)
            if holding is not None:
                self.held_min[holding.agent_id] += new.estimate_min - old.estimate_min
        if old is not None and old.priority != new.priority:
            self._change_urgency(old, new)
        if new.is_ready:
            self._put_ready(new)
        elif old is not None:
            self.ready.remove(new.id)
            if self.watchlists.by_filter:
                self.watchlists.remove(new.id)

    def bury_task(self, task_id: TaskId) -> None:
        """Keep only a tombstone of a terminal task."""
        old = self.tasks.pop(task_id)
        self.link_dependencies(task_id, old.dependencies, ())
        self.dependants.pop(task_id, None)
        self.instructions.pop(task_id, None)
        for blocker_id in self.task_blockers.pop(task_id, ()):
            self._count_awaited(self.blockers.pop(blocker_id), is_open=False)
        if old.key:
            self.task_keys.pop((old.project_id, old.key), None)
        tombstone = Tombstone(old.project_id, old.state, old.lease_token, old.ended_at_us)
        self.tombstones.put(task_id, tombstone)

    def put_agent(self, new: Agent) -> None:
        old = self.agents.get(new.id)
        self.agents[new.id] = new
        if new.id in self.watchlists.hooked:
            self.watchlists.idle[new.id] = None
        if old is None:
            self.agent_numbers[new.id] = len(self.agent_numbers) + 1
        elif old.skills == new.skills and old.project_ids == new.project_ids:
            return
        else:
            self.signatures[old.signature].pop(new.id, None)
            self.ready.refresh_project(None)
        self.signatures.setdefault(new.signature, {})[new.id] = None
        self.able.clear()

    def put_project(self, new: Project) -> None:
        old = self.projects.get(new.id)
        self.projects[new.id] = new
        if new.is_limited:
            self.limited[new.id] = None
        else:
            self.limited.pop(new.id, None)
        if old is not None and (old.max_in_progress, old.cost_cap_microusd, old.token_cap) != (
            new.max_in_progress,
            new.cost_cap_microusd,
            new.token_cap,
        ):
            self.ready.refresh_project(new.id)

    def put_assignment(self, new: Assignment) -> None:
        old = self.assignments.get(new.task_id)
        self.assignments[new.task_id] = new
        if old is None or old.usage is not new.usage:
            self._count_reserved(old, new)
        if new.is_offered:
            self.unanswered[new.task_id] = new.agent_id
        else:
            self.unanswered.pop(new.task_id, None)
        if old is None:
            holder = self.agents[new.agent_id]
            held = self.tasks[new.task_id]
            self.leased[held.project_id] += 1
            self.held_min[holder.id] += held.estimate_min
            self.put_agent(msgspec.structs.replace(holder, active=(*holder.active, new.task_id)))

    def put_blocker(self, new: Blocker) -> None:
        if new.id not in self.blockers:
            self.task_blockers.setdefault(new.task_id, []).append(new.id)
        self.blockers[new.id] = new
        self._count_awaited(new, is_open=new.is_open)

    def put_handoff(self, new: Handoff) -> None:
        self.handoffs[new.id] = new
        self.task_handoffs[new.task_id] = new.id

    def drop_handoff(self, task_id: TaskId) -> None:
        """End the handoff of a task, if there is one."""
        known = self.task_handoffs.pop(task_id, None)
        if known is not None:
            del self.handoffs[known]

    def put_subscription(self, new: Subscription) -> None:
        is_new = new.id not in self.subscriptions
        self.subscriptions[new.id] = new
        if new.webhook is not None:
            self.watchlists.idle[new.agent_id] = None
        if not is_new:
            return
        lists = self.watchlists
        lists.of_agent.setdefault(new.agent_id, {})[new.id] = new.filter
        if new.webhook is not None:
            lists.hooked[new.agent_id] = new.id
        if new.filter not in lists.by_filter:
            watchlist = lists.by_filter[new.filter] = Watchlist(new.filter)
            for task_id in self.ready:
                watchlist.put(self.tasks[task_id], *self.ready.place_of(task_id))
        self.ready.refresh_project(None)

    def drop_subscription(self, identifier: SubscriptionId) -> None:
        old = self.subscriptions.pop(identifier)
        lists = self.watchlists
        own = lists.of_agent[old.agent_id]
        del own[identifier]
        if not own:
            del lists.of_agent[old.agent_id]
        if not any(old.filter in filters.values() for filters in lists.of_agent.values()):
            del lists.by_filter[old.filter]
        hooks = [s for s in own if self.subscriptions[s].webhook is not None]
        if hooks:
            lists.hooked[old.agent_id] = hooks[-1]
        else:
            lists.hooked.pop(old.agent_id, None)
            lists.idle.pop(old.agent_id, None)
        self.ready.refresh_project(None)  # without any filter the agent is offered everything

    def note_unanswered(self, agent_id: AgentId, at_us: int) -> None:
        """A task that was offered came back without a word."""
        hook = self.watchlists.hooked.get(agent_id)
        if hook is not None:
            known = self.subscriptions[hook]
            self.put_subscription(msgspec.structs.replace(known, unanswered_us=at_us))

    def put_holds(self, scope: Scope, target_id: str, holds: tuple[Hold, ...]) -> None:
        if scope == "workspace":
            self.tables.workspace_holds = holds
            if not holds:
                self.ready.refresh_project(None)
        elif scope == "project":
            self.put_project(msgspec.structs.replace(self.projects[target_id], holds=holds))
            if not holds:
                self.ready.refresh_project(target_id)
        elif scope == "agent":
            self.put_agent(msgspec.structs.replace(self.agents[target_id], holds=holds))
            if not holds:
                self.ready.refresh_project(None)
        else:
            self.put_task(msgspec.structs.replace(self.tasks[target_id], holds=holds))

    def add_usage(self, task_id: TaskId, agent_id: AgentId, usage: Usage) -> None:
        if usage == NO_USAGE:
            return
        old_task = self.tasks[task_id]
        replace = msgspec.structs.replace
        self.put_task(replace(old_task, usage=old_task.usage.plus(usage)))
        old_agent = self.agents[agent_id]
        self.put_agent(replace(old_agent, usage=old_agent.usage.plus(usage)))
        old_project = self.projects[old_task.project_id]
        self.put_project(replace(old_project, usage=old_project.usage.plus(usage)))

    def free_agent(self, task_id: TaskId, agent_id: AgentId) -> None:
        """Take a task from the agent's active ones, which count against its capacity.

        It has been handed in or is over, so nobody can take it over any more.
        """
        self.drop_handoff(task_id)
        holder = self.agents[agent_id]
        if task_id in holder.active:
            freed = self.tasks[task_id]
            self.leased[freed.project_id] -= 1
            self.held_min[agent_id] -= freed.estimate_min
            active = tuple(t for t in holder.active if t != task_id)
            self.put_agent(msgspec.structs.replace(holder, active=active))

    def end_attempt(
        self, event: Event, task_id: TaskId, outcome: AttemptOutcome, note: BodyRef | None = None
    ) -> None:
        """End the live assignment, if any: record the attempt; the task is done or open again."""
        ended = self.assignments.pop(task_id, None)
        if ended is None:
            return
        self.unanswered.pop(task_id, None)
        self._count_reserved(ended, None)
        self.free_agent(task_id, ended.agent_id)
        old = self.tasks[task_id]
        attempt = Attempt(
            agent_id=ended.agent_id,
            lease_token=ended.lease_token,
            outcome=outcome,
            started_at_us=ended.granted_at_us,
            ended_at_us=event.at_us,
            percent=ended.percent,
            note=note or ended.note,
            where=ended.where,
        )
        failed = outcome in FAILED_OUTCOMES
        is_done = outcome == "completed"
        state: TaskState = "done" if is_done else "open"
        if not is_done and self.open_blockers(task_id):
            state = "blocked"
        self.put_task(
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
            self._record_outcome(old.kind, ended, event.at_us, accepted=not failed)
        self.make_room(old.project_id)

    def make_room(self, project_id: ProjectId) -> None:
        """Mark a project's classes as fresh: work has left room under a limit."""
        limited = self.projects[project_id]
        if limited.max_in_progress or limited.cost_cap_microusd or limited.token_cap:
            self.ready.refresh_project(project_id)

    def change_waiting(self, task_id: TaskId, delta: int) -> None:
        """Count a dependency as accepted (-1) or no longer accepted (+1) in its dependants."""
        for waiting_id in self.dependants.get(task_id, ()):
            waiting = self.tasks[waiting_id]
            self.put_task(msgspec.structs.replace(waiting, waiting_on=waiting.waiting_on + delta))

    def link_dependencies(
        self, task_id: TaskId, old: tuple[TaskId, ...], new: tuple[TaskId, ...]
    ) -> None:
        if not old and not new:
            return
        for dependency in old:
            self.dependants.get(dependency, {}).pop(task_id, None)
        for dependency in new:  # a task of the same import may be created after its dependant
            if dependency not in self.tombstones:
                self.dependants.setdefault(dependency, {})[task_id] = None
        linked = self.tasks.get(task_id)
        if linked is not None and not linked.is_terminal:
            urgency = self.inheritance.of(linked)
            self._put_changed(self.inheritance.shift(old, urgency, None))
            self._put_changed(self.inheritance.shift(new, None, urgency))
        self._put_changed({*old, *new})

    # -- readers ------------------------------------------------------------------------------

    def count_unaccepted(self, dependencies: Iterable[TaskId]) -> int:
        return sum(not self.is_accepted(dependency) for dependency in dependencies)

    def is_accepted(self, task_id: TaskId) -> bool:
        known = self.tasks.get(task_id) or self.tombstones.get(task_id)
        return known is not None and known.state == "done"

    def holds_of(self, scope: Scope, target_id: str) -> tuple[Hold, ...]:
        if scope == "workspace":
            return self.tables.workspace_holds
        if scope == "project":
            return self.projects[target_id].holds
        if scope == "agent":
            return self.agents[target_id].holds
        return self.tasks[target_id].holds

    def open_blockers(self, task_id: TaskId) -> list[Blocker]:
        known = (self.blockers[b] for b in self.task_blockers.get(task_id, ()))
        return [b for b in known if b.is_open]

    def kind_number(self, kind: str) -> int:
        return self.kind_numbers.setdefault(kind, len(self.kind_numbers))

    # -- indexes ------------------------------------------------------------------------------

    def _change_urgency(self, old: Task, new: Task) -> None:
        """Let what ``new`` depends on inherit its priority, or no longer do so."""
        inherited = self.inheritance
        before = None if old.is_terminal else inherited.of(old)
        if new.is_terminal:
            inherited.end(new.id)
        elif old.is_terminal:
            inherited.reopen(new.id, self.dependants.get(new.id, ()))
        after = None if new.is_terminal else inherited.of(new)
        if before != after:
            self._put_changed(inherited.shift(new.dependencies, before, after))

    def _put_changed(self, task_ids: Iterable[TaskId]) -> None:
        for task_id in task_ids:
            if task_id in self.ready:
                self._put_ready(self.tasks[task_id])

    def _put_ready(self, of: Task) -> None:
        urgency = self.inheritance.of(of)
        self.ready.put(of, self._row(of, urgency), self._failed_last(of), urgency)
        if self.watchlists.by_filter:
            key, entry = self.ready.place_of(of.id)
            if self.watchlists.put(of, key, entry):
                self.ready.fresh[key] = None

    def _row(self, of: Task, urgency: int) -> tuple[float, ...]:
        """One row of `ready_set.COLUMNS`."""
        waiting = self.dependants.get(of.id)
        return (
            self.kind_number(of.kind),
            of.estimate_min,
            of.created_at_us,
            len(waiting) if waiting else 0,
            of.critical_path_min / 60,
            len(of.dependencies),
            urgency,
            of.level,
            of.failures,
        )

    def _failed_last(self, of: Task) -> int:
        """Number of the agent whose attempt at the task failed last, or 0."""
        if not of.failures:
            return 0
        for attempt in reversed(of.attempts):  # one that was only given back did not fail
            if attempt.outcome in FAILED_OUTCOMES:
                return self.agent_numbers.get(attempt.agent_id, 0)
        return 0

    def _record_outcome(
        self, kind: str, ended: Assignment, ended_at_us: int, *, accepted: bool
    ) -> None:
        records = self.track_records.setdefault(ended.agent_id, {})
        duration_min = (ended_at_us - ended.granted_at_us) / MINUTE_US
        old = records.get(kind, NO_RECORD)
        records[kind] = with_outcome(old, accepted=accepted, duration_min=duration_min)

    def _count_awaited(self, of: Blocker, *, is_open: bool) -> None:
        for task_id in of.needs_task_ids:
            if is_open:
                self.awaited.setdefault(task_id, {})[of.id] = None
            elif task_id in self.awaited:
                self.awaited[task_id].pop(of.id, None)
                if not self.awaited[task_id]:
                    del self.awaited[task_id]

    def _count_reserved(self, old: Assignment | None, new: Assignment | None) -> None:
        for held, sign in ((old, -1), (new, +1)):
            if held is None or held.reserved == NO_USAGE:
                continue
            project_id = self.tasks[held.task_id].project_id
            left = max(0, held.reserved.cost_microusd - held.usage.cost_microusd)
            left_tokens = max(0, held.reserved.tokens - held.usage.tokens)
            self.reserved[project_id] += sign * left
            self.reserved_tokens[project_id] += sign * left_tokens

    def _rebuild_indexes(self) -> None:
        created = self.tables.tasks_created
        for known_agent in list(self.agents.values()):
            self.agent_numbers[known_agent.id] = len(self.agent_numbers) + 1
            self.signatures.setdefault(known_agent.signature, {})[known_agent.id] = None
            for task_id in known_agent.active:
                active = self.tasks[task_id]
                self.leased[active.project_id] += 1
                self.held_min[known_agent.id] += active.estimate_min
        for known_blocker in self.blockers.values():
            self.task_blockers.setdefault(known_blocker.task_id, []).append(known_blocker.id)
            self._count_awaited(known_blocker, is_open=known_blocker.is_open)
        for known_subscription in list(self.subscriptions.values()):
            del self.subscriptions[known_subscription.id]
            self.put_subscription(known_subscription)
        for known_handoff in self.handoffs.values():
            self.task_handoffs[known_handoff.task_id] = known_handoff.id
        for known_project in self.projects.values():
            if known_project.is_limited:
                self.limited[known_project.id] = None
        tasks = list(self.tasks.values())
        for known in tasks:
            for dependency in known.dependencies:
                if dependency not in self.tombstones:
                    self.dependants.setdefault(dependency, {})[known.id] = None
        self.tasks.clear()
        for known in tasks:
            self.put_task(known)
            if known.dependencies and not known.is_terminal:
                urgency = self.inheritance.of(known)
                self._put_changed(self.inheritance.shift(known.dependencies, None, urgency))
        for _, buried in self.tombstones.items():  # noqa: PERF102 - it has no values()
            self.counts[buried.project_id][buried.state] += 1
        for held in self.assignments.values():
            self._count_reserved(None, held)
            if held.is_offered:
                self.unanswered[held.task_id] = held.agent_id
        self.ready.fresh.clear()
        self.tables.tasks_created = created


_encode = msgspec.json.Encoder(order="deterministic").encode
_PART = 1_024  # entries encoded at once: a whole table is as large as the world itself


def _canonical(tables: Tables) -> Iterator[bytes]:
    """Canonical JSON of all tables, in parts; tombstones as an object like the others."""
    opening = b"{"
    for name in Tables.__struct_fields__:
        value = getattr(tables, name)
        if name in LATER_TABLES and not value:
            continue
        yield opening + _encode(name) + b":"
        if isinstance(value, Tombstones):
            yield from _object(value.items())
        elif isinstance(value, dict):
            yield from _object((key, value[key]) for key in sorted(value))
        else:
            yield _encode(value)
        opening = b","
    yield b"}"


def _object(items: Iterator[tuple[str, Any]]) -> Iterator[bytes]:
    opening = b"{"
    while part := dict(islice(items, _PART)):
        yield opening + _encode(part)[1:-1]
        opening = b","
    yield b"}" if opening == b"," else b"{}"
