"""Compares what clients were told with what the system under test has kept.

Histories come from the clients alone, facts from the journal, opened for reading once nobody
writes. Found is what must not happen:

- acknowledged and lost: a reply said yes, and its effect is nowhere;
- a double assignment: two agents surely held one task at one instant (`benchmarks.history`);
- and by name: an effect that came twice, a task accepted twice or reopened by nobody, a write with
  a lease that had passed on, a lease that another agent's request ended, a writer that came back
  after its successor, two answers to one request, a task that is neither open nor held nor ended.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from benchmarks.chaos_history import OK, Line, writes_of
from benchmarks.history import find_doubles
from pm_agent.domain.assignment import (
    AssignmentExpired,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.envelope import EventData
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.task import TaskCancelled, TaskCreated, TaskDeadLettered, TaskReopened
from pm_agent.kernel.chain import unseal
from pm_agent.ports import Journal

FactKind = Literal[
    "created",
    "assigned",
    "reported",
    "submitted",
    "accepted",
    "given_back",
    "expired",
    "ended",
    "reopened",
]
FACTS: dict[type[EventData], FactKind] = {
    TaskCreated: "created",
    TaskAssigned: "assigned",
    HandoffAccepted: "assigned",
    LeaseRegranted: "assigned",  # to the agent whose work came late, while nobody had the task
    ProgressReported: "reported",
    CompletionSubmitted: "submitted",
    CompletionAccepted: "accepted",
    CompletionRejected: "given_back",
    TaskReleased: "given_back",
    AssignmentExpired: "expired",
    TaskDeadLettered: "ended",
    TaskCancelled: "ended",
    TaskReopened: "reopened",
}
# The fact that an acknowledged request must have left.
PROOFS: dict[str, FactKind] = {
    "progress": "reported",
    "complete": "submitted",
    "release": "given_back",
    "create": "created",
    "import": "created",
}
BY_THEIR_HOLDER: frozenset[FactKind] = frozenset({"reported", "submitted"})
HELD: frozenset[FactKind] = frozenset({"assigned", "reported", "submitted"})
SHOWN = 5  # examples of each kind
UNAUTHENTICATED = 401


class Fact(NamedTuple):
    """One thing that the system under test keeps as having happened."""

    kind: FactKind
    task_id: str
    agent_id: str = ""
    lease_token: int = 0
    cause: str = ""  # request id
    epoch: int = 0  # of the writer; 0 where there is no such thing


class Truth(NamedTuple):
    """What is kept at the end, in order."""

    facts: list[Fact]
    # Where waiting tasks stand in a queue of their own: those that are in it.
    queued: frozenset[str] | None = None


class Verdict(msgspec.Struct):
    """What was found; all zero and empty when all is well."""

    double_assignments: int = 0
    acked_lost: int = 0
    violations: dict[str, int] = {}
    n_expired: int = 0  # leases that ended by silence: frozen and killed agents lost their tasks
    examples: list[str] = []

    @property
    def n_violations(self) -> int:
        return sum(self.violations.values())

    def add(self, name: str, example: str) -> None:
        n = self.violations[name] = self.violations.get(name, 0) + 1
        if n <= SHOWN:
            self.examples.append(f"{name}: {example}")


async def facts_of(journal: Journal, after: int = 0) -> list[Fact]:
    """Read the facts of a journal, from a position on."""
    facts: list[Fact] = []
    kinds = {kind.__name__ for kind in FACTS}
    while page := await journal.read(after):
        after = page[-1].position
        for stored in page:
            if stored.kind not in kinds:
                continue
            data = unseal(stored).data
            facts.append(
                Fact(
                    FACTS[type(data)],
                    getattr(data, "task_id", ""),
                    getattr(data, "agent_id", ""),
                    getattr(data, "lease_token", 0),
                    stored.cause,
                    stored.epoch,
                )
            )
    return facts


def check(histories: Mapping[str, list[Line]], truth: Truth) -> Verdict:
    """Compare histories, one a client process, with what was kept."""
    verdict = Verdict()
    lines = [line for history in histories.values() for line in history]
    answers = _answers(lines, verdict)
    _check_acknowledged(answers, truth, verdict)
    doubles = find_doubles(write for history in histories.values() for write in writes_of(history))
    verdict.double_assignments = len(doubles)
    for task_id, *leases in doubles[:SHOWN]:
        verdict.examples.append(f"double assignment of {task_id}: {leases}")
    verdict.n_expired = sum(fact.kind == "expired" for fact in truth.facts)
    _check_effects({line.request_id: line.client_id for line in lines}, truth.facts, verdict)
    _check_lives(truth, verdict)
    for one, two in pairwise(truth.facts):
        if two.epoch < one.epoch:
            verdict.add("epoch_went_back", f"{two.kind} of {two.task_id} by epoch {two.epoch}")
    return verdict


def _answers(lines: Iterable[Line], verdict: Verdict) -> dict[str, Line]:
    """First acceptance of each request; another answer to it, or a 401, is a violation.

    A claim that found nothing and a refusal left no effect, so a later answer may differ.
    """
    answers: dict[str, Line] = {}
    for line in lines:
        if line.event == "got" and line.status == UNAUTHENTICATED:
            verdict.add("token_refused", f"{line.kind} {line.request_id} of {line.client_id}")
        if line.event != "got" or line.status not in OK:
            continue
        if not line.task_id and line.kind != "import":
            continue
        first = answers.setdefault(line.request_id, line)
        if first.answer != line.answer:
            verdict.add(
                "other_reply",
                f"{line.kind} {line.request_id}: {first.answer!r}, then {line.answer!r}",
            )
    return answers


def _check_acknowledged(answers: Mapping[str, Line], truth: Truth, verdict: Verdict) -> None:
    grants = {(f.task_id, f.agent_id, f.lease_token) for f in truth.facts if f.kind == "assigned"}
    proofs = {(f.cause, f.kind) for f in truth.facts}
    for line in answers.values():
        if line.is_grant:
            is_kept = (line.task_id, line.client_id, line.lease_token) in grants
        else:
            is_kept = (line.request_id, PROOFS[line.kind]) in proofs
        if not is_kept:
            verdict.acked_lost += 1
            if verdict.acked_lost <= SHOWN:
                verdict.examples.append(
                    f"acknowledged and lost: {line.kind} {line.request_id} of {line.client_id} on "
                    f"{line.task_id or '-'}"
                )


def _check_effects(asked: Mapping[str, str], facts: list[Fact], verdict: Verdict) -> None:
    """One request has one effect, however often it was sent, and ends no other client's lease."""
    effects = Counter((f.cause, f.kind, f.task_id) for f in facts if f.cause in asked)
    for (cause, kind, task_id), n in effects.items():
        if n > 1:
            verdict.add("double_effect", f"{task_id} {kind} {n} times by request {cause}")
    grants = Counter(f.cause for f in facts if f.cause in asked and f.kind == "assigned")
    for cause, n in grants.items():
        if n > 1:
            verdict.add("double_effect", f"{n} tasks assigned by request {cause}")
    for fact in facts:
        by = asked.get(fact.cause, fact.agent_id)
        if fact.kind == "given_back" and by != fact.agent_id:
            verdict.add("taken_away", f"{fact.task_id} of {fact.agent_id} by {by}")


