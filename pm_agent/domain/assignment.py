"""Assignments: one agent holding one task under a lease, and how that ends.

A lease has two clocks. *Session*: the agent's last sign of life (presence, not journaled) may be
``silence_us`` old. *Attempt budget*: the last word about this very task may be ``budget_us`` old.
Every write about a task carries the lease token, which rises with every lease of the task.
"""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import NO_USAGE, Command, Event, EventData, Usage
from pm_agent.domain.ids import AgentId, BodyRef, ProjectId, TaskId
from pm_agent.domain.task import AttemptOutcome, Evidence, Submission

if TYPE_CHECKING:
    from pm_agent.domain.world import World

ReleaseReason = Literal["released", "failed", "blocked", "stopped"]
ExpiryReason = Literal["agent_silent", "task_silent", "unconfirmed"]


class Assignment(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    attempt: int
    granted_at_us: int
    heard_at_us: int  # last journaled word about this task
    silence_us: int
    budget_us: int
    is_offered: bool = False  # given to a waiting agent that has not answered yet
    percent: int = 0
    note: BodyRef | None = None
    where: str = ""
    usage: Usage = NO_USAGE
    reserved: Usage = NO_USAGE
    decided_at: int = 0  # journal position of the decision record


def lease_until_us(silence_us: int, budget_us: int, agent_us: int, task_us: int) -> int:
    """Instant at which a lease ends if nothing more is heard.

    Parameters
    ----------
    silence_us, budget_us
        How long the agent may be silent, and how long its task.
    agent_us, task_us
        Last sign of life of the agent, and last word about the task.
    """
    # A declared silence is about the task too.
    return min(agent_us + silence_us, task_us + max(budget_us, silence_us))


class DecisionRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Why this task: enough to recompute the choice without the world or a model.

    Most of a journal's bytes are these records, so they are lean: lists side by side, and no names,
    which follow from the scorer's version.
    """

    policy: str
    version: str
    seed: int
    exploration: float  # share of choices drawn among near-ties
    near_tie: float  # how far below the best a near-tie may be
    propensity: float  # probability with which this choice was made
    n_eligible: int  # ready tasks the agent could take, before the shortlist
    candidates: list[TaskId]
    scores: list[float]
    explained: list[int]  # indexes of candidates: the chosen first, then the next eight
    factors: list[list[float]]  # of the explained, in the order of the scorer's names
    facts: list[list[float]]
    heard_at_us: int = 0  # the agent's last sign of life that the decision relied on


class ClaimTask(Command, frozen=True, kw_only=True):
    """Give the agent its best ready task, or say that there is none."""

    agent_id: AgentId
    project_id: ProjectId | None = None
    is_offered: bool = False  # the system answers a standing offer


class WaitForTask(Command, frozen=True, kw_only=True):
    """As `ClaimTask`, but leave a standing offer when there is nothing now."""

    agent_id: AgentId
    project_id: ProjectId | None = None
    until_us: int

    def lasting(self) -> "WaitForTask":
        return msgspec.structs.replace(self, until_us=0)


class WithdrawOffer(Command, frozen=True, kw_only=True):
    agent_id: AgentId


class ReportProgress(Command, frozen=True, kw_only=True):
    task_id: TaskId
    lease_token: int
    percent: int
    note: str = ""
    where: str = ""
    usage: Usage = NO_USAGE
    expect_silence_s: int = 0


class CompleteTask(Command, frozen=True, kw_only=True):
    task_id: TaskId
    lease_token: int
    summary: str
    evidence: Evidence = Evidence()
    usage: Usage = NO_USAGE


class AcceptCompletion(Command, frozen=True, kw_only=True):
    """A person's or the gate's yes."""

    task_id: TaskId
    lease_token: int | None = None  # None: whatever is in review (a person)
    effect_id: str = ""
    report: str = ""


class RejectCompletion(Command, frozen=True, kw_only=True):
    task_id: TaskId
    lease_token: int | None = None
    effect_id: str = ""
    reasons: tuple[str, ...] = ()
    report: str = ""


class ReleaseTask(Command, frozen=True, kw_only=True):
    """Give the task back; ``failed`` counts as a failed attempt."""

    task_id: TaskId
    lease_token: int
    reason: ReleaseReason = "released"
    note: str = ""


class CheckLease(Command, frozen=True, kw_only=True):
    """The clock's: look whether this lease has run out."""

    task_id: TaskId
    lease_token: int


class TaskAssigned(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    attempt: int
    silence_us: int
    budget_us: int
    decision: DecisionRecord
    is_offered: bool = False
    reserved: Usage = NO_USAGE


class ProgressReported(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    percent: int
    note: BodyRef | None = None
    where: str = ""
    usage: Usage = NO_USAGE
    silence_us: int = 0  # a longer allowance, as the agent declared; 0: unchanged


class CompletionSubmitted(EventData, frozen=True, kw_only=True):
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    summary: BodyRef
    evidence: Evidence = Evidence()
    usage: Usage = NO_USAGE


class CompletionAccepted(EventData, frozen=True, kw_only=True):
    ends_attempt = True
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    effect_id: str = ""
    report: BodyRef | None = None


class CompletionRejected(EventData, frozen=True, kw_only=True):
    ends_attempt = True
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    reasons: tuple[str, ...]
    effect_id: str = ""
    report: BodyRef | None = None


class TaskReleased(EventData, frozen=True, kw_only=True):
    ends_attempt = True
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    reason: ReleaseReason
    note: BodyRef | None = None


class AssignmentExpired(EventData, frozen=True, kw_only=True):
    """The lease ran out. The values it depended on stand here, for replay and audit."""

    ends_attempt = True
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    reason: ExpiryReason
    agent_heard_at_us: int
    task_heard_at_us: int


def _assigned(world: "World", event: Event, data: TaskAssigned) -> None:
    task = world.tasks[data.task_id]
    world.put_task(
        msgspec.structs.replace(
            task,
            state="assigned",
            lease_token=data.lease_token,
            attempt=data.attempt,
            started_at_us=task.started_at_us or event.at_us,
            version=event.position,
        )
    )
    world.put_assignment(
        Assignment(
            task_id=data.task_id,
            agent_id=data.agent_id,
            lease_token=data.lease_token,
            attempt=data.attempt,
            granted_at_us=event.at_us,
            heard_at_us=event.at_us,
            silence_us=data.silence_us,
            budget_us=data.budget_us,
            is_offered=data.is_offered,
            reserved=data.reserved,
            decided_at=event.position,
        )
    )


def _progress(world: "World", event: Event, data: ProgressReported) -> None:
    assignment = world.assignments[data.task_id]
    world.put_assignment(
        msgspec.structs.replace(
            assignment,
            heard_at_us=event.at_us,
            is_offered=False,
            percent=data.percent,
            note=data.note or assignment.note,
            where=data.where or assignment.where,
            usage=assignment.usage.plus(data.usage),
            silence_us=data.silence_us or assignment.silence_us,
        )
    )
    world.add_usage(data.task_id, data.agent_id, data.usage)


def _submitted(world: "World", event: Event, data: CompletionSubmitted) -> None:
    assignment = world.assignments[data.task_id]
    world.put_assignment(
        msgspec.structs.replace(
            assignment,
            heard_at_us=event.at_us,
            is_offered=False,
            percent=100,
            usage=assignment.usage.plus(data.usage),
        )
    )
    world.add_usage(data.task_id, data.agent_id, data.usage)
    task = world.tasks[data.task_id]
    submission = Submission(
        data.agent_id, data.lease_token, data.summary, event.at_us, data.evidence
    )
    world.put_task(
        msgspec.structs.replace(
            task, state="in_review", submission=submission, version=event.position
        )
    )
    world.free_agent(task.id, data.agent_id)  # waiting for a verdict costs no capacity
    world.make_room(task.project_id)


def _accepted(world: "World", event: Event, data: CompletionAccepted) -> None:
    world.end_attempt(event, data.task_id, "completed")
    assert world.tasks[data.task_id].state == "done", data.task_id
    world.change_waiting(data.task_id, -1)


def _rejected(world: "World", event: Event, data: CompletionRejected) -> None:
    world.end_attempt(event, data.task_id, "rejected", data.report)


def _released(world: "World", event: Event, data: TaskReleased) -> None:
    outcome: AttemptOutcome = data.reason
    world.end_attempt(event, data.task_id, outcome, data.note)


def _expired(world: "World", event: Event, data: AssignmentExpired) -> None:
    # A waiting agent that never answered did not fail at the task.
    outcome: AttemptOutcome = "released" if data.reason == "unconfirmed" else "expired"
    world.end_attempt(event, data.task_id, outcome)


APPLY = {
    TaskAssigned: _assigned,
    ProgressReported: _progress,
    CompletionSubmitted: _submitted,
    CompletionAccepted: _accepted,
    CompletionRejected: _rejected,
    TaskReleased: _released,
    AssignmentExpired: _expired,
}
