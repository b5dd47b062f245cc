"""What each operation does: an input becomes commands, or a reading of the replica.

A handler decides nothing; the core does, and its refusals are raised as `Refused`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel

from pm_agent.adapters.tokens_jwt import TTL_S
from pm_agent.api import schemas
from pm_agent.api.convert import result_json, to_command
from pm_agent.api.cursor import seal, unseal
from pm_agent.api.errors import Problem, Refused, problem_from, retry_after_s
from pm_agent.api.stream import EventStream, Wanted, project_of
from pm_agent.domain import agent, task
from pm_agent.domain.access import DenyToken, IssueKey, IssueToken, RotateKey
from pm_agent.domain.assignment import (
    AcceptCompletion,
    ClaimTask,
    TaskAssigned,
    WaitForTask,
)
from pm_agent.domain.collaboration import RespondToCollaboration
from pm_agent.domain.envelope import Command, Event, Principal
from pm_agent.domain.errors import (
    Conflict,
    Forbidden,
    InsufficientScope,
    InvalidInput,
    NotAssigned,
    NotFound,
    Unavailable,
    UnknownTask,
    WrongState,
)
from pm_agent.domain.handoff import RespondToHandoff
from pm_agent.domain.hold import LiftHold
from pm_agent.domain.ids import AgentId, TaskId
from pm_agent.domain.ids import agent_id as agent_id_of
from pm_agent.domain.message import AcknowledgeMessages, MessageSent
from pm_agent.domain.notice import Notice, notice_for
from pm_agent.domain.subscription import Subscribe
from pm_agent.domain.time import DAY_US, HOUR_US, SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.features.access.decide import KeyResult, TokenResult, key_result
from pm_agent.features.assignment import view as assignment_view
from pm_agent.features.assignment.decide import ClaimResult
from pm_agent.features.backlog import history as backlog_history
from pm_agent.features.backlog import status as backlog_status
from pm_agent.features.backlog import view as backlog_view
from pm_agent.features.blockers import view as blockers_view
from pm_agent.features.collaboration.decide import CollaborationResult
from pm_agent.features.handoff.decide import HandoffResult
from pm_agent.features.instructions import view as instructions_view
from pm_agent.features.messages import view as messages_view
from pm_agent.features.quality.decide import CompletionResult
from pm_agent.features.subscriptions.decide import SubscriptionResult
from pm_agent.features.team import view as team_view
from pm_agent.features.team.decide import RegisterResult
from pm_agent.kernel.fencing import (
    require_agent,
    require_member,
    require_project,
    require_self,
    require_task,
)
from pm_agent.kernel.types import Reply, Result
from pm_agent.runtime.credentials import Grant, NewKey
from pm_agent.runtime.ingress import Ingress
from pm_agent.runtime.secret import digest_of

C = TypeVar("C", bound=Command)
G = TypeVar("G", bound=BaseModel)

LOOKED_BACK = 1_000  # events of a task in which an attempt is looked for


class Answer(NamedTuple):
    """What a handler gives: bytes to send, and where the journal stood."""

    body: bytes  # JSON object
    position: int  # a query that waits for it sees this answer's writes
    version: int | None = None  # of the task the answer is about
    stream: EventStream | None = None  # what to send in the body's place
    status: int = 0  # other than the operation's own
    location: str = ""  # where the rest will be


class ClaimAnswer(ClaimResult, frozen=True, kw_only=True):
    """``outcome`` is ``assigned`` (with the task), ``none`` or ``waiting`` (with the reason)."""

    task: backlog_view.TaskBrief | None = None


class HelpAnswer(CollaborationResult, frozen=True, kw_only=True):
    """Where the request stands; with 'accepted' comes the task that you help with."""

    task: backlog_view.TaskBrief | None = None


class HandoffAnswer(HandoffResult, frozen=True, kw_only=True):
    """Where the handoff stands; with 'accepted' comes the task that is yours now."""

    task: backlog_view.TaskBrief | None = None


class SubscribeAnswer(SubscriptionResult, frozen=True, kw_only=True):
    """A new subscription, with the secret of its webhook when it has one."""

    secret: str = ""  # signs what is posted; shown once


class RegisterAnswer(RegisterResult, frozen=True, kw_only=True):
    """A registration, with an access token when it made one."""

    access_token: str = ""  # of a new agent, when an administrator registered it; shown once


class IssueAnswer(TokenResult, frozen=True, kw_only=True):
    """A new access token."""

    token: str  # shown once
    sha256: str  # names it, to revoke it


class IssueKeyAnswer(KeyResult, frozen=True, kw_only=True):
    """A new API key."""

    key: str  # shown once


class KeyView(KeyResult, frozen=True, kw_only=True):
    """A key as it is listed; its secret is kept nowhere."""

    label: str = ""
    issued_at: str
    used_at: str = ""  # to the hour; empty: not yet
    is_live: bool


class KeyList(Result, frozen=True, kw_only=True):
    """All keys that were not revoked, oldest first."""

    keys: list[KeyView]


class ExchangeAnswer(Result, frozen=True, kw_only=True):
    """A short-lived token, named as OAuth names its fields."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int  # seconds
    scope: str


