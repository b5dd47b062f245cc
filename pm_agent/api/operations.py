"""THE table: everything that can be asked of PM Agent, once.

HTTP and MCP are renderers of it: to add an operation, add its input to ``schemas.py`` and a row
here. A handler turns an input into commands or reads the replica; it decides nothing.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel

from pm_agent.api import schemas
from pm_agent.api.auth import ADMIN, LEAD, WORKER
from pm_agent.api.convert import result_json, to_command
from pm_agent.api.errors import Refused
from pm_agent.domain import access, agent, assignment, blocker, hold, project, task
from pm_agent.domain.access import IssueToken
from pm_agent.domain.assignment import (
    AcceptCompletion,
    ClaimTask,
    TaskAssigned,
    WaitForTask,
)
from pm_agent.domain.envelope import Command, Event, Principal, Role
from pm_agent.domain.errors import (
    Forbidden,
    InvalidInput,
    NotAssigned,
    NotFound,
    UnknownTask,
    WrongState,
)
from pm_agent.domain.hold import LiftHold, directives_for
from pm_agent.domain.ids import agent_id as agent_id_of
from pm_agent.domain.world import World
from pm_agent.features.access.decide import TokenResult
from pm_agent.features.assignment import view as assignment_view
from pm_agent.features.assignment.decide import ClaimResult, ReleaseResult
from pm_agent.features.backlog import view as backlog_view
from pm_agent.features.backlog.decide import ImportResult, LogResult, ProjectResult, TaskResult
from pm_agent.features.blockers.decide import BlockerResult
from pm_agent.features.holds.decide import HoldResult
from pm_agent.features.instructions import view as instructions_view
from pm_agent.features.progress.decide import ProgressResult
from pm_agent.features.quality.decide import CompletionResult
from pm_agent.features.team import view as team_view
from pm_agent.features.team.decide import HeartbeatResult, RegisterResult
from pm_agent.kernel.fencing import require_task
from pm_agent.kernel.types import Reply, Result
from pm_agent.runtime.ingress import Ingress

C = TypeVar("C", bound=Command)
G = TypeVar("G", bound=BaseModel)

SECRET_BYTES = 32
ASSIGNED = b'"outcome":"assigned"'
LOOKED_BACK = 1_000  # events of a task in which an attempt is looked for


class Answer(NamedTuple):
    body: bytes  # JSON object
    position: int  # a query that waits for it sees this answer's writes
    version: int | None = None  # of the task the answer is about


class ClaimAnswer(ClaimResult, frozen=True, kw_only=True):
    """``outcome`` is ``assigned`` (with the task), ``none`` or ``waiting`` (with the reason)."""

    task: backlog_view.TaskBrief | None = None


class RegisterAnswer(RegisterResult, frozen=True, kw_only=True):
    access_token: str = ""  # of a new agent, when an administrator registered it; shown once


class IssueAnswer(TokenResult, frozen=True, kw_only=True):
    token: str  # shown once
    sha256: str  # names it, to revoke it


class ApprovalResult(Result, frozen=True, kw_only=True):
    task_id: str
    state: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks, under which id, and the door to the coordinator."""

    ingress: Ingress
    principal: Principal
    request_id: str

    @property
    def world(self) -> World:
        return self.ingress.world

    def command(self, kind: type[C], given: BaseModel) -> C:
        return to_command(kind, given, self.principal, self.request_id, self.ingress.now_us())

    async def submit(self, command: Command) -> Reply:
        return accepted(await self.ingress.submit(command))

    def reply(
        self, reply: Reply, result: Result | None = None, version: int | None = None
    ) -> Answer:
        """Answer with a command's reply, or with a fuller result in its place."""
        directives = reply.directives if self.principal.kind == "agent" else None
        body = result_json(result or reply.result, self.ingress.now_us(), directives)
        return Answer(body, reply.position, version)

    def read(self, result: Result, version: int | None = None) -> Answer:
        """Answer a query. Asking is a sign of life, and stop directives go with every answer."""
        self.ingress.hear(self.principal)
        told = None
        if self.principal.kind == "agent":
            told = directives_for(self.world, self.principal.id)
        body = result_json(result, self.ingress.now_us(), told)
        return Answer(body, self.world.position, version)


