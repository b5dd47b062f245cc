"""Tables of the SQLite journal, and what it does with them inside a transaction.

Each function takes the connection as its last argument, and neither begins nor ends a transaction.
"""

import sqlite3
from collections import deque
from contextlib import closing
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path

import msgspec
from msgspec.structs import astuple

from pm_agent.adapters import sqlite_batches as batches
from pm_agent.adapters.journal_memory import KEPT_SNAPSHOTS
from pm_agent.domain.envelope import Body
from pm_agent.domain.errors import JournalCorrupt
from pm_agent.kernel.chain import is_intact, require_continuation, require_epoch
from pm_agent.kernel.idempotency import KEEP_US
from pm_agent.ports import GENESIS, Batch, Head, StoredEvent, StoredRequest, StoredSnapshot

DELETED_AT_ONCE = 1000  # old requests per transaction, a few ms: appends come in between
ROWS_AT_ONCE = 512  # ten columns each: far below SQLite's 32,766 parameters
ROWS_STEP = 32  # sizes of larger statements, so that a few dozen serve every batch
# Events a round of indexing. Part of the tables' version: what is indexed follows from it.
INDEXED_AT_ONCE = 4096
CHECKED_EVENTS = 1000  # end of the chain verified at activation; `pm-agent verify` does all of it

SCHEMA = (
    """CREATE TABLE meta (
        schema_version INTEGER NOT NULL, workspace_id TEXT NOT NULL,
        epoch INTEGER NOT NULL, probes INTEGER NOT NULL
    )""",
    batches.BATCHES,
    batches.VIEW,
    # Where to find a subject's events; filled behind them, a round at a time (`_index`). An index
    # of the events took half of an append's CPU: nearly every event changed a page of its own.
    """CREATE TABLE subjects (
        subject TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (subject, position)
    ) WITHOUT ROWID""",
    # An erased body keeps its row, without salt and text: erased and never seen are two things.
    # References begin with their time, so new rows lie side by side on the same few pages.
    "CREATE TABLE bodies (ref TEXT PRIMARY KEY, salt BLOB, text TEXT) WITHOUT ROWID",
    # All requests of one append in one row: they are read again as a whole or not at all. Ids are
    # random, so a row and a key for each took as long as all of the append's events. The engine
    # keeps them unique for the 24 hours that matter.
    "CREATE TABLE requests (at_us INTEGER NOT NULL, sha256 BLOB NOT NULL, data BLOB NOT NULL)",
    """CREATE TABLE snapshots (
        position INTEGER NOT NULL, schema_version INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (schema_version, position)
    )""",
)
# The version that each came with.
TABLES = {"meta": 1, "batches": 5, "subjects": 4, "bodies": 1, "requests": 1, "snapshots": 1}

# The second part looks at those alone that no round has indexed yet; the last one ended at ?1.
POSITIONS = f"""
SELECT position FROM subjects WHERE subject = ?3
UNION ALL
SELECT position FROM ({batches.SUBJECTS}) WHERE subject = ?3
ORDER BY position DESC LIMIT ?4
"""  # noqa: S608 - a constant of ours
READ_HEAD = f"SELECT epoch, position, hash FROM meta LEFT JOIN ({batches.HEAD})"  # noqa: S608 - as above
# From the row on that holds ?1.
READ = f"""
SELECT {batches.ROW} FROM batches WHERE first_position >= coalesce(
    (SELECT max(first_position) FROM batches WHERE first_position <= ?1), 0
) ORDER BY first_position
"""  # noqa: S608 - as above
FORGET_REQUESTS = f"""
DELETE FROM requests WHERE rowid IN (
    SELECT rowid FROM requests WHERE at_us < ({batches.LAST_INSTANT}) - ? ORDER BY rowid LIMIT ?
)
"""  # noqa: S608 - as above

_encode_requests = msgspec.msgpack.encode
_decode_requests = msgspec.msgpack.Decoder(list[StoredRequest]).decode


def take_epoch(path: Path, connection: sqlite3.Connection) -> Head:
    """Take the next epoch, if the end of the journal is sound."""
    head = read_head(connection)
    _require_sound_tail(path, head, connection)
    connection.execute("UPDATE meta SET epoch = epoch + 1")
    return head._replace(epoch=head.epoch + 1)


