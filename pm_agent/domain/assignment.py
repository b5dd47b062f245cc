"""Assignments: one agent holding one task under a lease, and how that ends.

A lease has two clocks. *Session*: the agent's last sign of life (presence, not journaled) may be
``silence_us`` old. *Attempt budget*: the last word about this very task may be ``budget_us`` old.
Beyond that it is suspect, and after a grace lost (`pm_agent.kernel.leases`). Every write about a
task carries the lease token, which rises with every lease of the task.
"""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.attempt import (
    AttemptOutcome,
    end_attempt,
    free_agent,
    make_room,
)
from pm_agent.domain.decision_record import DecisionRecord
from pm_agent.domain.dependency import change_waiting
from pm_agent.domain.envelope import NO_USAGE, Command, Event, EventData, Usage
from pm_agent.domain.ids import AgentId, BodyRef, ProjectId, TaskId
from pm_agent.domain.subscription import note_unanswered
from pm_agent.domain.task import (
    MAX_KEPT_CANDIDATES,
    Candidate,
    Evidence,
    Submission,
)

if TYPE_CHECKING:
    from pm_agent.domain.world import World

ReleaseReason = Literal["released", "failed", "blocked", "stopped", "handed_off"]
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
    is_offered: bool = False  # given to an agent that waited and has said nothing about it yet
    confirm_us: int = 0  # how long its first sign of life may take; 0: as `Policy` says
    percent: int = 0
    note: BodyRef | None = None
    where: str = ""
    usage: Usage = NO_USAGE
    reserved: Usage = NO_USAGE
    decided_at: int = 0  # journal position of the decision record; 0: granted again, not chosen
    # When silence of the agent, or about the task, last made the lease suspect; 0: never.
    agent_suspected_us: int = 0
    task_suspected_us: int = 0
    late_token: int = 0  # the lost lease under which the work was done, if it came late


class ClaimTask(Command, frozen=True, kw_only=True):
    """Give the agent its best ready task, or say that there is none."""

    agent_id: AgentId
    project_id: ProjectId | None = None
    is_offered: bool = False  # the system answers a standing offer
    match: DecisionRecord | None = None  # with the task that a matching chose


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


class SubmitCandidate(Command, frozen=True, kw_only=True):
    """The clock's: hand in kept late work, since the attempt after it has failed."""

    task_id: TaskId


class TaskAssigned(EventData, frozen=True, kw_only=True):
    schema_version = 2
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    attempt: int
    silence_us: int
    budget_us: int
    decision: DecisionRecord
    is_offered: bool = False  # it wakes an agent that waits
    confirm_us: int = 0  # the agent waited: how long its first sign of life may take
    reserved: Usage = NO_USAGE
    is_earned: bool = False  # whether ``silence_us`` is more than any agent gets, by its own habit


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
    ends_attempt = ends_task = True
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


class LeaseSuspected(EventData, frozen=True, kw_only=True):
    """A silence has lasted longer than allowed. Told once; a word ends it without an event."""

    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    reason: ExpiryReason
    allowance_us: int
    agent_heard_at_us: int
    task_heard_at_us: int
    lost_at_us: int  # when the lease ends if nothing is heard


class LeaseRegranted(EventData, frozen=True, kw_only=True):
    """Work came after its lease was lost, and nobody else had the task: its agent has it again."""

    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    attempt: int
    late_token: int  # the lease under which the work was done


class CandidateKept(EventData, frozen=True, kw_only=True):
    """Work came after its lease was lost and could not be taken: kept for who decides later."""

    task_id: TaskId
    agent_id: AgentId
    lease_token: int  # the lease under which the work was done
    summary: BodyRef
    evidence: Evidence = Evidence()
    usage: Usage = NO_USAGE


class CandidateRejected(EventData, frozen=True, kw_only=True):
    """Kept work did not pass the gate; whoever has the task goes on with it."""

    task_id: TaskId
    agent_id: AgentId
    lease_token: int  # the lease under which the work was done
    reasons: tuple[str, ...]
    effect_id: str = ""
    report: BodyRef | None = None


