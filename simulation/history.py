"""Compares what clients remember with the journal: what went in must have come out, once.

Knows nothing of the engine. A client is owed four things, whatever network and coordinators did in
between: what was acknowledged is in the journal; one request had one effect; the same request got
the same answer; and nobody else wrote about its task while its lease lived.

References
----------
Kingsbury, Jepsen's ``total-queue`` and ``unique-ids`` checkers (lost, duplicated, unexpected).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from pm_agent.domain.access import DenyToken, IssueKey, IssueToken, NoteKeysUsed, RotateKey
from pm_agent.domain.agent import AgentLeft, HeartbeatAgent, LeaveTeam, RegisterAgent
from pm_agent.domain.assessment import RequestAssessments, StoreAssessments
from pm_agent.domain.assignment import (
    AcceptCompletion,
    CandidateKept,
    ClaimTask,
    CompleteTask,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    RejectCompletion,
    TaskAssigned,
    TaskReleased,
    WaitForTask,
    WithdrawOffer,
)
from pm_agent.domain.blocker import StoreAdvice
from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.ids import AgentId, MessageId, number_of
from pm_agent.domain.instruction import AbandonEffect, StoreInstructions
from pm_agent.domain.message import AcknowledgeMessages, MessageSent
from pm_agent.domain.project import UpdateProject
from pm_agent.domain.task import CancelTask, SetCriticalPaths, UpdateTask
from pm_agent.domain.world import World
from pm_agent.kernel.idempotency import KEEP_US, body_sha256
from pm_agent.kernel.invariants import (
    FENCED,
    MESSAGES,
    SINGLE_LEASE,
    SINGLE_WRITER,
    Violation,
)
from pm_agent.kernel.types import Reply
from pm_agent.ports import Head, StoredRequest
from simulation.clients import Asked

DURABLE_ACK = "durable-ack"
IDEMPOTENT = "idempotent"

# These may rightly be answered without an event: nothing to do, nothing found, or done before.
MAY_CHANGE_NOTHING: frozenset[type[Command]] = frozenset(
    {
        AbandonEffect,
        AcceptCompletion,
        AcknowledgeMessages,
        CancelTask,
        ClaimTask,
        CompleteTask,
        DenyToken,
        HeartbeatAgent,
        IssueKey,
        IssueToken,
        LeaveTeam,
        NoteKeysUsed,
        RegisterAgent,
        RejectCompletion,
        RequestAssessments,
        RotateKey,
        SetCriticalPaths,
        StoreAdvice,
        StoreAssessments,
        StoreInstructions,
        UpdateProject,
        UpdateTask,
        WaitForTask,
        WithdrawOffer,
    }
)

VERDICTS = (AcceptCompletion, RejectCompletion)
Key = tuple[str, str]  # principal and request id
_result: Any = msgspec.json.decode


class Evidence:
    """The journal, indexed for the questions asked here.

    Parameters
    ----------
    events
        Every durable event, from the first.
    requests
        Every request that was stored with them, in order; an id may come again after 24 hours.
    """

    def __init__(self, events: Sequence[Event], requests: Iterable[StoredRequest]) -> None:
        self.events = events
        self.of: dict[Key, list[Event]] = defaultdict(list)
        for event in events:
            self.of[event.principal, event.cause].append(event)
        self.stored: dict[Key, list[StoredRequest]] = defaultdict(list)
        for request in requests:
            self.stored[request.principal, request.request_id].append(request)
        self.leases = {
            (e.data.task_id, e.data.lease_token): (e.data.agent_id, e.position)
            for e in events
            if isinstance(e.data, TaskAssigned | LeaseRegranted | HandoffAccepted)
        }
        # The lost lease under which the work of a regranted one was done.
        self.late = {
            (e.data.task_id, e.data.lease_token): e.data.late_token
            for e in events
            if isinstance(e.data, LeaseRegranted)
        }
        self.submitted = {
            (e.data.task_id, e.data.agent_id): e.position
            for e in reversed(events)  # the first one stays
            if isinstance(e.data, CompletionSubmitted)
        }

    def at_us(self, position: int) -> int:
        return self.events[position - 1].at_us if position else 0


def check_histories(evidence: Evidence, histories: Iterable[Asked]) -> list[Violation]:
    """Everything that clients remember and the journal denies, and the other way round."""
    by_key: dict[Key, list[Asked]] = defaultdict(list)
    for asked in histories:
        by_key[str(asked.command.principal), asked.command.request_id].append(asked)
    found: list[Violation] = []
    for key, all_asked in by_key.items():
        found += _one_effect(evidence, key)
        for asked in all_asked:
            found += _kept(evidence, key, asked)
            found += _same_answer(evidence, key, asked)
        found += _own_token(evidence, key, all_asked)
    found += _expected(evidence, by_key)
    found += _no_doubles(evidence)
    return found


def check_epochs(evidence: Evidence, activations: Iterable[Head]) -> list[Violation]:
    """No event of an epoch comes after the position at which the next one was taken."""
    found = []
    began = {head.epoch: head.position for head in activations}
    newest = 0
    starts = sorted((position, epoch) for epoch, position in began.items())
    for event in evidence.events:
        while starts and starts[0][0] < event.position:
            newest = max(newest, starts.pop(0)[1])
        if event.epoch < newest:
            detail = f"event {event.position} is of epoch {event.epoch}; {newest} was taken before"
            found.append(Violation(SINGLE_WRITER, detail))
    return found


def check_messages(
    evidence: Evidence, seen: dict[AgentId, list[MessageId]], board: World
) -> list[Violation]:
    """Every message was seen or still waits, none twice, each sender's in the order of sending.

    Agents that left have let go what they had not read.
    """
    found = []
    owed: dict[AgentId, list[MessageId]] = {agent_id: [] for agent_id in seen}
    sender_of: dict[MessageId, str] = {}
    for event in evidence.events:
        if isinstance(event.data, AgentLeft):
            known = set(seen[event.data.agent_id])
            owed[event.data.agent_id] = [m for m in owed[event.data.agent_id] if m in known]
        elif isinstance(event.data, MessageSent):
            sender_of[event.data.message_id] = event.data.sender or event.principal
            for agent_id in event.data.recipients:
                owed[agent_id].append(event.data.message_id)
    for agent_id, messages in owed.items():
        waiting = set(board.inboxes[agent_id].unread) if agent_id in board.inboxes else set()
        lost = [m for m in messages if m not in waiting and m not in seen[agent_id]]
        if lost:
            found.append(Violation(MESSAGES, f"{agent_id} was never shown {lost[:9]}"))
        by_sender: dict[str, list[int]] = defaultdict(list)
        for message_id in seen[agent_id]:
            by_sender[sender_of[message_id]].append(number_of(message_id))
        for sender, numbers in by_sender.items():
            if numbers != sorted(set(numbers)):
                found.append(Violation(MESSAGES, f"{agent_id} read {numbers} of {sender}"))
    return found


def _kept(evidence: Evidence, key: Key, asked: Asked) -> Iterator[Violation]:
    """What was acknowledged is in the journal."""
    for reply in asked.replies:
        if reply.error is not None:
            continue
        what = f"{type(asked.command).__name__} {key[1]}, acknowledged at {reply.position}"
        if reply.position > len(evidence.events):
            yield Violation(DURABLE_ACK, f"{what}: the journal ends at {len(evidence.events)}")
            continue
        ends = _ends(evidence, key)
        if type(asked.command) not in MAY_CHANGE_NOTHING and reply.position not in ends:
            yield Violation(DURABLE_ACK, f"{what}: not in the journal (it has {ends})")
        told = _result(reply.result)
        if told.get("outcome") == "assigned":
            lease = (told["task_id"], told["lease_token"])
            granted = evidence.leases.get(lease)
            if granted is None or granted[1] > reply.position or f"agent:{granted[0]}" != key[0]:
                yield Violation(DURABLE_ACK, f"{what}: lease {lease} is {granted} in the journal")
        if isinstance(asked.command, CompleteTask):
            by = asked.command.task_id, asked.command.principal.id
            if evidence.submitted.get(by, reply.position + 1) > reply.position:
                yield Violation(DURABLE_ACK, f"{what}: no completion of {by} in the journal")


def _ends(evidence: Evidence, key: Key) -> list[int]:
    """Positions at which the steps of a request ended."""
    positions = [event.position for event in evidence.of.get(key, ())]
    following = {position - 1 for position in positions}
    return [position for position in positions if position not in following]


def _one_effect(evidence: Evidence, key: Key) -> Iterator[Violation]:
    """A request has one effect: its events stand together, unless a day lies between.

    A refusal that kept what came is none: a retry of it is decided anew, and may then be taken.
    """
    events = [e for e in evidence.of.get(key, ()) if not isinstance(e.data, CandidateKept)]
    for one, other in itertools.pairwise(events):
        if other.position != one.position + 1 and other.at_us - one.at_us < KEEP_US:
            detail = f"{key} had its effect at {one.position} and again at {other.position}"
            yield Violation(IDEMPOTENT, detail)


def _same_answer(evidence: Evidence, key: Key, asked: Asked) -> Iterator[Violation]:
    """Once a request had its effect, its retries get that answer, and other bodies none."""
    for stored in evidence.stored.get(key, ()):
        is_same = stored.body_sha256 == body_sha256(asked.command)
        for reply in asked.replies:
            if not _is_after(evidence, reply, stored):
                continue
            code = reply.error.code if reply.error else ""
            if is_same and (code or reply.result != stored.reply):
                told = code or reply.result.decode()
                detail = f"{key} was answered {stored.reply.decode()}, and then {told}"
                yield Violation(IDEMPOTENT, detail)
            elif not is_same and code != "request_id_reused":
                yield Violation(IDEMPOTENT, f"{key} was taken again with another body: {code}")


def _is_after(evidence: Evidence, reply: Reply, stored: StoredRequest) -> bool:
    """Whether the reply was decided after the request was stored, and within its 24 hours."""
    if not stored.position <= reply.position <= len(evidence.events):
        return False
    return evidence.at_us(reply.position) - stored.at_us < KEEP_US


def _own_token(evidence: Evidence, key: Key, all_asked: list[Asked]) -> Iterator[Violation]:
    """A write under a lease token is taken under that very lease.

    Two more are right. Late work, while nobody has its task, gets a new lease in the same step. A
    verdict on late work does that too, and stops the live attempt, which came second at the gate;
    or, when it comes after its work got a new lease, it is one about that. A word of the agent
    itself never ends another's lease, and never counts under the lease that its work got.
    """
    by_token = [asked.command for asked in all_asked if _token_of(asked.command) is not None]
    if not by_token:
        return
    named = {_token_of(command) for command in by_token}
    judged = {_token_of(command) for command in by_token if isinstance(command, VERDICTS)}
    events = evidence.of.get(key, [])
    regranted = [e.data for e in events if isinstance(e.data, LeaseRegranted)]
    allowed = named | {data.lease_token for data in regranted if data.late_token in named}
    is_chosen = any(data.late_token in judged for data in regranted)
    for event in events:
        data: Any = event.data
        token = _token_of(data)
        if token is None or token in allowed:
            continue
        is_stopped = isinstance(data, TaskReleased) and data.reason == "stopped"
        is_verdict = isinstance(data, CompletionAccepted | CompletionRejected)
        late_token = evidence.late.get((data.task_id, token))
        if (is_stopped and is_chosen) or (is_verdict and late_token in judged):
            continue
        detail = f"{key} named token {named}; {event.kind} at {event.position} has {token}"
        yield Violation(FENCED, detail)


def _token_of(told: Command | EventData) -> int | None:
    token: int | None = getattr(told, "lease_token", None)
    return token


def _expected(evidence: Evidence, by_key: dict[Key, list[Asked]]) -> Iterator[Violation]:
    """Nothing is in the journal that nobody asked for; what the clock does is the system's."""
    for key, events in evidence.of.items():
        if key not in by_key and not key[1].startswith("system:"):
            detail = f"{events[0].kind} at {events[0].position}: {key} never asked for it"
            yield Violation(DURABLE_ACK, detail)


def _no_doubles(evidence: Evidence) -> Iterator[Violation]:
    """Under one lease only its agent writes, and nobody writes under a lease that was followed."""
    newest: dict[str, int] = {}
    for event in evidence.events:
        token = getattr(event.data, "lease_token", None)
        if token is None or not event.principal.startswith("agent:"):
            continue
        if isinstance(event.data, CandidateKept):
            continue  # late work, kept and not taken: it names the lease that was lost
        if isinstance(event.data, TaskReleased) and event.data.reason == "handed_off":
            continue  # the receiver's yes ends the giver's lease
        task_id = event.data.task_id  # type: ignore[attr-defined]  # it has a lease token
        owner = evidence.leases.get((task_id, token), ("", 0))[0]
        if event.principal != f"agent:{owner}":
            detail = (
                f"{event.kind} at {event.position} is by {event.principal}, the lease {owner}'s"
            )
            yield Violation(SINGLE_LEASE, detail)
        if token < newest.get(task_id, 0):
            detail = f"{event.kind} at {event.position}: token {token} after {newest[task_id]}"
            yield Violation(SINGLE_LEASE, detail)
        newest[task_id] = max(token, newest.get(task_id, 0))
