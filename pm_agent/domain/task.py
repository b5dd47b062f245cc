"""Tasks: the unit of work, its dependencies and its life from open to done."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.assessment import Assessment
from pm_agent.domain.attempt import FAILED_OUTCOMES, Attempt, end_attempt
from pm_agent.domain.dependency import change_waiting, link_dependencies
from pm_agent.domain.envelope import NO_USAGE, Command, Event, EventData, Usage
from pm_agent.domain.hold import Hold
from pm_agent.domain.ids import AgentId, BodyRef, ProjectId, TaskId

if TYPE_CHECKING:
    from pm_agent.domain.world import World

# "ready" is not stored: it is an open task with every dependency accepted and no hold.
TaskState = Literal["open", "assigned", "blocked", "in_review", "done", "cancelled", "dead_letter"]
TERMINAL: frozenset[str] = frozenset({"done", "cancelled", "dead_letter"})
LEASED: frozenset[str] = frozenset({"assigned", "blocked"})
PRIORITIES = ("low", "normal", "high", "urgent")  # stored as 0..3
CLEARED = ""  # in `TaskUpdated.description`: there is none any more
LEVEL_LIMITS_MIN = (30, 60, 120, 480)  # longest estimates of the levels 1 to 4
MAX_KEPT_CANDIDATES = 5
TEXT_FIELDS = ("title", "description", "acceptance_criteria", "path_hints")


def level_of(estimate_min: int) -> int:
    """Complexity 1..5 that an estimate speaks for: 30 minutes 1, 2 hours 3, more than a day 5."""
    return 1 + bisect_left(LEVEL_LIMITS_MIN, estimate_min)


class Skill(msgspec.Struct, frozen=True, gc=False, order=True):
    """A skill with a level: 1 novice to 5 expert. On a task it is the least level required."""

    name: str
    level: int = 1


def normal_skills(skills: Iterable[Skill]) -> tuple[Skill, ...]:
    """Lower-case names, one entry a skill at its highest level, sorted by name."""
    levels: dict[str, int] = {}
    for skill in skills:
        name = skill.name.strip().lower()
        levels[name] = max(levels.get(name, 0), skill.level)
    return tuple(Skill(name, level) for name, level in sorted(levels.items()))


class Artifact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A work product: where it lies. Handed to the task's dependants."""

    name: str
    uri: str
    by: str
    at_us: int
    note: BodyRef | None = None