class OperationAnswer(Result, frozen=True, kw_only=True):
    """A slow request that goes on by itself."""

    operation_id: str
    operation: str
    state: Literal["running", "done", "failed"]
    result: dict[str, Any] | None = None  # of the operation, when it is done
    problem: Problem | None = None  # why it failed


class HandOverAnswer(Result, frozen=True, kw_only=True):
    """Where the journal stands that another server may take over."""

    position: int
    epoch: int  # of the server that handed over; its successor's is higher
    next_step: str


class ApprovalResult(Result, frozen=True, kw_only=True):
    """What an approval led to."""

    task_id: str
    state: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks, under which id, and the door to the coordinator."""

    ingress: Ingress
    grant: Grant
    request_id: str

    @property
    def principal(self) -> Principal:
        return self.grant.principal

    @property
    def world(self) -> World:
        return self.ingress.world

    @property
    def cursor_key(self) -> bytes:
        return self.ingress.credentials.cursor_key(self.ingress.now_us())

    def new_key(self) -> NewKey:
        return self.ingress.credentials.new_key(self.ingress.now_us())

    def command(self, kind: type[C], given: BaseModel) -> C:
        return to_command(
            kind,
            given,
            self.principal,
            self.request_id,
            self.ingress.now_us(),
            workspace_id=self.world.tables.workspace_id,
        )

    async def submit(self, command: Command) -> Reply:
        return accepted(await self.ingress.submit(command))

    def reply(
        self, reply: Reply, result: Result | None = None, version: int | None = None
    ) -> Answer:
        """Answer with a command's reply, or with a fuller result in its place."""
        told = None
        if self.principal.kind == "agent":
            told = Notice(reply.directives, reply.inbox)
        body = result_json(result or reply.result, self.ingress.now_us(), told)
        return Answer(body, reply.position, version)

    def read(self, result: Result, version: int | None = None) -> Answer:
        """Answer a query. Asking is a sign of life, and notices go with every answer."""
        self.ingress.hear(self.principal)
        told = None
        if self.principal.kind == "agent":
            told = notice_for(self.world, self.principal.id)
        position = self.world.position
        stale_at = position if self.ingress.is_stale else None
        body = result_json(result, self.ingress.now_us(), told, stale_at)
        return Answer(body, position, version)


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


# -- commands -------------------------------------------------------------------------------------


def sends(kind: type[Command]) -> Handler:
    """Make the handler of an operation that is one command and its reply."""

    async def handle(call: Call, given: BaseModel) -> Answer:
        return call.reply(await call.submit(call.command(kind, given)))

    return handle


def takes_away(kind: type[Command]) -> Handler:
    """As `sends`, for commands that shut somebody out.

    The answer comes when this replica knows it: who was told "revoked" relies on it.
    """

    async def handle(call: Call, given: BaseModel) -> Answer:
        reply = await call.submit(call.command(kind, given))
        await call.ingress.reach(reply.position)
        return call.reply(reply)

    return handle


