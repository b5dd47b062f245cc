"""Changes the events in a SQLite journal behind its back."""

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from pm_agent.adapters.sqlite_batches import INSERT, ROW, Row, pack, unpack
from pm_agent.ports import StoredEvent


def stored_events(path: Path) -> list[StoredEvent]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"SELECT {ROW} FROM batches ORDER BY first_position").fetchall()  # noqa: S608 - a constant
    return [event for row in rows for event in unpack(Row(*row))]


def store_events(path: Path, events: list[StoredEvent]) -> None:
    """Put these in place of all events: each in a row of its own, so that some may be missing."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM batches")
        connection.executemany(INSERT, (row for event in events for row in pack([event])))


def change_event(path: Path, position: int, **fields: object) -> None:
    events = stored_events(path)
    events[position - 1] = replace(events[position - 1], **fields)
    store_events(path, events)


def remove_event(path: Path, position: int) -> None:
    store_events(path, [event for event in stored_events(path) if event.position != position])