class LoggedDecision(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A choice an agent made while working. Handed to the task's dependants."""

    decision: BodyRef
    by: str
    at_us: int
    affects: tuple[TaskId, ...] = ()


class Evidence(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an agent shows for its claim that the task is done."""

    commit: str = ""
    branch: str = ""
    links: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Work that came after its lease was lost, while it could not be taken."""

    agent_id: AgentId
    lease_token: int  # the lease under which it was done
    summary: BodyRef
    at_us: int
    evidence: Evidence = Evidence()
    is_rejected: bool = False  # the gate, or a person, said no to it


class TaskDraft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task as asked for. ``dependencies`` name task ids, or keys of the same import."""

    title: str
    key: str = ""
    description: str = ""
    kind: str = "task"
    priority: int = 1
    labels: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()
    estimate_min: int = 0
    complexity: int = 0  # 1..5; 0 lets the estimate decide
    acceptance_criteria: tuple[str, ...] = ()
    path_hints: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    needs_approval: bool = False


class Task(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: TaskId
    number: int
    project_id: ProjectId
    title: str
    key: str = ""
    description: BodyRef | None = None
    kind: str = "task"
    priority: int = 1
    labels: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()
    estimate_min: int = 0
    complexity: int = 0
    acceptance_criteria: tuple[str, ...] = ()
    path_hints: tuple[str, ...] = ()
    dependencies: tuple[TaskId, ...] = ()
    state: TaskState = "open"
    waiting_on: int = 0  # dependencies not accepted yet; kept by apply
    holds: tuple[Hold, ...] = ()
    version: int = 0  # position of the last event that changed it
    created_at_us: int = 0
    started_at_us: int = 0  # first assignment
    ended_at_us: int = 0
    lease_token: int = 0  # of the newest assignment; only ever rises
    attempt: int = 0
    failures: int = 0
    attempts: tuple[Attempt, ...] = ()
    submission: "Submission | None" = None
    artifacts: tuple[Artifact, ...] = ()
    decisions: tuple[LoggedDecision, ...] = ()
    usage: Usage = NO_USAGE
    critical_path_min: int = 0  # of the work that waits behind it; set by the portfolio manager
    candidates: tuple[Candidate, ...] = ()
    dead_because: str = ""  # why it became a dead letter
    assessment: Assessment | None = None  # of its present text
    text_version: int = 0  # position of the last event that changed what it says; 0: its creation

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def is_ready(self) -> bool:
        return self.state == "open" and self.waiting_on == 0 and not self.holds

    @property
    def minutes(self) -> int:
        """How long it is expected to take: as given, else as assessed; 0: nobody has said."""
        if self.estimate_min or self.assessment is None:
            return self.estimate_min
        return self.assessment.minutes

    @property
    def level(self) -> int:
        """Complexity 1..5: as given, else from the estimate, else as assessed; 1 if by nobody."""
        if self.complexity:
            return self.complexity
        if self.estimate_min or self.assessment is None:
            return level_of(self.estimate_min)
        return self.assessment.level

    @property
    def failed_last(self) -> AgentId:
        """Whose attempt failed last; empty: nobody's. One that was only given back did not fail."""
        if self.failures:
            for attempt in reversed(self.attempts):
                if attempt.outcome in FAILED_OUTCOMES:
                    return attempt.agent_id
        return ""


class Submission(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Work handed in and not judged yet, or the last one judged."""

    agent_id: AgentId
    lease_token: int
    summary: BodyRef
    at_us: int
    evidence: Evidence = Evidence()
    late_token: int = 0  # the lost lease under which the work was done, if it came late


class CreateTask(Command, frozen=True, kw_only=True):
    project_id: ProjectId
    draft: TaskDraft


class ImportTasks(Command, frozen=True, kw_only=True):
    """Many tasks at once: all of them or none."""

    project_id: ProjectId
    drafts: tuple[TaskDraft, ...]


class UpdateTask(Command, frozen=True, kw_only=True):
    """Change what is given; ``None`` leaves a field as it is."""

    task_id: TaskId
    expected_version: int | None = None
    title: str | None = None
    description: str | None = None
    priority: int | None = None
    labels: tuple[str, ...] | None = None
    skills: tuple[Skill, ...] | None = None
    estimate_min: int | None = None
    complexity: int | None = None
    acceptance_criteria: tuple[str, ...] | None = None
    path_hints: tuple[str, ...] | None = None
    dependencies: tuple[TaskId, ...] | None = None


class CancelTask(Command, frozen=True, kw_only=True):
    task_id: TaskId
    reason: str = ""


class ReopenTask(Command, frozen=True, kw_only=True):
    """The only way back from done, cancelled or dead-lettered."""

    task_id: TaskId
    reason: str


class LogDecision(Command, frozen=True, kw_only=True):
    task_id: TaskId
    lease_token: int | None = None
    decision: str
    affects: tuple[TaskId, ...] = ()


class LogArtifact(Command, frozen=True, kw_only=True):
    task_id: TaskId
    lease_token: int | None = None
    name: str
    uri: str
    note: str = ""


class SetCriticalPaths(Command, frozen=True, kw_only=True):
    """Proposed by a portfolio manager: minutes of work that wait behind each task."""

    project_id: ProjectId
    minutes: dict[TaskId, int]


class ArchiveTask(Command, frozen=True, kw_only=True):
    """The clock's: a terminal task leaves the world after some days."""

    task_id: TaskId


class TaskCreated(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    number: int
    project_id: ProjectId
    title: str
    key: str = ""
    description: BodyRef | None = None
    kind: str = "task"
    priority: int = 1
    labels: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()
    estimate_min: int = 0
    complexity: int = 0
    acceptance_criteria: tuple[str, ...] = ()
    path_hints: tuple[str, ...] = ()
    dependencies: tuple[TaskId, ...] = ()


class TaskUpdated(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    title: str | None = None
    description: BodyRef | None = None
    priority: int | None = None
    labels: tuple[str, ...] | None = None
    skills: tuple[Skill, ...] | None = None
    estimate_min: int | None = None
    complexity: int | None = None
    acceptance_criteria: tuple[str, ...] | None = None
    path_hints: tuple[str, ...] | None = None
    dependencies: tuple[TaskId, ...] | None = None

    @property
    def changes_text(self) -> bool:
        """Whether it changes what the task says, so that a judgement of it no longer holds."""
        return any(getattr(self, field) is not None for field in TEXT_FIELDS)


class TaskCancelled(EventData, frozen=True, kw_only=True):
    ends_attempt = ends_task = True
    task_id: TaskId
    reason: str = ""


class TaskReopened(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    reason: str


class TaskDeadLettered(EventData, frozen=True, kw_only=True):
    """Too many attempts failed: a person has to look before it is tried again."""

    ends_task = True
    task_id: TaskId
    reason: str


class TaskArchived(EventData, frozen=True, kw_only=True):
    task_id: TaskId


class DecisionLogged(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    decision: BodyRef
    affects: tuple[TaskId, ...] = ()


class ArtifactLogged(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    name: str
    uri: str
    note: BodyRef | None = None


class CriticalPathsSet(EventData, frozen=True, kw_only=True):
    project_id: ProjectId
    minutes: dict[TaskId, int]


def _created(world: "World", event: Event, data: TaskCreated) -> None:
    world.next_task_number = data.number + 1
    world.put_task(
        Task(
            id=data.task_id,
            number=data.number,
            project_id=data.project_id,
            title=data.title,
            key=data.key,
            description=data.description,
            kind=data.kind,
            priority=data.priority,
            labels=data.labels,
            skills=data.skills,
            estimate_min=data.estimate_min,
            complexity=data.complexity,
            acceptance_criteria=data.acceptance_criteria,
            path_hints=data.path_hints,
            dependencies=data.dependencies,
            waiting_on=world.count_unaccepted(data.dependencies),
            version=event.position,
            created_at_us=event.at_us,
        )
    )
    link_dependencies(world, data.task_id, (), data.dependencies)


def _updated(world: "World", event: Event, data: TaskUpdated) -> None:
    task = world.tasks[data.task_id]
    changes = {
        field: value
        for field in data.__struct_fields__
        if field != "task_id" and (value := getattr(data, field)) is not None
    }
    if data.description == CLEARED:
        changes["description"] = None
    if data.changes_text:
        changes |= {"assessment": None, "text_version": event.position}
    if data.dependencies is not None:
        changes["waiting_on"] = world.count_unaccepted(data.dependencies)
        link_dependencies(world, task.id, task.dependencies, data.dependencies)
    world.put_task(msgspec.structs.replace(task, version=event.position, **changes))


def _cancelled(world: "World", event: Event, data: TaskCancelled) -> None:
    task = world.tasks[data.task_id]
    end_attempt(world, event, task.id, "stopped")
    _end(world, event, data.task_id, "cancelled")


def _dead_lettered(world: "World", event: Event, data: TaskDeadLettered) -> None:
    task = world.tasks[data.task_id]
    world.put_task(msgspec.structs.replace(task, dead_because=data.reason))
    _end(world, event, data.task_id, "dead_letter")


def _end(world: "World", event: Event, task_id: TaskId, state: TaskState) -> None:
    task = world.tasks[task_id]
    world.put_task(
        msgspec.structs.replace(task, state=state, ended_at_us=event.at_us, version=event.position)
    )


def _reopened(world: "World", event: Event, data: TaskReopened) -> None:
    task = world.tasks[data.task_id]
    was_accepted = task.state == "done"
    world.put_task(
        msgspec.structs.replace(
            task,
            state="open",
            failures=0,
            dead_because="",
            ended_at_us=0,
            version=event.position,
            waiting_on=world.count_unaccepted(task.dependencies),
        )
    )
    if was_accepted:
        change_waiting(world, task.id, +1)


def _archived(world: "World", event: Event, data: TaskArchived) -> None:
    world.bury_task(data.task_id)


def _decision_logged(world: "World", event: Event, data: DecisionLogged) -> None:
    task = world.tasks[data.task_id]
    logged = LoggedDecision(data.decision, event.principal, event.at_us, data.affects)
    world.put_task(
        msgspec.structs.replace(task, decisions=(*task.decisions, logged), version=event.position)
    )


def _artifact_logged(world: "World", event: Event, data: ArtifactLogged) -> None:
    task = world.tasks[data.task_id]
    artifact = Artifact(data.name, data.uri, event.principal, event.at_us, data.note)
    others = tuple(a for a in task.artifacts if a.name != data.name)
    world.put_task(
        msgspec.structs.replace(task, artifacts=(*others, artifact), version=event.position)
    )


def _critical_paths_set(world: "World", event: Event, data: CriticalPathsSet) -> None:
    for task_id, minutes in data.minutes.items():
        task = world.tasks.get(task_id)
        if task is not None and not task.is_terminal:
            world.put_task(msgspec.structs.replace(task, critical_path_min=minutes))


APPLY = {
    TaskCreated: _created,
    TaskUpdated: _updated,
    TaskCancelled: _cancelled,
    TaskDeadLettered: _dead_lettered,
    TaskReopened: _reopened,
    TaskArchived: _archived,
    DecisionLogged: _decision_logged,
    ArtifactLogged: _artifact_logged,
    CriticalPathsSet: _critical_paths_set,
}
