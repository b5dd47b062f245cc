"""Create, import, change, cancel and reopen tasks; keep projects; log decisions and artifacts."""

import msgspec

from pm_agent.domain.envelope import Body, EventData, Principal
from pm_agent.domain.errors import (
    AlreadyExists,
    DependencyCycle,
    Forbidden,
    InvalidInput,
    UnknownDependency,
    VersionMismatch,
    WrongState,
)
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.ids import ProjectId, TaskId, task_id
from pm_agent.domain.project import (
    CreateProject,
    Gate,
    ProjectCreated,
    ProjectUpdated,
    UpdateProject,
    project_of,
)
from pm_agent.domain.task import (
    CLEARED,
    LEASED,
    TERMINAL,
    ArchiveTask,
    ArtifactLogged,
    CancelTask,
    CreateTask,
    DecisionLogged,
    ImportTasks,
    LogArtifact,
    LogDecision,
    ReopenTask,
    Task,
    TaskArchived,
    TaskCancelled,
    TaskCreated,
    TaskDraft,
    TaskReopened,
    TaskUpdated,
    UpdateTask,
    normal_skills,
)
from pm_agent.domain.world import World
from pm_agent.features.backlog.cycles import find_cycle, lookup
from pm_agent.kernel.fencing import require_lease, require_project, require_task
from pm_agent.kernel.types import Context, Decision, Result


class ProjectResult(Result, frozen=True, kw_only=True):
    """The project concerned."""

    project_id: str
    version: int = 0  # of its settings


class TaskResult(Result, frozen=True, kw_only=True):
    """The task, its state and its version after the command."""

    task_id: str
    state: str
    version: int = 0


class ImportResult(Result, frozen=True, kw_only=True):
    """How many tasks were made, and their ids in the order of the drafts."""

    project_id: str
    created: int
    task_ids: list[str]


class LogResult(Result, frozen=True, kw_only=True):
    """How much the task's log holds now."""

    task_id: str
    logged: int  # how many the task has now


def create_project(world: World, command: CreateProject, context: Context) -> Decision:
    """Open a project under a name of its own."""
    _require_planner(command.principal)
    if command.project_id in world.projects:
        message = f"There is a project {command.project_id} already."
        raise AlreadyExists(message)
    if command.project_id == "P-":
        message = "A project's name needs at least one letter or digit."
        raise InvalidInput(message)
    _require_gate(command.completion, command.gate)
    _require_gate_right(command.principal, command.gate if command.gate != Gate() else None)
    created = ProjectCreated(
        project_id=command.project_id,
        name=command.name,
        completion=command.completion,
        gate=command.gate,
        max_in_progress=command.max_in_progress,
        cost_cap_microusd=command.cost_cap_microusd,
        token_cap=command.token_cap,
    )
    made = project_of(created, context.now_us)
    return Decision(
        events=[created], result=ProjectResult(project_id=made.id, version=made.version)
    )


def update_project(world: World, command: UpdateProject, context: Context) -> Decision:
    """Change what is given and differs, if the version is the expected one."""
    _require_planner(command.principal)
    project = require_project(world, command.project_id)
    if command.expected_version not in (None, project.version):
        raise VersionMismatch(f"The settings of project {project.id} are not the ones you read.")
    _require_gate(command.completion or project.completion, command.gate or project.gate)
    _require_gate_right(command.principal, command.gate)
    changes = {
        field: value
        for field in ProjectUpdated.__struct_fields__
        if field != "project_id"
        and (value := getattr(command, field)) is not None
        and value != getattr(project, field)
    }
    changed = msgspec.structs.replace(project, **changes)
    result = ProjectResult(project_id=project.id, version=changed.version)
    if not changes:
        return Decision(result=result)
    return Decision(events=[ProjectUpdated(project_id=project.id, **changes)], result=result)


def create_task(world: World, command: CreateTask, context: Context) -> Decision:
    """Add one task; its dependencies must exist."""
    project = require_project(world, command.project_id)
    events, bodies, ids = _create(world, project.id, (command.draft,), context)
    state = "on_hold" if command.draft.needs_approval else "open"
    return Decision(
        events=events,
        bodies=bodies,
        result=TaskResult(task_id=ids[0], state=state, version=world.position + 1),
    )


def import_tasks(world: World, command: ImportTasks, context: Context) -> Decision:
    """Add many tasks, all or none; dependencies may name keys of the same import."""
    _require_planner(command.principal)
    project = require_project(world, command.project_id)
    events, bodies, ids = _create(world, project.id, command.drafts, context)
    result = ImportResult(project_id=project.id, created=len(ids), task_ids=ids)
    return Decision(events=events, bodies=bodies, result=result)


