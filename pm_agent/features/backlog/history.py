"""What happened to a task, event by event, as people read it."""

from collections.abc import Sequence
from typing import Any

from msgspec import field

from pm_agent.domain.envelope import Event
from pm_agent.domain.ids import TaskId
from pm_agent.domain.time import iso
from pm_agent.features.backlog.view import NOTICE, Texts, text_of
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


def _event_texts(event: Event) -> Texts:
    return {
        field: value
        for field in _TEXT_FIELDS
        if isinstance(value := getattr(event.data, field, None), str) and value
    }
