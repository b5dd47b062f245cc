"""What the events so far have said: the small model that `Watch` keeps, which knows no world."""

from collections import Counter, defaultdict
from typing import Any

import msgspec

from pm_agent.domain.envelope import NO_USAGE, Usage
from pm_agent.domain.ids import AgentId, MessageId, ProjectId, TaskId, task_number
from pm_agent.domain.task import LEASED, TERMINAL
from pm_agent.kernel.invariants.promises import FENCED, TERMINAL_STAYS, Recompute, Violation


class SeenTask(msgspec.Struct):
    """A task that has not been archived."""

    project_id: ProjectId
    dependencies: tuple[TaskId, ...]
    state: str = "open"
    lease_token: int = 0
    holder: AgentId = ""  # of the live lease; empty: nobody
    reserved: Usage = NO_USAGE
    used: Usage = NO_USAGE  # in the live attempt
    open_blockers: frozenset[str] = frozenset()  # most tasks never have one
    lost: frozenset[tuple[int, AgentId]] = frozenset()  # leases that ended by silence; mostly none
    rejected: frozenset[int] = frozenset()  # lease tokens of late work


class SeenProject(msgspec.Struct):
    """A project, with what its work may and does use."""

    max_in_progress: int = 0
    cost_cap_microusd: int = 0
    token_cap: int = 0
    in_progress: int = 0
    usage: Usage = NO_USAGE
    promised: Usage = NO_USAGE  # reserved by live leases and not used yet


class TaskSet:
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


class Seen:
    """Tasks, leases, projects, holds and inboxes, as the events tell them."""

    def __init__(self, recompute: Recompute | None) -> None:
        self.recompute = recompute
        self.position = 0
        self.at_us = 0
        self.epoch = 0
        self.tasks: dict[TaskId, SeenTask] = {}
        self.buried = TaskSet()
        self.accepted = TaskSet()
        self.projects: dict[ProjectId, SeenProject] = {}
        self.capacity: dict[AgentId, int] = {}
        self.n_active: Counter[AgentId] = Counter()
        self.holds: dict[tuple[str, str], set[str]] = {}
        self.states: dict[ProjectId, Counter[str]] = defaultdict(Counter)
        self.newest_message = 0
        self.inboxes: dict[AgentId, dict[MessageId, None]] = {}  # in order of delivery
        self.n_created = 0
        self.found: list[Violation] = []

    def broken(self, invariant: str, detail: str) -> None:
        self.found.append(Violation(invariant, detail))

    def live(self, task_id: TaskId, what: str) -> SeenTask:
        task = self.tasks[task_id]
        if task.state in TERMINAL:
            self.broken(TERMINAL_STAYS, f"{task_id} is {task.state}, yet it is {what}")
        return task

    def fenced(self, data: Any) -> SeenTask:  # any event with a task, an agent and a token
        task = self.tasks[data.task_id]
        if task.state in TERMINAL:
            self.live(data.task_id, f"subject of {type(data).__name__}")
        if data.lease_token != task.lease_token:
            detail = (
                f"{type(data).__name__} on {data.task_id} carries token {data.lease_token}, "
                f"current is {task.lease_token}"
            )
            self.broken(FENCED, detail)
        elif data.agent_id != task.holder:
            detail = (
                f"{type(data).__name__} on {data.task_id} is by {data.agent_id or 'nobody'}, "
                f"holder is {task.holder or 'nobody'}"
            )
            self.broken(FENCED, detail)
        return task

    def move(self, task: SeenTask, state: str) -> None:
        states = self.states[task.project_id]
        states[task.state] -= 1
        states[state] += 1
        task.state = state

    def end_lease(self, task: SeenTask) -> None:
        if not task.holder:
            return
        project = self.projects[task.project_id]
        if task.state in LEASED:
            self.n_active[task.holder] -= 1
            project.in_progress -= 1
        project.promised = _minus(project.promised, task.reserved.less(task.used))
        task.holder = ""

    def use(self, task: SeenTask, usage: Usage) -> None:
        if not usage.tokens and not usage.cost_microusd:
            return
        project = self.projects[task.project_id]
        before = task.reserved.less(task.used)
        task.used = task.used.plus(usage)
        project.usage = project.usage.plus(usage)
        used_up = _minus(before, task.reserved.less(task.used))
        project.promised = _minus(project.promised, used_up)


def _minus(one: Usage, other: Usage) -> Usage:
    return Usage(one.tokens - other.tokens, one.cost_microusd - other.cost_microusd)
