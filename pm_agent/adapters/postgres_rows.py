"""Statements of the PostgreSQL journal, and what it reads and copies on a given connection."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.envelope import Body
from pm_agent.domain.errors import JournalCorrupt
from pm_agent.kernel.chain import is_intact
from pm_agent.ports import (
    EMPTY,
    GENESIS,
    Batch,
    Head,
    StoredEvent,
    StoredRequest,
    StoredSnapshot,
)

CHECKED_EVENTS = 1000  # end of the chain verified at activation; `pm-agent verify` does all of it
DELETED_AT_ONCE = 1000
COPIED_AT_ONCE = 2000

EVENT = "position, at_us, epoch, kind, schema_version, principal, cause, subject, payload, hash"
# Arrays of whole rows: measured 1.5 times faster than an array a column, about as COPY, which would
# take a transaction of seven round trips. Rows without bytes go as JSON: the driver asks of each
# row of an array four times what kind of thing it is, which takes longer than encoding it.
APPEND = """
WITH own AS (
    UPDATE workspaces SET position = $6, hash = $7
    WHERE workspace_id = $1 AND epoch = $2 AND turn = $3 AND position = $4 AND hash = $5
    RETURNING workspace_id
), written AS (
    INSERT INTO events SELECT new.* FROM own, unnest($8::events[]) AS new
), said AS (
    INSERT INTO bodies SELECT new.* FROM own, unnest($9::bodies[]) AS new
    -- The same salt and text can come again after a restart, even after an erasure.
    ON CONFLICT (workspace_id, ref) DO UPDATE SET salt = excluded.salt, text = excluded.text
), answered AS (
    INSERT INTO requests (workspace_id, at_us, data)
    SELECT workspace_id, $10::bigint, $11::bytea FROM own WHERE $11 IS NOT NULL
), told AS (
    INSERT INTO task_history
    SELECT new.* FROM own, json_populate_recordset(NULL::task_history, $12::json) AS new
)
SELECT count(*) FROM own
"""
TAKE_TURN = """
UPDATE workspaces SET turn = turn + 1 WHERE workspace_id = $1 AND epoch = $2
RETURNING turn, position, hash, epoch
"""
HEAD = "SELECT position, hash, epoch FROM workspaces WHERE workspace_id = $1"
READ = f"""
SELECT {EVENT} FROM events WHERE workspace_id = $1 AND position > $2 ORDER BY position LIMIT $3
"""  # noqa: S608 - constants of this file
READ_SUBJECT = f"""
SELECT {EVENT} FROM events WHERE workspace_id = $1 AND subject = $2
ORDER BY position DESC LIMIT $3
"""  # noqa: S608 - as above
# Events of the tasks that have an open blocker, as `TaskHistory` has to see them.
READ_BLOCKED = f"""
WITH told AS (
    SELECT subject, kind, convert_from(payload, 'UTF8')::json ->> 'blocker_id' AS blocker
    FROM events WHERE workspace_id = $1 AND kind IN ('BlockerReported', 'BlockerResolved')
), blocked AS (
    SELECT DISTINCT subject FROM (
        SELECT subject, blocker FROM told WHERE kind = 'BlockerReported'
        EXCEPT SELECT subject, blocker FROM told WHERE kind = 'BlockerResolved'
    ) AS open
)
SELECT {EVENT} FROM events WHERE workspace_id = $1
AND subject IN (SELECT subject FROM blocked) AND kind = ANY($2) ORDER BY position
"""  # noqa: S608 - as above

encode_requests = msgspec.msgpack.encode
decode_requests = msgspec.msgpack.Decoder(list[StoredRequest]).decode


async def version(connection: Any) -> int:
    """Version of the tables; 0 when there are none."""
    if await connection.fetchval("SELECT to_regclass('pm_agent.alembic_version')") is None:
        return 0
    found = await connection.fetchval("SELECT version_num FROM pm_agent.alembic_version")
    return int(found or 0)


async def require_sound_tail(place: str, workspace_id: str, head: Head, connection: Any) -> None:
    """Recompute the chain over the last events."""
    start = max(0, head.position - CHECKED_EVENTS)
    rows = await connection.fetch(READ, workspace_id, max(0, start - 1), CHECKED_EVENTS + 2)
    tail = [StoredEvent(*row) for row in rows]
    previous = tail.pop(0).hash if start and tail else GENESIS
    if [event.position for event in tail] != list(range(start + 1, head.position + 1)):
        raise JournalCorrupt(f"The journal {place} lacks events after position {start}.")
    for event in tail:
        if not is_intact(event, previous):
            message = f"Event {event.position} of {place} breaks its chain of hashes."
            raise JournalCorrupt(message)
        previous = event.hash
    if previous != head.hash:
        raise JournalCorrupt(f"The journal {place} ends with another event than it says.")


async def copy(workspace_id: str, target: SQLiteJournal, connection: Any) -> None:
    """Copy all of a workspace that the connection's transaction shows into an empty journal."""

    async def pages(what: str, order: str) -> AsyncIterator[list[Any]]:
        query = f"SELECT {what} WHERE workspace_id = $1 ORDER BY {order}"
        cursor = await connection.cursor(query, workspace_id)
        while rows := await cursor.fetch(COPIED_AT_ONCE):
            yield rows

    (head,) = await connection.fetch(HEAD, workspace_id) or [EMPTY]
    epoch = head[2]
    while (await target.head()).epoch < epoch:
        await target.activate()
    async for rows in pages(f"{EVENT} FROM events", "position"):
        await target.append(Batch(epoch, [StoredEvent(*row) for row in rows], [], []))
    async for rows in pages("ref, salt, text FROM bodies", "ref"):
        bodies = [body(row) for row in rows if row["text"] is not None]
        await target.append(Batch(epoch, [], bodies, []))
    async for rows in pages("data FROM requests", "number"):
        requests = [request for (data,) in rows for request in decode_requests(data)]
        await target.append(Batch(epoch, [], [], requests))
    async for rows in pages("position, schema_version, data FROM snapshots", "position"):
        for row in rows:
            await target.save_snapshot(StoredSnapshot(*row))


def body(row: Any) -> Body:
    """Text of a row that holds one."""
    return Body(row["ref"], row["salt"], row["text"].decode())