def _own(call: Call, given: G) -> G:
    """Fill in an agent's own id where it was left out."""
    if getattr(given, "agent_id", None) is not None:
        return given
    if call.principal.kind != "agent":
        message = "agent_id: it is missing, and this token is not an agent's."
        raise InvalidInput(message, "Say which agent you mean; list_agents names them.")
    return given.model_copy(update={"agent_id": call.principal.id})


async def register_agent(call: Call, given: schemas.RegisterAgentInput) -> Answer:
    """Register an agent; with a new one of an administrator comes its access token."""
    principal = call.principal
    command = call.command(agent.RegisterAgent, given)
    token_request = f"{call.request_id}:token"
    is_new = command.agent_id not in call.world.agents
    is_retry = (str(principal), token_request) in call.ingress.secrets
    if "pm:access" not in call.grant.scopes or not (is_new or is_retry):
        return call.reply(await call.submit(command))
    # Made before the agent is: a retry after a lost reply, or half of the work, finds it.
    call.ingress.secrets.of((str(principal), token_request))
    reply = await call.submit(command)
    owner = Principal("agent", command.agent_id, given.role)
    secret, _, issued = await _issue(call, owner, token_request, "by registration")
    result = msgspec.json.decode(reply.result, type=RegisterAnswer)
    return call.reply(issued, msgspec.structs.replace(result, access_token=secret))


async def _issue(
    call: Call, owner: Principal, request_id: str, label: str
) -> tuple[str, str, Reply]:
    """Make a secret and journal its hash; return secret, hash and reply.

    A retry gets the same secret, as long as this ingress remembers it.
    """
    secret = call.ingress.secrets.of((str(call.principal), request_id))
    sha256 = digest_of(secret)
    command = IssueToken(
        request_id=request_id, principal=call.principal, sha256=sha256, owner=owner, label=label
    )
    return secret, sha256, await call.submit(command)


async def issue_token(call: Call, given: schemas.IssueTokenInput) -> Answer:
    """Make an access token; its secret leaves in this answer and is not stored."""
    principal = _owner(given.owner)
    secret, sha256, reply = await _issue(call, principal, call.request_id, given.label)
    result = IssueAnswer(owner=str(principal), role=principal.role, token=secret, sha256=sha256)
    return call.reply(reply, result)


async def issue_key(call: Call, given: schemas.IssueKeyInput) -> Answer:
    """Make an API key; its secret leaves in this answer and is not stored."""
    owner = _owner(given.owner)
    made = call.ingress.secrets.made_for(
        (str(call.principal), f"{call.request_id}:key"), call.new_key
    )
    command = IssueKey(
        request_id=call.request_id,
        principal=call.principal,
        workspace_id=call.ingress.workspace_id,
        key_id=made.key_id,
        mac=made.mac,
        pepper=made.pepper,
        owner=owner,
        scopes=tuple(given.scopes),
        project_ids=tuple(given.project_ids),
        label=given.label,
        lasts_us=given.lasts_days * DAY_US,
    )
    return _with_key(call, made, await call.submit(command))


async def rotate_key(call: Call, given: schemas.RotateKeyInput) -> Answer:
    """Make a key's successor."""
    made = call.ingress.secrets.made_for(
        (str(call.principal), f"{call.request_id}:key"), call.new_key
    )
    command = RotateKey(
        request_id=call.request_id,
        principal=call.principal,
        workspace_id=call.ingress.workspace_id,
        key_id=given.key_id,
        new_key_id=made.key_id,
        mac=made.mac,
        pepper=made.pepper,
        overlap_us=given.overlap_h * HOUR_US,
    )
    return _with_key(call, made, await call.submit(command))


def _with_key(call: Call, made: NewKey, reply: Reply) -> Answer:
    result = msgspec.json.decode(reply.result, type=KeyResult)
    return call.reply(reply, IssueKeyAnswer(**msgspec.structs.asdict(result), key=made.secret))