def update_task(world: World, command: UpdateTask, context: Context) -> Decision:
    """Change what is given and differs, if the version is the expected one."""
    task = require_task(world, command.task_id)
    if command.expected_version is not None and command.expected_version != task.version:
        message = f"Task {task.id} is at version {task.version}, not {command.expected_version}."
        raise VersionMismatch(message)
    if task.is_terminal:
        message = f"Task {task.id} is {task.state} and cannot be changed."
        raise WrongState(message, "Reopen it first, with a reason.")
    description = context.body(command.description or "")
    changes = {
        field: value
        for field in TaskUpdated.__struct_fields__
        if field not in ("task_id", "description")
        and (value := getattr(command, field)) is not None
        and value != getattr(task, field)
    }
    if "skills" in changes:
        changes["skills"] = normal_skills(changes["skills"])
    if "dependencies" in changes:
        changes["dependencies"] = _resolve_update(world, task.id, changes["dependencies"])
        if task.state in LEASED and world.count_unaccepted(changes["dependencies"]):
            message = f"Task {task.id} is being worked on; it cannot wait for new dependencies."
            raise WrongState(message, "Release it first, or create a follow-up task.")
    if command.description is not None:
        changes["description"] = description.ref if description else CLEARED
    version = world.position + 1 if changes else task.version
    result = TaskResult(task_id=task.id, state=task.state, version=version)
    if not changes:
        return Decision(result=result)
    return Decision(
        events=[TaskUpdated(task_id=task.id, **changes)],
        bodies=[description] if description else [],
        result=result,
    )


def cancel_task(world: World, command: CancelTask, context: Context) -> Decision:
    """End a task without its work; a running attempt is stopped."""
    _require_planner(command.principal)
    task = require_task(world, command.task_id)
    if task.state == "cancelled":
        return Decision(result=TaskResult(task_id=task.id, state="cancelled", version=task.version))
    if task.is_terminal:
        message = f"Task {task.id} is {task.state} already."
        raise WrongState(message)
    cancelled = TaskCancelled(task_id=task.id, reason=command.reason)
    result = TaskResult(task_id=task.id, state="cancelled", version=world.position + 1)
    return Decision(events=[cancelled], result=result)


def reopen_task(world: World, command: ReopenTask, context: Context) -> Decision:
    """Bring an ended task back, with a reason."""
    _require_planner(command.principal)
    task = require_task(world, command.task_id)
    if task.state not in TERMINAL:
        message = f"Task {task.id} is {task.state}, not ended."
        raise WrongState(message)
    if not command.reason.strip():
        message = "Reopening needs a reason."
        raise InvalidInput(message)
    reopened = TaskReopened(task_id=task.id, reason=command.reason)
    result = TaskResult(task_id=task.id, state="open", version=world.position + 1)
    return Decision(events=[reopened], result=result)


def archive_task(world: World, command: ArchiveTask, context: Context) -> Decision:
    """Let a task that ended long ago leave the world."""
    task = world.tasks.get(command.task_id)
    result = TaskResult(task_id=command.task_id, state="archived")
    if task is None or not task.is_terminal:
        return Decision(result=result)
    due_us = task.ended_at_us + context.policy.archive_after_us
    if context.now_us < due_us:  # reopened and ended again since
        return Decision(result=result, check_again_us=due_us)
    return Decision(events=[TaskArchived(task_id=task.id)], result=result)


def log_decision(world: World, command: LogDecision, context: Context) -> Decision:
    """Keep a choice for the task's dependants."""
    task = _writable(world, command)
    body = context.body(command.decision)
    if body is None:
        message = "The decision is empty."
        raise InvalidInput(message)
    logged = DecisionLogged(task_id=task.id, decision=body.ref, affects=command.affects)
    result = LogResult(task_id=task.id, logged=len(task.decisions) + 1)
    return Decision(events=[logged], bodies=[body], result=result)


def log_artifact(world: World, command: LogArtifact, context: Context) -> Decision:
    """Keep where a work product lies; the same name replaces it."""
    task = _writable(world, command)
    note = context.body(command.note)
    logged = ArtifactLogged(
        task_id=task.id, name=command.name, uri=command.uri, note=note.ref if note else None
    )
    names = {a.name for a in task.artifacts} | {command.name}
    result = LogResult(task_id=task.id, logged=len(names))
    return Decision(events=[logged], bodies=[note] if note else [], result=result)