def accepted(reply: Reply) -> Reply:
    """Return the reply, or raise the refusal it carries.

    Raises
    ------
    Refused
    """
    if reply.error is not None:
        raise Refused(reply.error)
    return reply


Handler = Callable[[Call, Any], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row: how an operation is called, by whom, and what it takes and gives."""

    name: str
    kind: Literal["command", "query"]
    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    roles: frozenset[Role]
    input: type[BaseModel]
    result: type[Result]
    help: str  # the first sentence says when to call it
    handler: Handler
    command: type[Command] | None = None
    destructive: bool = False
    idempotent: bool = False
    in_mcp: bool = True
    parks: bool = False  # may wait for long, so it takes no admission slot
    status: int = 200
    takes_ndjson: bool = False

    @property
    def read_only(self) -> bool:
        return self.kind == "query"


# -- handlers: commands -----------------------------------------------------------------------------


def _sends(kind: type[Command]) -> Handler:
    """Make the handler of an operation that is one command and its reply."""

    async def handle(call: Call, given: BaseModel) -> Answer:
        return call.reply(await call.submit(call.command(kind, given)))

    return handle


def _own(call: Call, given: G) -> G:
    """Fill in an agent's own id where it was left out."""
    if getattr(given, "agent_id", None) is not None:
        return given
    if call.principal.kind != "agent":
        message = "agent_id: it is missing, and this token is not an agent's."
        raise InvalidInput(message, "Say which agent you mean; list_agents names them.")
    return given.model_copy(update={"agent_id": call.principal.id})


async def _register(call: Call, given: schemas.RegisterAgentInput) -> Answer:
    principal = call.principal
    if principal.kind == "agent" and given.role == "lead" and principal.role == "worker":
        message = "A worker's token cannot register a lead agent."
        raise Forbidden(message, "Register as 'worker', or ask an administrator.")
    command = call.command(agent.RegisterAgent, given)
    is_new = command.agent_id not in call.world.agents
    reply = await call.submit(command)
    if not is_new or principal.role not in ADMIN:
        return call.reply(reply)
    owner = Principal("agent", command.agent_id, given.role)
    secret, _, issued = await _issue(call, owner, f"{call.request_id}:token", "by registration")
    result = msgspec.json.decode(reply.result, type=RegisterAnswer)
    return call.reply(issued, msgspec.structs.replace(result, access_token=secret))


async def _issue(
    call: Call, owner: Principal, request_id: str, label: str
) -> tuple[str, str, Reply]:
    """Make a secret and journal its hash; return secret, hash and reply."""
    secret = "pma_" + secrets.token_urlsafe(SECRET_BYTES)
    sha256 = hashlib.sha256(secret.encode()).hexdigest()
    command = IssueToken(
        request_id=request_id, principal=call.principal, sha256=sha256, owner=owner, label=label
    )
    reply = await call.submit(command)
    await call.ingress.reach(reply.position)  # its owner may use it with the very next request
    return secret, sha256, reply


async def _issue_token(call: Call, given: schemas.IssueTokenInput) -> Answer:
    owner = given.owner
    identifier = owner.id
    if owner.kind == "agent" and not identifier.startswith("A-"):
        identifier = agent_id_of(identifier)
    principal = Principal(owner.kind, identifier, owner.role)
    secret, sha256, reply = await _issue(call, principal, call.request_id, given.label)
    result = IssueAnswer(owner=str(principal), role=owner.role, token=secret, sha256=sha256)
    return call.reply(reply, result)


async def _heartbeat(call: Call, given: schemas.HeartbeatAgentInput) -> Answer:
    return call.reply(await call.submit(call.command(agent.HeartbeatAgent, _own(call, given))))


async def _next_task(call: Call, given: schemas.RequestNextTaskInput) -> Answer:
    return await _claimed(call, await call.submit(call.command(ClaimTask, _own(call, given))))


async def _wait(call: Call, given: schemas.WaitForTaskInput) -> Answer:
    own = _own(call, given)
    if given.request_id is not None:
        # A repeated wait is another command, since it ends at another instant, and would not get
        # the first reply. So a task that is there at once is claimed under the caller's id.
        now = schemas.RequestNextTaskInput(agent_id=own.agent_id, project_id=own.project_id)
        reply = await call.submit(call.command(ClaimTask, now))
        if ASSIGNED in reply.result:
            return await _claimed(call, reply)
        call = replace(call, request_id=f"{call.request_id}:wait:{call.ingress.now_us()}")
    command = call.command(WaitForTask, own)
    return await _claimed(call, accepted(await call.ingress.wait_for_task(command)))


async def _claimed(call: Call, reply: Reply) -> Answer:
    """Answer a claim; with a task comes all that is needed to start on it."""
    claim = msgspec.json.decode(reply.result, type=ClaimAnswer)
    if claim.outcome == "waiting":  # the time is up: who wants to wait on need not pause first
        return call.reply(reply, msgspec.structs.replace(claim, retry_after_s=0))
    if claim.outcome != "assigned":
        return call.reply(reply)
    held = call.world.assignments.get(claim.task_id)
    if held is None or held.lease_token < claim.lease_token:
        await call.ingress.reach(reply.position)
    if (
        claim.task_id not in call.world.tasks
    ):  # the replica lags far behind, or the task is archived
        return call.reply(reply, claim)
    texts = await call.ingress.texts(backlog_view.context_refs(call.world, claim.task_id))
    task_now = call.world.tasks[claim.task_id]
    recovery = instructions_view.recovery_lines(task_now, texts)
    brief = backlog_view.task_brief(call.world, claim.task_id, texts, recovery)
    return call.reply(reply, msgspec.structs.replace(claim, task=brief))


async def _update_task(call: Call, given: schemas.UpdateTaskInput) -> Answer:
    reply = await call.submit(call.command(task.UpdateTask, given))
    await call.ingress.reach(reply.position)
    known = call.world.tasks.get(given.task_id)
    return call.reply(reply, version=known.version if known else None)


async def _create_project(call: Call, given: schemas.CreateProjectInput) -> Answer:
    _require_gate_right(call.principal, given.gate if given.gate.argv else None)
    return call.reply(await call.submit(call.command(project.CreateProject, given)))


async def _update_project(call: Call, given: schemas.UpdateProjectInput) -> Answer:
    _require_gate_right(call.principal, given.gate)
    return call.reply(await call.submit(call.command(project.UpdateProject, given)))


def _require_gate_right(principal: Principal, gate: schemas.GateInput | None) -> None:
    """Keep agents, whatever their role, from choosing a program that the server runs."""
    if gate is not None and principal.kind == "agent":
        message = "An agent cannot set a project's gate: it is a program that the server runs."
        raise Forbidden(message, "Ask a person to set it.")


async def _approve(call: Call, given: schemas.ApproveTaskInput) -> Answer:
    """Accept a completion in review; any other task is freed of its approval hold.

    The choice follows from the task's state, so that a repeated request is the same command again.
    """
    state = require_task(call.world, given.task_id).state
    if state in ("in_review", "done"):
        reply = await call.submit(call.command(AcceptCompletion, given))
        judged = msgspec.json.decode(reply.result, type=CompletionResult)
        next_step = "It is done; tasks that waited for it can start."
        result = ApprovalResult(task_id=judged.task_id, state=judged.state, next_step=next_step)
        return call.reply(reply, result)
    lift = LiftHold(
        request_id=call.request_id,
        principal=call.principal,
        scope="task",
        target_id=given.task_id,
        kind="approval",
    )
    reply = await call.ingress.submit(lift)
    if reply.error is not None and reply.error.code == NotFound.code:
        message = f"Task {given.task_id} is {state} and waits for no approval."
        raise WrongState(message)
    next_step = "It can be given to an agent once all it depends on is done."
    result = ApprovalResult(task_id=given.task_id, state=state, next_step=next_step)
    return call.reply(accepted(reply), result)


# -- handlers: queries ------------------------------------------------------------------------------


async def _task_context(call: Call, given: schemas.TaskContextInput) -> Answer:
    texts = await call.ingress.texts(backlog_view.context_refs(call.world, given.task_id))
    known = require_task(call.world, given.task_id)
    context = backlog_view.task_context(
        call.world,
        given.task_id,
        texts,
        instructions_view.recovery_lines(known, texts),
        is_detailed=given.response_format == "detailed",
    )
    return call.read(context, known.version)


async def _explain(call: Call, given: schemas.ExplainAssignmentInput) -> Answer:
    event = await _assignment_event(call, given.task_id, given.attempt)
    assert isinstance(event.data, TaskAssigned)
    return call.read(assignment_view.explain(event, event.data))


async def _assignment_event(call: Call, task_id: str, attempt: int | None) -> Event:
    _require_known(call.world, task_id)
    held = call.world.assignments.get(task_id)
    if held is not None and attempt in (None, held.attempt):
        current = await call.ingress.event_at(held.decided_at)
        if current is not None:
            return current
    found: Event | None = None
    for event in await call.ingress.history(task_id, LOOKED_BACK):
        if isinstance(event.data, TaskAssigned) and attempt in (None, event.data.attempt):
            found = event
    if found is None:
        which = "was never assigned" if attempt is None else f"had no attempt {attempt}"
        message = f"Task {task_id} {which}."
        raise NotAssigned(message, "There is nothing to explain; see get_task_context.")
    return found


async def _task_history(call: Call, given: schemas.TaskHistoryInput) -> Answer:
    _require_known(call.world, given.task_id)
    events = await call.ingress.history(given.task_id, given.limit)
    texts = await call.ingress.texts(backlog_view.history_refs(events))
    return call.read(backlog_view.task_history(given.task_id, events, texts))


def _require_known(world: World, task_id: str) -> None:
    """Refuse an unknown task; what happened to an archived one can still be read."""
    if task_id not in world.tasks and task_id not in world.tombstones:
        message = f"There is no task {task_id}."
        raise UnknownTask(message)


async def _search(call: Call, given: schemas.SearchTasksInput) -> Answer:
    return call.read(backlog_view.search_tasks(call.world, **given.model_dump()))


async def _project_status(call: Call, given: schemas.ProjectStatusInput) -> Answer:
    texts = await call.ingress.texts(backlog_view.project_refs(call.world, given.project_id))
    return call.read(backlog_view.project_status(call.world, given.project_id, texts))


async def _list_projects(call: Call, given: schemas.ListProjectsInput) -> Answer:
    return call.read(backlog_view.list_projects(call.world))


async def _status(call: Call, given: schemas.StatusInput) -> Answer:
    ingress = call.ingress
    status = backlog_view.workspace_status(
        call.world, parked=ingress.n_parked, is_stale=ingress.is_stale
    )
    return call.read(status)


async def _agent_status(call: Call, given: schemas.AgentStatusInput) -> Answer:
    who = _own(call, given).agent_id
    assert who is not None
    return call.read(team_view.agent_status(call.world, who))


async def _list_agents(call: Call, given: schemas.ListAgentsInput) -> Answer:
    return call.read(team_view.list_agents(call.world, **given.model_dump()))


# -- the table --------------------------------------------------------------------------------------

OPERATIONS: tuple[Operation, ...] = (
    # the work of an agent, in the order in which it calls
    Operation(
        name="register_agent",
        kind="command",
        method="POST",
        path="/v1/agents",
        roles=WORKER,
        input=schemas.RegisterAgentInput,
        result=RegisterAnswer,
        command=agent.RegisterAgent,
        handler=_register,
        idempotent=True,
        help="Call this first, once, to say who you are and what you can do; call it again to "
        "change that. Returns your agent_id.",
    ),
    Operation(
        name="heartbeat_agent",
        kind="command",
        method="POST",
        path="/v1/agents/{agent_id}/heartbeat",
        roles=WORKER,
        input=schemas.HeartbeatAgentInput,
        result=HeartbeatResult,
        command=agent.HeartbeatAgent,
        handler=_heartbeat,
        idempotent=True,
        help="Call this every 30 s from a program beside the agent, if it registered with "
        "sends_heartbeats. Every other call is a sign of life too.",
    ),
    Operation(
        name="request_next_task",
        kind="command",
        method="POST",
        path="/v1/agents/{agent_id}/next-task",
        roles=WORKER,
        input=schemas.RequestNextTaskInput,
        result=ClaimAnswer,
        command=ClaimTask,
        handler=_next_task,
        help="Call this when you are free and want your next task now. Returns the task with a "
        "lease_token that all writes about it need, or outcome 'none' with a reason and when to "
        "ask again. The task is yours alone until its lease ends.",
    ),
    Operation(
        name="wait_for_task",
        kind="command",
        method="POST",
        path="/v1/agents/{agent_id}/wait",
        roles=WORKER,
        input=schemas.WaitForTaskInput,
        result=ClaimAnswer,
        command=WaitForTask,
        handler=_wait,
        parks=True,
        help="Call this when you are free and willing to wait, up to 50 s, until there is a task "
        "for you. As request_next_task otherwise; outcome 'waiting' means that none came in that "
        "time: call it again.",
    ),
    Operation(
        name="report_task_progress",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/progress",
        roles=WORKER,
        input=schemas.ReportProgressInput,
        result=ProgressResult,
        command=assignment.ReportProgress,
        handler=_sends(assignment.ReportProgress),
        help="Call this at every milestone and at least every 10 minutes while you work on a task. "
        "It renews the lease; the note is where the next agent starts if you stop.",
    ),
    Operation(
        name="complete_task",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/complete",
        roles=WORKER,
        input=schemas.CompleteTaskInput,
        result=CompletionResult,
        command=assignment.CompleteTask,
        handler=_sends(assignment.CompleteTask),
        idempotent=True,
        help="Call this when the task's work is finished and meets its acceptance criteria. "
        "Depending on the project it is done at once, or in review first.",
    ),
    Operation(
        name="report_blocker",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/blockers",
        roles=WORKER,
        input=schemas.ReportBlockerInput,
        result=BlockerResult,
        command=blocker.ReportBlocker,
        handler=_sends(blocker.ReportBlocker),
        help="Call this when something stops you that you cannot solve yourself. Keep the task and "
        "wait for an answer in get_task_context, or give it back with release=true.",
    ),
    Operation(
        name="resolve_blocker",
        kind="command",
        method="POST",
        path="/v1/blockers/{blocker_id}/resolve",
        roles=WORKER,
        input=schemas.ResolveBlockerInput,
        result=BlockerResult,
        command=blocker.ResolveBlocker,
        handler=_sends(blocker.ResolveBlocker),
        help="Call this when you know the answer to a blocker, yours or another agent's.",
    ),
    Operation(
        name="release_task",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/release",
        roles=WORKER,
        input=schemas.ReleaseTaskInput,
        result=ReleaseResult,
        command=assignment.ReleaseTask,
        handler=_sends(assignment.ReleaseTask),
        help="Call this when you cannot or must not go on with a task, so that another agent gets "
        "it. Say in the note where the work stands.",
    ),
    Operation(
        name="get_task_context",
        kind="query",
        method="GET",
        path="/v1/tasks/{task_id}/context",
        roles=WORKER,
        input=schemas.TaskContextInput,
        result=backlog_view.TaskContext,
        handler=_task_context,
        idempotent=True,
        help="Call this to read everything about one task: description, criteria, what its "
        "dependencies handed over, blockers and their answers, instructions, present state.",
    ),
    Operation(
        name="log_decision",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/decisions",
        roles=WORKER,
        input=schemas.LogDecisionInput,
        result=LogResult,
        command=task.LogDecision,
        handler=_sends(task.LogDecision),
        help="Call this when you make a choice that later tasks must know of, such as an interface "
        "or a format. It is handed to every task that depends on yours.",
    ),
    Operation(
        name="log_artifact",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/artifacts",
        roles=WORKER,
        input=schemas.LogArtifactInput,
        result=LogResult,
        command=task.LogArtifact,
        handler=_sends(task.LogArtifact),
        idempotent=True,
        help="Call this when you have made something that later tasks will use: a branch, a file, "
        "a document. The same name again replaces it.",
    ),
    # the plan
    Operation(
        name="create_task",
        kind="command",
        method="POST",
        path="/v1/projects/{project_id}/tasks",
        roles=WORKER,
        input=schemas.CreateTaskInput,
        result=TaskResult,
        command=task.CreateTask,
        handler=_sends(task.CreateTask),
        status=201,
        help="Call this to add one task to a project, also when you find work that is not yours to "
        "do now.",
    ),
    Operation(
        name="update_task",
        kind="command",
        method="PATCH",
        path="/v1/tasks/{task_id}",
        roles=LEAD,
        input=schemas.UpdateTaskInput,
        result=TaskResult,
        command=task.UpdateTask,
        handler=_update_task,
        destructive=True,
        idempotent=True,
        help="Call this to change a task's title, text, priority, skills, estimate or "
        "dependencies. Fields left out stay as they are.",
    ),
    Operation(
        name="search_tasks",
        kind="query",
        method="GET",
        path="/v1/tasks",
        roles=WORKER,
        input=schemas.SearchTasksInput,
        result=backlog_view.TaskPage,
        handler=_search,
        idempotent=True,
        help="Call this to find tasks by words, state, project, label or agent. Pass next_cursor "
        "on to read on; a page may be short and yet have a next one.",
    ),
    Operation(
        name="get_project_status",
        kind="query",
        method="GET",
        path="/v1/projects/{project_id}",
        roles=WORKER,
        input=schemas.ProjectStatusInput,
        result=backlog_view.ProjectStatus,
        handler=_project_status,
        idempotent=True,
        help="Call this to see where a project stands: tasks by state, who works on what, open "
        "blockers, holds and cost.",
    ),
    Operation(
        name="get_agent_status",
        kind="query",
        method="GET",
        path="/v1/agents/{agent_id}",
        roles=WORKER,
        input=schemas.AgentStatusInput,
        result=team_view.AgentStatus,
        handler=_agent_status,
        idempotent=True,
        help="Call this to see which tasks an agent holds, with their lease tokens; your own, for "
        "example after a restart.",
    ),
    Operation(
        name="list_agents",
        kind="query",
        method="GET",
        path="/v1/agents",
        roles=WORKER,
        input=schemas.ListAgentsInput,
        result=team_view.AgentPage,
        handler=_list_agents,
        idempotent=True,
        help="Call this to see which agents there are, what they can do and how busy they are.",
    ),
    Operation(
        name="explain_assignment",
        kind="query",
        method="GET",
        path="/v1/tasks/{task_id}/explanation",
        roles=WORKER,
        input=schemas.ExplainAssignmentInput,
        result=assignment_view.Explanation,
        handler=_explain,
        idempotent=True,
        help="Call this to learn why an agent got a task: candidates, scores, factors and chance.",
    ),
    # people and programs: REST only
    Operation(
        name="create_project",
        kind="command",
        method="POST",
        path="/v1/projects",
        roles=LEAD,
        input=schemas.CreateProjectInput,
        result=ProjectResult,
        command=project.CreateProject,
        handler=_create_project,
        in_mcp=False,
        status=201,
        help="Create a project: tasks with one goal.",
    ),
    Operation(
        name="update_project",
        kind="command",
        method="PATCH",
        path="/v1/projects/{project_id}",
        roles=LEAD,
        input=schemas.UpdateProjectInput,
        result=ProjectResult,
        command=project.UpdateProject,
        handler=_update_project,
        destructive=True,
        idempotent=True,
        in_mcp=False,
        help="Change how a project's completions are judged, or its limits.",
    ),
    Operation(
        name="list_projects",
        kind="query",
        method="GET",
        path="/v1/projects",
        roles=WORKER,
        input=schemas.ListProjectsInput,
        result=backlog_view.ProjectList,
        handler=_list_projects,
        idempotent=True,
        in_mcp=False,
        help="List all projects with their tasks by state.",
    ),
    Operation(
        name="import_tasks",
        kind="command",
        method="POST",
        path="/v1/projects/{project_id}/import",
        roles=LEAD,
        input=schemas.ImportTasksInput,
        result=ImportResult,
        command=task.ImportTasks,
        handler=_sends(task.ImportTasks),
        in_mcp=False,
        status=201,
        takes_ndjson=True,
        help="Create up to 10,000 tasks at once, all of them or none. The body is an array of "
        "tasks, an object with 'tasks', or one task a line (application/x-ndjson).",
    ),
    Operation(
        name="cancel_task",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/cancel",
        roles=LEAD,
        input=schemas.CancelTaskInput,
        result=TaskResult,
        command=task.CancelTask,
        handler=_sends(task.CancelTask),
        destructive=True,
        idempotent=True,
        in_mcp=False,
        help="Cancel a task; an agent that works on it loses it.",
    ),
    Operation(
        name="reopen_task",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/reopen",
        roles=LEAD,
        input=schemas.ReopenTaskInput,
        result=TaskResult,
        command=task.ReopenTask,
        handler=_sends(task.ReopenTask),
        destructive=True,
        in_mcp=False,
        help="Bring a done, cancelled or dead-lettered task back, with a reason.",
    ),
    Operation(
        name="approve_task",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/approve",
        roles=LEAD,
        input=schemas.ApproveTaskInput,
        result=ApprovalResult,
        command=AcceptCompletion,
        handler=_approve,
        in_mcp=False,
        help="Accept the work of a task in review, or approve a new task so that agents get it.",
    ),
    Operation(
        name="reject_task",
        kind="command",
        method="POST",
        path="/v1/tasks/{task_id}/reject",
        roles=LEAD,
        input=schemas.RejectTaskInput,
        result=CompletionResult,
        command=assignment.RejectCompletion,
        handler=_sends(assignment.RejectCompletion),
        in_mcp=False,
        help="Refuse the work of a task in review; the reasons go to the next attempt.",
    ),
    Operation(
        name="place_hold",
        kind="command",
        method="POST",
        path="/v1/holds",
        roles=LEAD,
        input=schemas.PlaceHoldInput,
        result=HoldResult,
        command=hold.PlaceHold,
        handler=_sends(hold.PlaceHold),
        destructive=True,
        idempotent=True,
        in_mcp=False,
        status=201,
        help="Stop giving out tasks in the workspace, a project, of one agent, or one task.",
    ),
    Operation(
        name="lift_hold",
        kind="command",
        method="POST",
        path="/v1/holds/lift",
        roles=LEAD,
        input=schemas.LiftHoldInput,
        result=HoldResult,
        command=hold.LiftHold,
        handler=_sends(hold.LiftHold),
        in_mcp=False,
        help="Lift the holds of one kind, or all, in a scope.",
    ),
    Operation(
        name="issue_token",
        kind="command",
        method="POST",
        path="/v1/tokens",
        roles=ADMIN,
        input=schemas.IssueTokenInput,
        result=IssueAnswer,
        command=access.IssueToken,
        handler=_issue_token,
        in_mcp=False,
        status=201,
        help="Make an access token for an agent or a person. It is shown once.",
    ),
    Operation(
        name="revoke_token",
        kind="command",
        method="DELETE",
        path="/v1/tokens/{sha256}",
        roles=ADMIN,
        input=schemas.RevokeTokenInput,
        result=TokenResult,
        command=access.RevokeToken,
        handler=_sends(access.RevokeToken),
        destructive=True,
        in_mcp=False,
        help="Revoke an access token, named by its SHA-256.",
    ),
    Operation(
        name="get_status",
        kind="query",
        method="GET",
        path="/v1/status",
        roles=WORKER,
        input=schemas.StatusInput,
        result=backlog_view.WorkspaceStatus,
        handler=_status,
        idempotent=True,
        in_mcp=False,
        help="See the whole workspace: projects, agents, blockers, holds, journal position.",
    ),
    Operation(
        name="get_task_history",
        kind="query",
        method="GET",
        path="/v1/tasks/{task_id}/history",
        roles=WORKER,
        input=schemas.TaskHistoryInput,
        result=backlog_view.TaskHistory,
        handler=_task_history,
        idempotent=True,
        in_mcp=False,
        help="Read what happened to a task, event by event.",
    ),
)

BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