def append(batch: Batch, connection: sqlite3.Connection) -> None:
    """Write a batch, if its epoch is the newest and it continues the journal."""
    head = read_head(connection)
    require_epoch(head.epoch, batch.epoch)
    require_continuation(head, batch.events)
    connection.executemany(batches.INSERT, batches.pack(batch.events))
    if batch.events:
        _index(head.position, batch.events[-1].position, connection)
    # The same salt and text can come again after a restart, even after an erasure.
    _insert("INSERT OR REPLACE INTO bodies", [astuple(b) for b in batch.bodies], connection)
    if batch.requests:
        data = _encode_requests(batch.requests)
        row = (batch.requests[-1].at_us, sha256(data).digest(), data)
        connection.execute("INSERT INTO requests VALUES (?, ?, ?)", row)


def _insert(start: str, values: list[tuple[object, ...]], connection: sqlite3.Connection) -> None:
    """Insert rows, most often all in one statement.

    At each statement this thread gives Python's lock away and has to wait for it again, while the
    coordinator decides the next batch: row by row an append took as long as that. Statements come
    in few sizes, so that they stay prepared; rows without values fill them up.
    """
    for at in range(0, len(values), ROWS_AT_ONCE):
        some = values[at : at + ROWS_AT_ONCE]
        n_rows, n_columns = _size_for(len(some)), len(some[0])
        fill = [None] * ((n_rows - len(some)) * n_columns)
        statement = _statement(start, n_rows, n_columns)
        connection.execute(statement, [*chain.from_iterable(some), *fill])