def _check_lives(truth: Truth, verdict: Verdict) -> None:
    """Follow each task from its beginning to where it stands."""
    lives: dict[str, list[Fact]] = defaultdict(list)
    for fact in truth.facts:
        lives[fact.task_id].append(fact)
    for task_id, facts in lives.items():
        is_over = False
        holder: Fact | None = None
        for fact in facts:
            if fact.kind == "accepted" and is_over:
                verdict.add("accepted_twice", task_id)
            elif fact.kind == "assigned" and is_over:
                verdict.add("reopened", f"{task_id} assigned after its end")
            if fact.kind in BY_THEIR_HOLDER and (
                holder is None
                or (fact.agent_id, fact.lease_token) != (holder.agent_id, holder.lease_token)
            ):
                verdict.add("stale_write", f"{task_id} {fact.kind} by {fact.agent_id}")
            if fact.kind == "assigned":
                if holder is not None:
                    verdict.add("overlap", f"{task_id} assigned while {holder.agent_id} held it")
                holder = fact
            elif fact.kind in ("given_back", "expired"):
                holder = None
            elif fact.kind in ("accepted", "ended"):
                holder, is_over = None, True
            elif fact.kind == "reopened":
                is_over = False
        if is_over:
            continue
        if facts[-1].kind in HELD:
            verdict.add("stranded", f"{task_id} is held by {facts[-1].agent_id}, who is gone")
        elif truth.queued is not None and task_id not in truth.queued:
            verdict.add("stranded", f"{task_id} is in no queue and was never taken")