async def list_keys(call: Call, given: schemas.ListKeysInput) -> Answer:
    """Read all keys."""
    now_us = call.ingress.now_us()
    views = [
        KeyView(
            **msgspec.structs.asdict(key_result(key)),
            label=key.label,
            issued_at=iso(key.issued_at_us),
            used_at=iso(key.used_at_us) if key.used_at_us else "",
            is_live=not 0 < key.expires_at_us <= now_us,
        )
        for key in call.world.api_keys.values()
    ]
    return call.read(KeyList(keys=views))


async def exchange(call: Call, given: schemas.ExchangeInput) -> Answer:
    """Make a short-lived token of the key or token that the request carries."""
    grant = call.grant
    if grant.credential.startswith("jwt:"):
        message = "A short-lived token cannot be exchanged for another one."
        raise Forbidden(message, "Send the API key or access token itself.")
    beyond = sorted(set(given.scopes) - grant.scopes)
    if beyond:
        refusal = InsufficientScope(f"This key or token does not carry {', '.join(beyond)}.")
        refusal.scope = beyond[0]
        raise refusal
    scopes = frozenset(given.scopes) or grant.scopes
    now_us = call.ingress.now_us()
    token, ends_s = call.ingress.secrets.made_for(  # a retry gets the same one
        (grant.credential, f"{call.request_id}:exchange"),
        lambda: call.ingress.credentials.exchange(grant, scopes, given.lasts_s, now_us),
    )
    result = ExchangeAnswer(
        access_token=token,
        expires_in=ends_s - now_us // SECOND_US,
        scope=" ".join(sorted(scopes)),
    )
    return Answer(result_json(result, now_us), call.world.position)


async def deny_token(call: Call, given: schemas.DenyTokenInput) -> Answer:
    """Shut a short-lived token out; without an id the one that the request carries."""
    token_id, until_us = given.token_id, call.ingress.now_us() + TTL_S * SECOND_US
    if token_id is None:
        kind, _, token_id = call.grant.credential.partition(":")
        until_us = call.grant.until_us
        if kind != "jwt":
            message = "This request carries no short-lived token, and names none."
            raise Conflict(message, "Say which one in token_id: the claim jti of it.")
    elif "pm:access" not in call.grant.scopes:
        message = "Only an administrator shuts out the token of somebody else."
        raise Forbidden(message, "Leave token_id out to end your own.")
    command = DenyToken(
        request_id=call.request_id,
        principal=call.principal,
        workspace_id=call.ingress.workspace_id,
        token_id=token_id,
        until_us=until_us,
    )
    reply = await call.submit(command)
    await call.ingress.reach(reply.position)  # as in `takes_away`
    return call.reply(reply)


def _owner(given: schemas.OwnerInput) -> Principal:
    identifier = given.id
    if given.kind == "agent" and not identifier.startswith("A-"):
        identifier = agent_id_of(identifier)
    return Principal(given.kind, identifier, given.role)


async def heartbeat(call: Call, given: schemas.HeartbeatAgentInput) -> Answer:
    """Hear an agent."""
    return call.reply(await call.submit(call.command(agent.HeartbeatAgent, _own(call, given))))


async def next_task(call: Call, given: schemas.RequestNextTaskInput) -> Answer:
    """Claim a task now."""
    return await _claimed(call, await call.submit(call.command(ClaimTask, _own(call, given))))


async def wait(call: Call, given: schemas.WaitForTaskInput) -> Answer:
    """Claim a task, or wait until there is one."""
    command = call.command(WaitForTask, _own(call, given))
    return await _claimed(call, accepted(await call.ingress.wait_for_task(command)))


async def _claimed(call: Call, reply: Reply) -> Answer:
    """Answer a claim; with a task comes all that is needed to start on it."""
    claim = msgspec.json.decode(reply.result, type=ClaimAnswer)
    if claim.outcome == "waiting":  # the time is up: who wants to wait on need not pause first
        pause_s = (
            retry_after_s(call.ingress.admission.load, random()) if call.ingress.leaving else 0
        )
        return call.reply(reply, msgspec.structs.replace(claim, retry_after_s=pause_s))
    if claim.outcome != "assigned":
        return call.reply(reply)
    if not _is_whole(call.world.tasks.get(claim.task_id), claim):
        await call.ingress.reach(reply.position)
    if claim.task_id not in call.world.tasks:  # the replica lags, or it is archived
        return call.reply(reply, claim)
    brief = await _brief(call, claim.task_id)
    return call.reply(reply, msgspec.structs.replace(claim, task=brief))


