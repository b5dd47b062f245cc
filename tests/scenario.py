"""Given, when, then for the decision core: an engine, a virtual clock and a journal in a list.

Everything that happens in a scenario is watched: after each step the invariants of its events, at
its end a full scan and a replay. No test awaits time; `after` moves it from alarm to alarm.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from pm_agent.catalog import CATALOG
from pm_agent.domain.agent import HeartbeatAgent, LeaveTeam, RegisterAgent
from pm_agent.domain.assignment import (
    AcceptCompletion,
    ClaimTask,
    CompleteTask,
    RejectCompletion,
    ReleaseTask,
    ReportProgress,
    TaskAssigned,
    WaitForTask,
)
from pm_agent.domain.blocker import ReportBlocker, ResolveBlocker
from pm_agent.domain.collaboration import RequestCollaboration, RespondToCollaboration
from pm_agent.domain.envelope import Command, EventData, Principal
from pm_agent.domain.handoff import HandOffTask, RespondToHandoff
from pm_agent.domain.hold import LiftHold, PlaceHold
from pm_agent.domain.message import AcknowledgeMessages, SendMessage
from pm_agent.domain.project import CreateProject, Gate
from pm_agent.domain.subscription import Subscribe, TaskFilter, Unsubscribe
from pm_agent.domain.task import CreateTask, ImportTasks, Skill, Task, TaskDraft
from pm_agent.domain.time import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.features.assignment.view import differences
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import Engine, Step
from pm_agent.kernel.invariants import Violation, Watch, check_replay, check_world
from pm_agent.kernel.types import Policy, Reply
from pm_agent.ports import GENESIS, Head, Scorer, StoredEvent, StoredRequest

START_US = 1_750_000_000 * SECOND_US
PERSON = Principal("person", "pat", "admin")
WEB = "P-web"
ADA, BOB, EVE = "A-ada", "A-bob", "A-eve"

_request_numbers = itertools.count(1)


def request_id() -> str:
    return f"r-{next(_request_numbers)}"


def agent_principal(agent_id: str, role: str = "worker") -> Principal:
    return Principal("agent", agent_id, role)  # type: ignore[arg-type]  # one of the roles


def skills(**levels: int) -> tuple[Skill, ...]:
    return tuple(Skill(name, level) for name, level in levels.items())


# -- commands, with the principal that usually sends them ---------------------------------------


def a_project(project_id: str = WEB, **fields: Any) -> CreateProject:
    if fields.get("completion") == "command":
        fields.setdefault("gate", Gate(argv=("make", "test")))
    return CreateProject(
        request_id=request_id(), principal=PERSON, project_id=project_id, name=project_id, **fields
    )


def an_agent(agent_id: str = ADA, **fields: Any) -> RegisterAgent:
    return RegisterAgent(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        agent_id=agent_id,
        name=agent_id[2:],
        **fields,
    )


def a_task(title: str = "a task", project_id: str = WEB, **draft: Any) -> CreateTask:
    return CreateTask(
        request_id=request_id(),
        principal=PERSON,
        project_id=project_id,
        draft=TaskDraft(title=title, **draft),
    )


def an_import(*drafts: TaskDraft, project_id: str = WEB) -> ImportTasks:
    return ImportTasks(
        request_id=request_id(), principal=PERSON, project_id=project_id, drafts=drafts
    )


def claim(agent_id: str = ADA, project_id: str | None = None) -> ClaimTask:
    return ClaimTask(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        agent_id=agent_id,
        project_id=project_id,
    )


def wait(agent_id: str, until_us: int, project_id: str | None = None) -> WaitForTask:
    return WaitForTask(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        agent_id=agent_id,
        until_us=until_us,
        project_id=project_id,
    )


def heartbeat(agent_id: str = ADA) -> HeartbeatAgent:
    return HeartbeatAgent(
        request_id=request_id(), principal=agent_principal(agent_id), agent_id=agent_id
    )


def progress(
    task_id: str, lease_token: int, agent_id: str = ADA, percent: int = 10, **fields: Any
) -> ReportProgress:
    return ReportProgress(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id=task_id,
        lease_token=lease_token,
        percent=percent,
        **fields,
    )


def complete(
    task_id: str, lease_token: int, agent_id: str = ADA, summary: str = "did it", **fields: Any
) -> CompleteTask:
    return CompleteTask(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id=task_id,
        lease_token=lease_token,
        summary=summary,
        **fields,
    )


def accept(task_id: str, **fields: Any) -> AcceptCompletion:
    fields.setdefault("principal", PERSON)
    return AcceptCompletion(request_id=request_id(), task_id=task_id, **fields)


def reject(task_id: str, *reasons: str, **fields: Any) -> RejectCompletion:
    fields.setdefault("principal", PERSON)
    return RejectCompletion(
        request_id=request_id(), task_id=task_id, reasons=reasons or ("tests fail",), **fields
    )


def release(
    task_id: str, lease_token: int, agent_id: str = ADA, reason: str = "released", note: str = ""
) -> ReleaseTask:
    return ReleaseTask(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id=task_id,
        lease_token=lease_token,
        reason=reason,  # type: ignore[arg-type]  # one of the reasons
        note=note,
    )


def report_blocker(
    task_id: str, lease_token: int, agent_id: str = ADA, **fields: Any
) -> ReportBlocker:
    return ReportBlocker(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id=task_id,
        lease_token=lease_token,
        description=fields.pop("description", "no credentials"),
        **fields,
    )


def resolve_blocker(blocker_id: str, resolution: str = "use the vault") -> ResolveBlocker:
    return ResolveBlocker(
        request_id=request_id(), principal=PERSON, blocker_id=blocker_id, resolution=resolution
    )


def place_hold(scope: str, target_id: str, kind: str = "paused", **fields: Any) -> PlaceHold:
    return PlaceHold(
        request_id=request_id(),
        principal=PERSON,
        scope=scope,  # type: ignore[arg-type]  # one of the scopes
        target_id=target_id,
        kind=kind,  # type: ignore[arg-type]  # one of the kinds
        **fields,
    )


def lift_hold(scope: str, target_id: str, kind: str | None = None) -> LiftHold:
    return LiftHold(
        request_id=request_id(),
        principal=PERSON,
        scope=scope,  # type: ignore[arg-type]  # one of the scopes
        target_id=target_id,
        kind=kind,  # type: ignore[arg-type]  # one of the kinds
    )


def message_to(to: str, sender: str = ADA, text: str = "hello", **fields: Any) -> SendMessage:
    return SendMessage(
        request_id=request_id(), principal=agent_principal(sender), to=to, text=text, **fields
    )


def acknowledge(agent_id: str, *message_ids: str) -> AcknowledgeMessages:
    return AcknowledgeMessages(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        agent_id=agent_id,
        message_ids=message_ids,
    )


def hand_off(
    task_id: str, lease_token: int, to: str, agent_id: str = ADA, **fields: Any
) -> HandOffTask:
    fields.setdefault("note", "half done; the parser is next")
    return HandOffTask(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id=task_id,
        lease_token=lease_token,
        to=to,
        **fields,
    )


def answer_handoff(
    handoff_id: str, agent_id: str = BOB, *, accept: bool = True, note: str = ""
) -> RespondToHandoff:
    return RespondToHandoff(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        handoff_id=handoff_id,
        accept=accept,
        note=note,
    )


def ask_for_help(
    task_id: str, lease_token: int, agent_id: str = ADA, **fields: Any
) -> RequestCollaboration:
    return RequestCollaboration(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        task_id=task_id,
        lease_token=lease_token,
        need=fields.pop("need", "how do I mock the clock?"),
        **fields,
    )


def answer_help(
    collaboration_id: str, agent_id: str = BOB, *, accept: bool = True, note: str = ""
) -> RespondToCollaboration:
    return RespondToCollaboration(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        collaboration_id=collaboration_id,
        accept=accept,
        note=note,
    )


def leave(agent_id: str) -> LeaveTeam:
    return LeaveTeam(
        request_id=request_id(), principal=agent_principal(agent_id), agent_id=agent_id
    )


def subscribe(agent_id: str = ADA, url: str = "", **wanted: Any) -> Subscribe:
    return Subscribe(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        agent_id=agent_id,
        filter=TaskFilter(**wanted),
        url=url,
        secret="whsec" if url else "",
    )


def unsubscribe(subscription_id: str, agent_id: str = ADA) -> Unsubscribe:
    return Unsubscribe(
        request_id=request_id(),
        principal=agent_principal(agent_id),
        subscription_id=subscription_id,
    )


def of_person(command: Command, principal: Principal = PERSON) -> Command:
    """The same command, sent by another principal under a new request id."""
    return msgspec.structs.replace(command, principal=principal, request_id=request_id())


# -- the scenario ---------------------------------------------------------------------------------


class Scenario:
    """One workspace from its first event. Nothing is left to chance unless a policy says so."""

    def __init__(
        self, scorer: Scorer | None = None, policy: Policy | None = None, seed: int = 1
    ) -> None:
        self.scorer = scorer or PriorityScorer()
        self.policy = policy or Policy(exploration=0.0, reserve=0.0)
        self.seed = seed
        self.now_us = START_US
        self.journal: list[StoredEvent] = []
        self.stored_requests: list[StoredRequest] = []
        self.texts: dict[str, str] = {}
        self.watch = Watch(recompute=differences)
        self.engine = self._engine(Head(0, GENESIS, 1))
        self.reply = Reply(request_id="", position=0)
        self.events: list[EventData] = []  # of the last `when` or `after`

    # -- given, when, then --------------------------------------------------------------------

    def given(self, *commands: Command) -> None:
        """Send commands that must be accepted."""
        for command in commands:
            self.when(command)
            assert self.reply.error is None, (command, self.reply.error)

    def when(self, command: Command) -> "Scenario":
        """Send one command."""
        step = self.step([command])
        self.reply = step.replies[0]
        return self

    def after(
        self, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> "Scenario":
        """Let time pass, stopping at every alarm on the way."""
        span = seconds * SECOND_US + minutes * MINUTE_US + hours * HOUR_US + days * DAY_US
        end_us = self.now_us + int(span)
        happened: list[EventData] = []
        while (next_us := self.engine.next_wakeup_us()) is not None and next_us <= end_us:
            self.now_us = max(self.now_us, next_us)
            self.step([])
            happened += self.events
        self.now_us = end_us
        self.step([])
        self.events = happened + self.events
        return self

    def then(self, *kinds: type[EventData]) -> None:
        """Expect exactly these events."""
        assert [type(e) for e in self.events] == list(kinds), (self.events, self.reply.error)

    def then_refused(self, code: str) -> None:
        """Expect the refusal with this code, and no event."""
        assert self.reply.error is not None, self.result
        assert self.reply.error.code == code, self.reply.error
        assert self.events == []

    # -- looking ------------------------------------------------------------------------------

    @property
    def result(self) -> dict[str, Any]:
        """Result of the last command; fields at their default are left out."""
        assert self.reply.error is None, self.reply.error
        found: dict[str, Any] = msgspec.json.decode(self.reply.result)
        return found

    @property
    def world(self) -> Any:
        return self.engine.world

    def task(self, task_id: str) -> Task:
        found: Task = self.engine.world.tasks[task_id]
        return found

    def state(self, task_id: str) -> str:
        return self.task(task_id).state

    def of_kind(self, kind: type[EventData]) -> list[Any]:
        """Events of one kind among the last ones."""
        return [e for e in self.events if isinstance(e, kind)]

    # -- shorthands for what most stories begin with --------------------------------------------

    def new_task(self, title: str = "a task", project_id: str = WEB, **draft: Any) -> str:
        self.given(a_task(title, project_id, **draft))
        return str(self.result["task_id"])

    def assigned(self, agent_id: str = ADA, project_id: str | None = None) -> TaskAssigned:
        """Claim; there must be a task."""
        self.when(claim(agent_id, project_id))
        assert self.result["outcome"] == "assigned", self.result
        found: TaskAssigned = self.of_kind(TaskAssigned)[0]
        return found

    def done(self, task_id: str, agent_id: str = ADA) -> None:
        """Have the agent claim and complete exactly this task."""
        given = self.assigned(agent_id)
        assert given.task_id == task_id, given
        self.given(complete(task_id, given.lease_token, agent_id))

    # -- driving ------------------------------------------------------------------------------

    def step(self, commands: list[Command]) -> Step:
        step = self.engine.step(commands, self.now_us)
        for failure in step.failures:  # a decider's bug: the engine refuses that command only
            raise failure
        self.journal += step.stored
        self.stored_requests += step.requests
        self.texts |= {body.ref: body.text for body in step.bodies}
        self.events = [event.data for event in step.events]
        found = [v for event in step.events for v in self.watch.observe(event)]
        require_none([*found, *self.watch.compare(self.engine.world)])
        return step

    def restart(self, *, snapshot_at: int | None = None) -> None:
        """Replace the engine by one rebuilt from the journal, or from a snapshot and its tail."""
        epoch = self.engine.epoch + 1
        before = self.engine
        if snapshot_at is None:
            self.engine = self._engine(Head(0, GENESIS, epoch))
            self.engine.replay(self.journal)
        else:
            self.engine = self._engine(Head(0, GENESIS, epoch))
            self.engine.replay(self.journal[:snapshot_at])
            saved = snapshots.save(self.engine.world, self.engine.outbox)
            world, outbox = snapshots.load(saved)
            head = Head(snapshot_at, self.journal[snapshot_at - 1].hash, epoch)
            self.engine = self._engine(head, world=world, outbox=outbox)
            self.engine.replay(self.journal[snapshot_at:])
        self.engine.restore_requests(self.stored_requests)
        self.engine.set_alarms()
        assert self.engine.world.fingerprint() == before.world.fingerprint()
        assert self.engine.outbox.pending == before.outbox.pending
        assert self.engine.head_hash == before.head_hash

    def verify(self) -> None:
        """Scan the world and fold the journal again, with and without a snapshot."""
        world = self.engine.world
        saved = snapshots.save(world, self.engine.outbox)
        require_none([*check_world(world), *check_replay(self.journal, world.fingerprint(), saved)])

    def _engine(self, head: Head, **state: Any) -> Engine:
        return Engine(
            CATALOG,
            self.scorer,
            self.policy,
            seed=self.seed,
            started_us=self.now_us,
            head=head,
            **state,
        )


def require_none(found: Iterable[Violation]) -> None:
    told = [f"{v.invariant}: {v.detail}" for v in found]
    assert not told, "\n".join(told)
