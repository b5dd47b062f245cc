"""All events of one append in one row; ``events`` becomes a view of them."""

from collections.abc import Iterator
from typing import Any

import msgspec
from alembic import op

from pm_agent.domain.errors import JournalCorrupt
from pm_agent.kernel.chain import is_intact
from pm_agent.ports import GENESIS, StoredEvent

revision = "0005"
down_revision = "0004"

A_ROW = 512
BATCHES = """CREATE TABLE batches (
    first_position INTEGER PRIMARY KEY, hashes BLOB NOT NULL, subjects TEXT NOT NULL,
    events TEXT NOT NULL
)"""
VIEW = """CREATE VIEW events AS SELECT
    first_position + line.key AS position, json_extract(line.value, '$[0]') AS at_us,
    json_extract(line.value, '$[1]') AS epoch, json_extract(line.value, '$[2]') AS kind,
    json_extract(line.value, '$[3]') AS schema_version,
    json_extract(line.value, '$[4]') AS principal, json_extract(line.value, '$[5]') AS cause,
    json_extract('[' || replace(subjects, char(10), ',') || ']', '$[' || line.key || ']')
        AS subject,
    json_extract(line.value, '$[6]') AS payload,
    substr(hashes, line.key * 32 + 1, 32) AS hash
FROM batches, json_each('[' || replace(batches.events, char(10), ',') || ']') AS line"""
EVENTS = """CREATE TABLE events (
    position INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, epoch INTEGER NOT NULL,
    kind TEXT NOT NULL, schema_version INTEGER NOT NULL, principal TEXT NOT NULL,
    cause TEXT NOT NULL, subject TEXT NOT NULL, payload BLOB NOT NULL, hash BLOB NOT NULL
)"""


def upgrade() -> None:
    """Pack what is whole; a damaged journal stays as it is, for a repair from a backup."""
    connection = op.get_bind()
    op.execute("ALTER TABLE events RENAME TO old_events")
    op.execute(BATCHES)
    previous = GENESIS
    for events in _pages(connection):
        for event in events:
            if not is_intact(event, previous):
                message = f"Event {event.position} of the journal breaks its chain of hashes."
                raise JournalCorrupt(message)
            previous = event.hash
        row = (
            events[0].position,
            b"".join(event.hash for event in events),
            b"\n".join(msgspec.json.encode(event.subject) for event in events),
            b"\n".join(_line(event) for event in events),
        )
        insert = "INSERT INTO batches VALUES (?, ?, CAST(? AS TEXT), CAST(? AS TEXT))"
        connection.exec_driver_sql(insert, row)
    op.execute("DROP TABLE old_events")
    op.execute(VIEW)
    op.execute("UPDATE meta SET schema_version = 5")


def downgrade() -> None:
    """Unpack them."""
    op.execute("ALTER TABLE batches RENAME TO old_batches")
    op.execute("DROP VIEW events")
    op.execute(EVENTS)
    op.execute(VIEW.replace("VIEW events", "VIEW unpacked").replace("batches", "old_batches"))
    op.execute(
        "INSERT INTO events SELECT position, at_us, epoch, kind, schema_version, principal, cause,"
        " subject, CAST(payload AS BLOB), hash FROM unpacked"
    )
    op.execute("DROP VIEW unpacked")
    op.execute("DROP TABLE old_batches")
    op.execute("UPDATE meta SET schema_version = 4")


def _pages(connection: Any) -> Iterator[list[StoredEvent]]:
    """All events in order, a row's worth at a time; each follows the one before."""
    position = 0
    while rows := connection.exec_driver_sql(
        "SELECT * FROM old_events WHERE position > ? ORDER BY position LIMIT ?", (position, A_ROW)
    ).fetchall():
        events = [StoredEvent(*row) for row in rows]
        if [e.position for e in events] != list(range(position + 1, position + 1 + len(events))):
            raise JournalCorrupt(f"The journal lacks events after position {position}.")
        yield events
        position = events[-1].position


def _line(event: StoredEvent) -> bytes:
    names = ("at_us", "epoch", "kind", "schema_version", "principal", "cause")
    fields = [getattr(event, name) for name in names]
    return msgspec.json.encode([*fields, msgspec.Raw(event.payload)])