async def _brief(call: Call, task_id: TaskId) -> backlog_view.TaskBrief:
    """All that is needed to start on a task, or to help with it."""
    texts = await call.ingress.texts(backlog_view.context_refs(call.world, task_id))
    recovery = instructions_view.recovery_lines(call.world.tasks[task_id], texts)
    return backlog_view.task_brief(call.world, task_id, texts, recovery)


def _is_whole(known: task.Task | None, claim: ClaimAnswer) -> bool:
    """Whether the replica knows all that was before this assignment, so that nobody has to wait.

    That is its dependencies' results, and how the attempt before it ended.
    """
    if known is None or known.waiting_on:
        return False
    return known.attempt == claim.attempt or (
        known.attempt == claim.attempt - 1 and known.state == "open"
    )


async def respond_to_help(call: Call, given: schemas.RespondToCollaborationInput) -> Answer:
    """Answer a request for help; who says yes gets the task's context."""
    return await _taken_up(call, call.command(RespondToCollaboration, given), HelpAnswer)


async def respond_to_handoff(call: Call, given: schemas.RespondToHandoffInput) -> Answer:
    """Answer a handoff; who says yes gets the task."""
    return await _taken_up(call, call.command(RespondToHandoff, given), HandoffAnswer)


async def _taken_up(
    call: Call, command: Command, kind: type[HelpAnswer] | type[HandoffAnswer]
) -> Answer:
    reply = await call.submit(command)
    answer = msgspec.json.decode(reply.result, type=kind)
    await call.ingress.reach(reply.position)
    if answer.state != "accepted" or answer.task_id not in call.world.tasks:
        return call.reply(reply, answer)
    return call.reply(
        reply, msgspec.structs.replace(answer, task=await _brief(call, answer.task_id))
    )


async def read_messages(call: Call, given: schemas.ReadMessagesInput) -> Answer:
    """Acknowledge messages that were read, then show those that wait, or a whole thread."""
    given = _own(call, given)
    assert given.agent_id is not None
    require_self(call.principal, given.agent_id)
    if given.acknowledge:
        reply = await call.submit(call.command(AcknowledgeMessages, given))
        await call.ingress.reach(reply.position)
    require_member(call.world, given.agent_id)
    if given.thread_id:
        events = await call.ingress.history(given.thread_id, LOOKED_BACK)
        found = messages_view.thread(events, given.thread_id, given.agent_id)[-given.limit :]
    else:
        found = messages_view.waiting(call.world, given.agent_id, given.limit)
    texts = await call.ingress.texts(one.text for one in found)
    return call.read(messages_view.page(call.world, given.agent_id, found, texts))


async def subscribe(call: Call, given: schemas.SubscribeInput) -> Answer:
    """Keep a filter; the secret of a webhook leaves in this answer alone."""
    command = call.command(Subscribe, _own(call, given))
    if not command.url:
        return call.reply(await call.submit(command))
    secret = call.ingress.secrets.of((str(call.principal), call.request_id))
    reply = await call.submit(msgspec.structs.replace(command, secret=secret))
    result = msgspec.json.decode(reply.result, type=SubscribeAnswer)
    return call.reply(reply, msgspec.structs.replace(result, secret=secret))


async def leave_team(call: Call, given: schemas.LeaveTeamInput) -> Answer:
    """Take an agent off the team."""
    return call.reply(await call.submit(call.command(agent.LeaveTeam, _own(call, given))))


async def update_task(call: Call, given: schemas.UpdateTaskInput) -> Answer:
    """Change a task; the answer carries its new version."""
    reply = await call.submit(call.command(task.UpdateTask, given))
    await call.ingress.reach(reply.position)
    known = call.world.tasks.get(given.task_id)
    return call.reply(reply, version=known.version if known else None)