class AssignmentExpired(EventData, frozen=True, kw_only=True):
    """The lease was lost. The values it depended on stand here, for replay and audit."""

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
            is_offered=data.is_offered or data.confirm_us > 0,
            confirm_us=data.confirm_us,
            reserved=data.reserved,
            decided_at=event.position,
        )
    )
    if data.is_earned:
        world.earned_silences[data.agent_id] = data.silence_us
    elif world.earned_silences:
        world.earned_silences.pop(data.agent_id, None)


def _suspected(world: "World", event: Event, data: LeaseSuspected) -> None:
    held = world.assignments[data.task_id]
    if data.reason == "task_silent":
        held = msgspec.structs.replace(held, task_suspected_us=event.at_us)
    else:
        held = msgspec.structs.replace(held, agent_suspected_us=event.at_us)
    world.put_assignment(held)


def _regranted(world: "World", event: Event, data: LeaseRegranted) -> None:
    task = world.tasks[data.task_id]
    world.put_task(
        msgspec.structs.replace(
            task,
            state="assigned",
            lease_token=data.lease_token,
            attempt=data.attempt,
            candidates=tuple(c for c in task.candidates if c.lease_token != data.late_token),
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
            silence_us=0,  # the work is handed in within the same step: no clock runs
            budget_us=0,
            late_token=data.late_token,
        )
    )


def _candidate_kept(world: "World", event: Event, data: CandidateKept) -> None:
    task = world.tasks[data.task_id]
    kept = Candidate(data.agent_id, data.lease_token, data.summary, event.at_us, data.evidence)
    candidates = (*task.candidates, kept)[-MAX_KEPT_CANDIDATES:]
    world.put_task(msgspec.structs.replace(task, candidates=candidates, version=event.position))
    world.count_usage(data.task_id, data.agent_id, data.usage)


def _candidate_rejected(world: "World", event: Event, data: CandidateRejected) -> None:
    task = world.tasks[data.task_id]
    candidates = tuple(
        msgspec.structs.replace(kept, is_rejected=True)
        if kept.lease_token == data.lease_token
        else kept
        for kept in task.candidates
    )
    world.put_task(msgspec.structs.replace(task, candidates=candidates, version=event.position))


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
    world.count_usage(data.task_id, data.agent_id, data.usage)


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
    world.count_usage(data.task_id, data.agent_id, data.usage)
    task = world.tasks[data.task_id]
    submission = Submission(
        data.agent_id,
        data.lease_token,
        data.summary,
        event.at_us,
        data.evidence,
        assignment.late_token,
    )
    world.put_task(
        msgspec.structs.replace(
            task, state="in_review", submission=submission, version=event.position
        )
    )
    free_agent(world, task.id, data.agent_id)  # waiting for a verdict costs no capacity
    make_room(world, task.project_id)


def _accepted(world: "World", event: Event, data: CompletionAccepted) -> None:
    end_attempt(world, event, data.task_id, "completed")
    assert world.tasks[data.task_id].state == "done", data.task_id
    change_waiting(world, data.task_id, -1)


def _rejected(world: "World", event: Event, data: CompletionRejected) -> None:
    end_attempt(world, event, data.task_id, "rejected", data.report)


def _released(world: "World", event: Event, data: TaskReleased) -> None:
    outcome: AttemptOutcome = data.reason
    end_attempt(world, event, data.task_id, outcome, data.note)


def _expired(world: "World", event: Event, data: AssignmentExpired) -> None:
    # A waiting agent that never answered did not fail at the task.
    outcome: AttemptOutcome = "released" if data.reason == "unconfirmed" else "expired"
    end_attempt(world, event, data.task_id, outcome)
    if data.reason == "unconfirmed":
        note_unanswered(world, data.agent_id, event.at_us)


APPLY = {
    TaskAssigned: _assigned,
    LeaseSuspected: _suspected,
    LeaseRegranted: _regranted,
    CandidateKept: _candidate_kept,
    CandidateRejected: _candidate_rejected,
    ProgressReported: _progress,
    CompletionSubmitted: _submitted,
    CompletionAccepted: _accepted,
    CompletionRejected: _rejected,
    TaskReleased: _released,
    AssignmentExpired: _expired,
}