def _create(
    world: World, project_id: ProjectId, drafts: tuple[TaskDraft, ...], context: Context
) -> tuple[list[EventData], list[Body], list[TaskId]]:
    """Events that create tasks, dependencies before dependants; ids in the order of the drafts."""
    if not drafts:
        message = "The import holds no tasks."
        raise InvalidInput(message)
    ids = [task_id(world.next_task_number + i) for i in range(len(drafts))]
    by_key = _keys(world, project_id, drafts, ids)
    resolved = [_resolve(world, project_id, draft, by_key) for draft in drafts]
    new = dict(zip(ids, resolved, strict=True))
    # Tasks that exist cannot depend on new ones, so only a cycle among the new is possible.
    cycle = find_cycle(ids, lookup(new))
    if cycle:
        names = {i: d.key or d.title for i, d in zip(ids, drafts, strict=True)}
        message = "These tasks wait for each other: " + " → ".join(names[i] for i in cycle)
        raise DependencyCycle(message)
    events: list[EventData] = []
    bodies: list[Body] = []
    for index, (draft, identifier) in enumerate(zip(drafts, ids, strict=True)):
        description = context.body(draft.description)
        if description is not None:
            bodies.append(description)
        events.append(
            TaskCreated(
                task_id=identifier,
                number=world.next_task_number + index,
                project_id=project_id,
                title=draft.title,
                key=draft.key,
                description=description.ref if description else None,
                kind=draft.kind,
                priority=draft.priority,
                labels=draft.labels,
                skills=normal_skills(draft.skills),
                estimate_min=draft.estimate_min,
                complexity=draft.complexity,
                acceptance_criteria=draft.acceptance_criteria,
                path_hints=draft.path_hints,
                dependencies=resolved[index],
            )
        )
    for draft, identifier in zip(drafts, ids, strict=True):
        if draft.needs_approval:
            events.append(
                HoldPlaced(scope="task", target_id=identifier, kind="approval", reason="asked for")
            )
    return events, bodies, ids


def _keys(
    world: World, project_id: ProjectId, drafts: tuple[TaskDraft, ...], ids: list[TaskId]
) -> dict[str, TaskId]:
    by_key: dict[str, TaskId] = {}
    for draft, identifier in zip(drafts, ids, strict=True):
        if not draft.key:
            continue
        if draft.key in by_key or (project_id, draft.key) in world.task_keys:
            message = f"The key {draft.key!r} is used twice in project {project_id}."
            raise AlreadyExists(message, "Give every task of a project a key of its own, or none.")
        by_key[draft.key] = identifier
    return by_key


def _resolve(
    world: World, project_id: ProjectId, draft: TaskDraft, by_key: dict[str, TaskId]
) -> tuple[TaskId, ...]:
    found: dict[TaskId, None] = {}
    for name in draft.dependencies:
        known = by_key.get(name) or world.task_keys.get((project_id, name))
        if known is None and (name in world.tasks or name in world.tombstones):
            known = name
        if known is None:
            message = f"Task {draft.key or draft.title!r} depends on {name}, which does not exist."
            raise UnknownDependency(message)
        found[known] = None
    return tuple(found)


def _resolve_update(
    world: World, identifier: TaskId, names: tuple[TaskId, ...]
) -> tuple[TaskId, ...]:
    for name in names:
        if name not in world.tasks and name not in world.tombstones:
            message = f"Dependency {name} does not exist."
            raise UnknownDependency(message)

    def dependencies_of(node: str) -> tuple[TaskId, ...]:
        if node == identifier:
            return names
        known = world.tasks.get(node)
        return known.dependencies if known else ()

    cycle = find_cycle([identifier], dependencies_of)
    if cycle:
        message = "That would form a cycle: " + " → ".join(cycle)
        raise DependencyCycle(message)
    return tuple(dict.fromkeys(names))


def _writable(world: World, command: LogDecision | LogArtifact) -> Task:
    """Return the task; an agent needs its lease, people and the system do not."""
    if command.principal.kind == "agent" or command.lease_token is not None:
        if command.lease_token is None:
            message = f"Logging on {command.task_id} needs the lease token of your assignment."
            raise InvalidInput(message)
        return require_lease(world, command.principal, command.task_id, command.lease_token)[0]
    return require_task(world, command.task_id)


def _require_gate(completion: str, gate: Gate) -> None:
    if completion == "command" and not gate.argv:
        message = "Completion policy 'command' needs the gate's argv."
        raise InvalidInput(message, "Give gate.argv, for example ['make', 'test'].")


def _require_gate_right(principal: Principal, gate: Gate | None) -> None:
    """Keep gates in people's hands: the server runs their program."""
    if principal.kind == "agent" and gate is not None:
        message = "An agent cannot choose the command that judges work."
        raise Forbidden(message, "Ask a person to set the project's gate.")


def _require_planner(principal: Principal) -> None:
    if principal.role == "worker":
        message = "A worker agent cannot change the plan in this way."
        raise Forbidden(message, "Ask a person or a lead agent to do it.")