async def approve(call: Call, given: schemas.ApproveTaskInput) -> Answer:
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


async def hand_over(call: Call, given: schemas.HandOverInput) -> Answer:
    """Let another server take over; about the server, so nothing of it is in the journal."""
    health = await call.ingress.hand_over(given.drain_s)
    result = HandOverAnswer(
        position=health.position,
        epoch=health.epoch,
        next_step="Start the new server on the same journal; this one reads on until it is ended.",
    )
    body = result_json(result, call.ingress.now_us())
    return Answer(body, health.position)


def begin(call: Call, operation: str, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """Let a slow operation go on by itself, and say where to ask after it."""
    job = call.ingress.jobs.start(call.principal, operation, work)
    result = OperationAnswer(operation_id=job.id, operation=operation, state="running")
    body = result_json(result, call.ingress.now_us())
    return Answer(body, call.world.position, status=202, location=f"/v1/operations/{job.id}")


async def get_operation(call: Call, given: schemas.OperationInput) -> Answer:
    """Read how far a slow operation is."""
    job = call.ingress.jobs.find(call.principal, given.operation_id)
    result = OperationAnswer(operation_id=job.id, operation=job.operation, state="running")
    if job.task.done():
        error = None if job.task.cancelled() else job.task.exception()
        if job.task.cancelled() or error is not None:
            cause = error if isinstance(error, Exception) else Unavailable()
            failed = problem_from(cause, job.operation, call.ingress.admission.load)
            result = msgspec.structs.replace(result, state="failed", problem=failed)
        else:
            found = msgspec.json.decode(job.task.result().body)
            result = msgspec.structs.replace(result, state="done", result=found)
    return call.read(result)


# -- queries --------------------------------------------------------------------------------------


async def task_context(call: Call, given: schemas.TaskContextInput) -> Answer:
    """Read all about a task."""
    texts = await call.ingress.texts(backlog_view.context_refs(call.world, given.task_id))
    held = call.world.assignments.get(given.task_id)
    signs = await call.ingress.signs([held.agent_id] if held else [])
    known = require_task(call.world, given.task_id)
    context = backlog_view.task_context(
        call.world,
        given.task_id,
        texts,
        instructions_view.recovery_lines(known, texts),
        signs=signs,
        is_detailed=given.response_format == "detailed",
    )
    return call.read(context, known.version)


async def explain(call: Call, given: schemas.ExplainAssignmentInput) -> Answer:
    """Read why an agent got a task."""
    event = await _assignment_event(call, given.task_id, given.attempt)
    assert isinstance(event.data, TaskAssigned)
    return call.read(assignment_view.explain(event, event.data))


async def _assignment_event(call: Call, task_id: str, attempt: int | None) -> Event:
    _require_known(call.world, task_id)
    held = call.world.assignments.get(task_id)
    if held is not None and held.decided_at and attempt in (None, held.attempt):
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


async def task_history(call: Call, given: schemas.TaskHistoryInput) -> Answer:
    """Read what happened to a task."""
    _require_known(call.world, given.task_id)
    events = await call.ingress.history(given.task_id, given.limit)
    texts = await call.ingress.texts(backlog_history.history_refs(events))
    return call.read(backlog_history.task_history(given.task_id, events, texts))


def _require_known(world: World, task_id: str) -> None:
    """Refuse an unknown task; what happened to an archived one can still be read."""
    if task_id not in world.tasks and task_id not in world.tombstones:
        message = f"There is no task {task_id}."
        raise UnknownTask(message)


async def search(call: Call, given: schemas.SearchTasksInput) -> Answer:
    """Find tasks."""
    key = call.cursor_key
    asked = given.model_dump() | {"cursor": unseal(key, "search_tasks", given)}
    page = backlog_view.search_tasks(call.world, **asked)
    after = seal(key, "search_tasks", given, page.next_cursor)
    page = msgspec.structs.replace(page, next_cursor=after)
    signs = await call.ingress.signs(item.agent_id for item in page.tasks if item.agent_id)
    return call.read(backlog_view.with_lease_states(call.world, page, signs))


async def project_status(call: Call, given: schemas.ProjectStatusInput) -> Answer:
    """Read where a project stands."""
    texts = await call.ingress.texts(backlog_status.project_refs(call.world, given.project_id))
    holders = backlog_status.project_holders(call.world, given.project_id)
    signs = await call.ingress.signs(holders)
    return call.read(backlog_status.project_status(call.world, given.project_id, texts, signs))


async def list_projects(call: Call, given: schemas.ListProjectsInput) -> Answer:
    """Read all projects that the key or token is for."""
    listed = backlog_status.list_projects(call.world)
    mine = call.grant.project_ids
    if mine:
        shown = [one for one in listed.projects if one.project_id in mine]
        listed = msgspec.structs.replace(listed, projects=shown)
    return call.read(listed)


async def status(call: Call, given: schemas.StatusInput) -> Answer:
    """Read the whole workspace."""
    ingress = call.ingress
    signs = await ingress.signs(a.agent_id for a in backlog_status.suspected(call.world))
    status = backlog_status.workspace_status(
        call.world, parked=ingress.n_parked, is_stale=ingress.is_stale, signs=signs
    )
    return call.read(status)


async def list_blockers(call: Call, given: schemas.ListBlockersInput) -> Answer:
    """Read blockers with what was done about them."""
    if given.project_id is not None:
        require_project(call.world, given.project_id)
    only_open = not given.include_resolved
    found = blockers_view.chosen(call.world, given.project_id, only_open=only_open)
    texts = await call.ingress.texts(blockers_view.refs_of(call.world, found))
    return call.read(blockers_view.blocker_list(call.world, found, texts, call.ingress.now_us()))


async def agent_status(call: Call, given: schemas.AgentStatusInput) -> Answer:
    """Read one agent."""
    who = _own(call, given).agent_id
    assert who is not None
    signs = await call.ingress.signs([who])
    return call.read(team_view.agent_status(call.world, who, signs))


async def list_agents(call: Call, given: schemas.ListAgentsInput) -> Answer:
    """Read all agents, by pages."""
    key = call.cursor_key
    asked = given.model_dump() | {"cursor": unseal(key, "list_agents", given)}
    page = team_view.list_agents(call.world, **asked)
    after = seal(key, "list_agents", given, page.next_cursor)
    page = msgspec.structs.replace(page, next_cursor=after)
    signs = await call.ingress.signs(item.agent_id for item in page.agents if item.active_tasks)
    return call.read(team_view.with_lease_states(call.world, page, signs))


# -- streams --------------------------------------------------------------------------------------


async def stream_events(call: Call, given: schemas.StreamEventsInput) -> Answer:
    """Follow the workspace, or one project, agent or task of it."""

    def is_wanted(event: Event) -> bool:
        data = event.data
        return (
            given.project_id in (None, project_of(data, call.world))
            and given.agent_id in (None, getattr(data, "agent_id", None))
            and given.task_id in (None, getattr(data, "task_id", None))
        )

    return await _streamed(call, given.after, is_wanted)


async def stream_agent_events(call: Call, given: schemas.StreamAgentEventsInput) -> Answer:
    """Follow what concerns one agent: what it does, what is said to it, and its tasks.

    While it listens, an agent with subscriptions waits for tasks, too.
    """
    require_agent(call.world, given.agent_id)
    require_self(call.principal, given.agent_id)

    def is_wanted(event: Event) -> bool:
        data = event.data
        if given.agent_id in (getattr(data, "agent_id", None), getattr(data, "to", None)):
            return True
        if isinstance(data, MessageSent):
            return given.agent_id in data.recipients
        held = call.world.assignments.get(getattr(data, "task_id", ""))
        return held is not None and held.agent_id == given.agent_id

    return await _streamed(call, given.after, is_wanted, given.agent_id)


async def _streamed(
    call: Call, after: int | None, wanted: Wanted, waiting_id: AgentId | None = None
) -> Answer:
    stream = EventStream(call.ingress, call.grant, after, wanted, waiting_id)
    await stream.begin()
    call.ingress.hear(call.principal)
    return Answer(b"", stream.position, stream=stream)