def _size_for(n: int) -> int:
    """Rows of the smallest statement that takes ``n``."""
    if n <= ROWS_STEP:
        return int(1 << (n - 1).bit_length())
    return -(-n // ROWS_STEP) * ROWS_STEP


@cache
def _statement(start: str, n_rows: int, n_columns: int) -> str:
    row = f"({', '.join('?' * n_columns)})"
    values = ", ".join([row] * n_rows)
    return f"{start} SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"  # noqa: S608 - constants of this file


def _index(before: int, last: int, connection: sqlite3.Connection) -> None:
    """Index the subjects of events once a round of them is full.

    Sorted, a round changes each page once. All of it happens inside SQLite, so without Python's
    lock.

    Parameters
    ----------
    before, last
        Last positions before and after this append.
    """
    start, end = (position // INDEXED_AT_ONCE * INDEXED_AT_ONCE for position in (before, last))
    if start < end:
        connection.execute(
            f"INSERT INTO subjects {batches.SUBJECTS} ORDER BY subject, position", (start, end)
        )


def probe(epoch: int, connection: sqlite3.Connection) -> None:
    """Write something, if the epoch is the newest."""
    require_epoch(read_head(connection).epoch, epoch)
    connection.execute("UPDATE meta SET probes = probes + 1")


def erase_body(ref: str, connection: sqlite3.Connection) -> bool:
    """Erase a text; False when there was none."""
    # ON overwrites the text in the file. Only here: for the megabytes of an old snapshot it would
    # cost as much as writing them.
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    erased = connection.execute(
        "UPDATE bodies SET salt = NULL, text = NULL WHERE ref = ? AND text IS NOT NULL", (ref,)
    )
    connection.execute("PRAGMA secure_delete = FAST").fetchall()
    return erased.rowcount == 1


def save_snapshot(epoch: int, snapshot: StoredSnapshot, connection: sqlite3.Connection) -> None:
    """Keep a snapshot, and only the newest few of its version."""
    head = read_head(connection)
    require_epoch(head.epoch, epoch)
    assert snapshot.position <= head.position, (snapshot.position, head.position)
    connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", astuple(snapshot))
    connection.execute(
        "DELETE FROM snapshots WHERE schema_version = ?1 AND position NOT IN (SELECT position"
        " FROM snapshots WHERE schema_version = ?1 ORDER BY position DESC LIMIT ?2)",
        (snapshot.schema_version, KEPT_SNAPSHOTS),
    )


def forget_requests(connection: sqlite3.Connection) -> int:
    """Delete some requests older than 24 hours of event time; return how many rows went."""
    deleted = connection.execute(FORGET_REQUESTS, (KEEP_US, DELETED_AT_ONCE))
    return deleted.rowcount


def read_head(connection: sqlite3.Connection) -> Head:
    """Last position, its hash, and the epoch."""
    epoch, position, digest = connection.execute(READ_HEAD).fetchone()
    return Head(position or 0, digest or GENESIS, epoch)


def read(after: int, limit: int, connection: sqlite3.Connection) -> list[StoredEvent]:
    """Events after a position, in order."""
    found: list[StoredEvent] = []
    with closing(connection.execute(READ, (after + 1,))) as rows:
        for values in rows:
            row = batches.Row(*values)
            wanted = row.positions[max(0, after + 1 - row.first_position) :]
            found += batches.unpack(row, wanted[: limit - len(found)])
            if len(found) >= limit:
                break
    return found


def read_subject(subject: str, limit: int, connection: sqlite3.Connection) -> list[StoredEvent]:
    """The newest events about a subject, oldest first."""
    start = read_head(connection).position // INDEXED_AT_ONCE * INDEXED_AT_ONCE
    found = connection.execute(POSITIONS, (start, start + INDEXED_AT_ONCE, subject, limit))
    positions = deque(sorted(position for (position,) in found))
    events: list[StoredEvent] = []
    while positions and (values := connection.execute(READ, (positions[0],)).fetchone()):
        row = batches.Row(*values)
        together = []
        while positions and positions[0] in row.positions:
            together.append(positions.popleft())
        events += batches.unpack(row, together)
        if not together:  # it was taken out of a damaged journal
            positions.popleft()
    return events


def read_bodies(refs: list[str], connection: sqlite3.Connection) -> dict[str, Body]:
    """Texts by reference; those erased or never seen are left out."""
    bodies = {}
    for ref in refs:  # a look-up is some microseconds, and a list this way has no length limit
        row = connection.execute(
            "SELECT * FROM bodies WHERE ref = ? AND text IS NOT NULL", (ref,)
        ).fetchone()
        if row is not None:
            bodies[ref] = Body(*row)
    return bodies


def read_requests(since_us: int, connection: sqlite3.Connection) -> list[StoredRequest]:
    """The newest request of each id since an instant, oldest first."""
    rows = connection.execute(
        "SELECT sha256, data FROM requests WHERE at_us >= ? ORDER BY rowid", (since_us,)
    )
    # An id may be used again once its 24 hours are over, whether or not the old one is gone yet.
    newest: dict[tuple[str, str], StoredRequest] = {}
    for digest, data in rows:
        if sha256(data).digest() != digest:  # they are in no chain, and a wrong reply is a lie
            raise JournalCorrupt("Stored replies of the journal are damaged.")
        for request in _decode_requests(data):
            if request.at_us >= since_us:
                newest.pop((request.principal, request.request_id), None)
                newest[request.principal, request.request_id] = request
    return list(newest.values())


def load_snapshot(schema_version: int, connection: sqlite3.Connection) -> StoredSnapshot | None:
    """The newest snapshot of a version."""
    row = connection.execute(
        "SELECT * FROM snapshots WHERE schema_version = ? ORDER BY position DESC LIMIT 1",
        (schema_version,),
    ).fetchone()
    return None if row is None else StoredSnapshot(*row)


def _require_sound_tail(path: Path, head: Head, connection: sqlite3.Connection) -> None:
    """Recompute the chain over the last events."""
    start = max(0, head.position - CHECKED_EVENTS)
    tail = read(max(0, start - 1), CHECKED_EVENTS + 1, connection)
    previous = tail.pop(0).hash if start else GENESIS
    if [event.position for event in tail] != list(range(start + 1, head.position + 1)):
        raise JournalCorrupt(f"The journal {path} lacks events after position {start}.")
    for event in tail:
        if not is_intact(event, previous):
            message = f"Event {event.position} of the journal {path} breaks its chain of hashes."
            raise JournalCorrupt(message)
        previous = event.hash
    if tail and tail[-1].epoch > head.epoch:  # a writer that was shut out could come in again
        message = f"Event {head.position} of the journal {path} is of a later epoch than the last."
        raise JournalCorrupt(message)
