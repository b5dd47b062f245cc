"""The world: everything decisions read. A fold of the journal; ``apply`` only dispatches.

Tables hold frozen structs and are what a snapshot stores. Indexes are derived from the tables by
the ``put_`` methods, the only writers, and are rebuilt when a snapshot is loaded.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from pm_agent.domain import (
    access,
    agent,
    assessment,
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
from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import Assignment
from pm_agent.domain.blocker import Blocker
from pm_agent.domain.dependency import change_urgency, link_dependencies
from pm_agent.domain.envelope import Event, EventData, Usage
from pm_agent.domain.handoff import Handoff
from pm_agent.domain.hold import Hold, Scope
from pm_agent.domain.ids import (
    AgentId,
    BlockerId,
    HandoffId,
    ProjectId,
    TaskId,
)
from pm_agent.domain.inheritance import Inheritance
from pm_agent.domain.project import Project
from pm_agent.domain.ready_set import ReadySet, row_of
from pm_agent.domain.signature import Signature
from pm_agent.domain.subscription import Watchlists, put_subscription
from pm_agent.domain.tables import Tables, fingerprint_of
from pm_agent.domain.task import LEASED, TERMINAL, Task
from pm_agent.domain.team_record import TeamRecord
from pm_agent.domain.tombstone import Tombstone
from pm_agent.domain.track_record import NO_RECORD, TrackRecord

NOUNS = (
    hold,
    task,
    assessment,
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
        self.team_record = TeamRecord()  # by the numbers of kinds
        self.agent_numbers: dict[AgentId, int] = {}
        self.agent_ids: list[AgentId] = []  # by those numbers, which go from 1 on
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
        return fingerprint_of(self.tables)

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
            if new.state in TERMINAL or old.state in TERMINAL:
                change_urgency(self, old, new)
        elif new.state in LEASED and old.minutes != new.minutes:
            holding = self.assignments.get(new.id)
            if holding is not None:
                self.held_min[holding.agent_id] += new.minutes - old.minutes
        if old is not None and old.priority != new.priority:
            change_urgency(self, old, new)
        if new.is_ready:
            self._put_ready(new)
        elif old is not None:
            self.ready.remove(new.id)
            if self.watchlists.by_filter:
                self.watchlists.remove(new.id)

    def bury_task(self, task_id: TaskId) -> None:
        """Keep only a tombstone of a terminal task."""
        old = self.tasks.pop(task_id)
        link_dependencies(self, task_id, old.dependencies, ())
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
            self._number_agent(new.id)
        elif old.skills == new.skills and old.project_ids == new.project_ids:
            return
        else:
            self.signatures[old.signature].pop(new.id, None)
            self.ready.refresh_project(None)
        self.signatures.setdefault(new.signature, {})[new.id] = None
        self.able = {}

    def count_usage(self, task_id: TaskId, agent_id: AgentId, usage: Usage) -> None:
        """Count what work used at its task, its agent and its project: no index depends on it."""
        if not usage.tokens and not usage.cost_microusd:
            return
        replace = msgspec.structs.replace
        task, agent = self.tasks[task_id], self.agents[agent_id]
        project = self.projects[task.project_id]
        self.tasks[task_id] = replace(task, usage=task.usage.plus(usage))
        self.agents[agent_id] = replace(agent, usage=agent.usage.plus(usage))
        if agent_id in self.watchlists.hooked:
            self.watchlists.idle[agent_id] = None  # heard, and so it may stand again
        self.projects[project.id] = replace(project, usage=project.usage.plus(usage))

    def put_track_record(self, agent_id: AgentId, kind: str, new: TrackRecord) -> None:
        records = self.track_records.setdefault(agent_id, {})
        self.team_record.replace(self.kind_number(kind), records.get(kind, NO_RECORD), new)
        records[kind] = new

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
            self.count_reserved(old, new)
        if new.is_offered:
            self.unanswered[new.task_id] = new.agent_id
        else:
            self.unanswered.pop(new.task_id, None)
        if old is None:
            holder = self.agents[new.agent_id]
            held = self.tasks[new.task_id]
            self.leased[held.project_id] += 1
            self.held_min[holder.id] += held.minutes
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
        number = self.kind_numbers.get(kind)
        if number is None:
            number = self.kind_numbers[kind] = len(self.kind_numbers)
            self.team_record.know(number)
        return number

    # -- indexes ------------------------------------------------------------------------------

    def _number_agent(self, agent_id: AgentId) -> None:
        self.agent_ids.append(agent_id)
        self.agent_numbers[agent_id] = len(self.agent_ids)

    def put_changed(self, task_ids: Iterable[TaskId]) -> None:
        for task_id in task_ids:
            if task_id in self.ready:
                self._put_ready(self.tasks[task_id])

    def _put_ready(self, of: Task) -> None:
        urgency = self.inheritance.of(of)
        waiting = self.dependants.get(of.id)
        row = row_of(of, self.kind_number(of.kind), len(waiting) if waiting else 0, urgency)
        last_agent = self.agent_numbers.get(of.failed_last, 0)
        self.ready.put(of, row, last_agent, urgency)
        if self.watchlists.by_filter:
            owner, entry = self.ready.place_of(of.id)
            if self.watchlists.put(of, owner.key, entry):
                self.ready.fresh[owner] = None

    def _count_awaited(self, of: Blocker, *, is_open: bool) -> None:
        for task_id in of.needs_task_ids:
            if is_open:
                self.awaited.setdefault(task_id, {})[of.id] = None
            elif task_id in self.awaited:
                self.awaited[task_id].pop(of.id, None)
                if not self.awaited[task_id]:
                    del self.awaited[task_id]

    def count_reserved(self, old: Assignment | None, new: Assignment | None) -> None:
        """Count what an attempt may use yet, in place of what it might have used before."""
        for held, sign in ((old, -1), (new, +1)):
            if held is None:
                continue
            promised, used = held.reserved, held.usage
            tokens = promised.tokens - used.tokens
            cost_microusd = promised.cost_microusd - used.cost_microusd
            if tokens > 0 or cost_microusd > 0:
                project_id = self.tasks[held.task_id].project_id
                self.reserved[project_id] += sign * max(0, cost_microusd)
                self.reserved_tokens[project_id] += sign * max(0, tokens)

    def _rebuild_indexes(self) -> None:
        created = self.tables.tasks_created
        for known_agent in list(self.agents.values()):
            self._number_agent(known_agent.id)
            self.signatures.setdefault(known_agent.signature, {})[known_agent.id] = None
            for task_id in known_agent.active:
                active = self.tasks[task_id]
                self.leased[active.project_id] += 1
                self.held_min[known_agent.id] += active.minutes
        for records in self.track_records.values():
            for kind, record in records.items():
                self.team_record.replace(self.kind_number(kind), NO_RECORD, record)
        for known_blocker in self.blockers.values():
            self.task_blockers.setdefault(known_blocker.task_id, []).append(known_blocker.id)
            self._count_awaited(known_blocker, is_open=known_blocker.is_open)
        for known_subscription in list(self.subscriptions.values()):
            del self.subscriptions[known_subscription.id]
            put_subscription(self, known_subscription)
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
                self.put_changed(self.inheritance.shift(known.dependencies, None, urgency))
        for _, buried in self.tombstones.items():  # noqa: PERF102 - it has no values()
            self.counts[buried.project_id][buried.state] += 1
        for held in self.assignments.values():
            self.count_reserved(None, held)
            if held.is_offered:
                self.unanswered[held.task_id] = held.agent_id
        self.ready.fresh.clear()
        self.tables.tasks_created = created
