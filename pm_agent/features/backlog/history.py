"""What happened to a task, event by event, as people read it."""

from collections.abc import Sequence
from typing import Any

from msgspec import field

from pm_agent.domain.assignment import (
    AssignmentExpired,
    CandidateKept,
    CompletionAccepted,
    CompletionRejected,
    LeaseRegranted,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.envelope import Event, EventData
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.ids import TaskId
from pm_agent.domain.task import Candidate, TaskDeadLettered, TaskReopened
from pm_agent.domain.time import iso
from pm_agent.features.backlog.view import (
    NOTICE,
    AttemptView,
    CandidateView,
    Texts,
    candidate_view,
    text_of,
)
from pm_agent.kernel.types import Result


class HistoryEntry(Result, frozen=True, kw_only=True):
    """One event, with the texts it names."""

    position: int
    at: str
    event: str
    by: str
    request_id: str
    fields: dict[str, Any]
    texts: Texts = field(default_factory=dict)


class TaskHistory(Result, frozen=True, kw_only=True):
    """What happened to a task, oldest first."""

    task_id: str
    notice: str
    events: list[HistoryEntry]


class DeadLetter(Result, frozen=True, kw_only=True):
    """Why a task is not tried again, with what a person needs to judge it."""

    reason: str
    at: str
    attempts: list[AttemptView]
    candidates: list[CandidateView]


Running = dict[str, Any]  # fields of an attempt that has not ended yet
_TEXT_FIELDS = ("note", "description", "summary", "report", "resolution", "decision", "text")


def history_refs(events: Sequence[Event]) -> list[str]:
    """References of all texts that these events name."""
    return [ref for event in events for ref in _event_texts(event).values()]


def task_history(identifier: TaskId, events: Sequence[Event], texts: Texts) -> TaskHistory:
    """Return what happened to a task, oldest first; decision records stay in explain_assignment."""
    entries = []
    for event in events:
        named = _event_texts(event)
        left_out = {"decision", "task_id", *named}
        fields = {
            field: value
            for field in event.data.__struct_fields__
            if field not in left_out and (value := getattr(event.data, field)) not in (None, "", ())
        }
        entries.append(
            HistoryEntry(
                position=event.position,
                at=iso(event.at_us),
                event=event.kind,
                by=event.principal,
                request_id=event.cause,
                fields=fields,
                texts={field: text_of(texts, ref) for field, ref in named.items()},
            )
        )
    return TaskHistory(task_id=identifier, notice=NOTICE, events=entries)


def dead_letter(events: Sequence[Event], texts: Texts) -> DeadLetter | None:
    """Evidence about a dead letter from its events alone; None when the task is none now."""
    found: DeadLetter | None = None
    attempts: list[AttemptView] = []
    candidates: list[CandidateView] = []
    running: Running = {}
    for event in events:
        data = event.data
        if isinstance(data, TaskAssigned | LeaseRegranted | HandoffAccepted):
            running = {"agent_id": data.agent_id, "lease_token": data.lease_token}
            running["started_at"] = iso(event.at_us)
        elif isinstance(data, ProgressReported):
            said = {"percent": data.percent, "where": data.where}
            said["note"] = text_of(texts, data.note)
            running |= {name: value for name, value in said.items() if value}
        elif isinstance(data, CandidateKept):
            kept = Candidate(
                data.agent_id, data.lease_token, data.summary, event.at_us, data.evidence
            )
            candidates.append(candidate_view(kept, texts))
        elif isinstance(data, TaskDeadLettered):
            found = DeadLetter(
                reason=data.reason,
                at=iso(event.at_us),
                attempts=list(attempts),
                candidates=candidates,
            )
        elif isinstance(data, TaskReopened):
            found = None
        if data.ends_attempt and running:
            note = {field: text_of(texts, ref) for field, ref in _event_texts(event).items()}
            running["note"] = next(iter(note.values()), running.get("note", ""))
            attempts.append(
                AttemptView(**running, outcome=_outcome(data), ended_at=iso(event.at_us))
            )
            running = {}
    return found


def _outcome(data: EventData) -> str:
    if isinstance(data, AssignmentExpired):
        return "released" if data.reason == "unconfirmed" else "expired"
    if isinstance(data, TaskReleased):
        return data.reason
    return {CompletionAccepted: "completed", CompletionRejected: "rejected"}.get(
        type(data), "stopped"
    )


def _event_texts(event: Event) -> Texts:
    return {
        field: value
        for field in _TEXT_FIELDS
        if isinstance(value := getattr(event.data, field, None), str) and value
    }
