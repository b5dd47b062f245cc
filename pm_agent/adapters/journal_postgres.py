"""The journal in PostgreSQL: for several machines, and for readers with SQL.

Each append is one statement, and so one round trip and one transaction: it moves the workspace's
row on from the head it expects, under the epoch and turn it expects, and writes events, texts,
request ids and the rows of ``task_history`` only if that row was there. `synchronous_commit` is on.

A lost answer to a commit is never guessed about. Every writing connection takes the next *turn*
of the workspace. Taking it waits for a transaction of the lost connection that still runs,
and a statement of it that has not begun finds another number and writes nothing. So what is read
then, stays: our last event (it was written) or the one before (it was not, and will not be).

Two connections: one appends; reads, snapshots and upkeep use the other. Both are asyncpg's own, so
a transaction pooler such as PgBouncer must not stand between.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import asyncpg
import msgspec
from msgspec.structs import astuple

from pm_agent.adapters import history_postgres as history
from pm_agent.adapters import postgres_rows as rows
from pm_agent.adapters.history_postgres import TaskHistory
from pm_agent.adapters.journal_memory import KEPT_SNAPSHOTS
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.adapters.migrations import NEWEST, upgrade_postgres
from pm_agent.adapters.new_file import require_absent, settle
from pm_agent.adapters.postgres import (
    CONNECT_TIMEOUT_S,
    FAILURES,
    LOST,
    STATEMENT_TIMEOUT_S,
    connect,
    failures_told,
    place,
    told,
)
from pm_agent.domain.envelope import DEFAULT_WORKSPACE, Body
from pm_agent.domain.errors import (
    JournalTooNew,
    JournalUnavailable,
    NoJournal,
    PMError,
    StartError,
)
from pm_agent.domain.time import DAY_US
from pm_agent.kernel.chain import require_continuation, require_epoch
from pm_agent.kernel.idempotency import KEEP_US
from pm_agent.ports import (
    EMPTY,
    GENESIS,
    Batch,
    Head,
    StoredEvent,
    StoredRequest,
    StoredSnapshot,
)

log = logging.getLogger(__name__)

HISTORY_DAYS = 400
MIGRATION_LOCK = 0x706D_6167_656E_7400  # advisory locks are numbers: "pmagent", 0

T = TypeVar("T")


class _Writer(msgspec.Struct):
    """What the writing connection holds: its turn, and the head that it goes on from."""

    turn: int
    head: Head
    history: TaskHistory


class PostgresJournal:
    """Fulfils `pm_agent.ports.Journal` with one workspace of a database. Connects on first use.

    Parameters
    ----------
    url
        ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``, as libpq takes it. Tables are made in the
        schema ``pm_agent`` by the first use, unless ``read_only``.
    workspace_id
        Whose journal it is. Workspaces of one database see nothing of each other.
    read_only
        Never creates or changes anything. Safe beside a running coordinator.
    statement_timeout_s, connect_timeout_s
        How long the server may work on one statement, and how long to wait for a connection.
    history_days
        How long rows of ``task_history`` are kept.

    Notes
    -----
    Besides what the port names, any method may raise `StartError` or `JournalTooNew` while it
    connects for the first time.
    """

    def __init__(
        self,
        url: str,
        workspace_id: str = DEFAULT_WORKSPACE,
        *,
        read_only: bool = False,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        history_days: int = HISTORY_DAYS,
    ) -> None:
        self.place = place(url)
        self.workspace_id = workspace_id
        self._url = url
        self._is_read_only = read_only
        self._statement_timeout_s = statement_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._history_days = history_days
        self._epoch = 0  # of this writer; 0 until activated
        self._is_closed = False
        self._is_prepared = False  # the tables are there and of our version
        # Each connection does one thing at a time.
        self._appending, self._looking = asyncio.Lock(), asyncio.Lock()
        self._append_connection: Any = None
        self._look_connection: Any = None
        self._writer: _Writer | None = None
        self._kept_day = 0  # on which upkeep was done last, by event time

    # -- writing ------------------------------------------------------------------------------

    async def activate(self) -> Head:
        if self._is_read_only:
            raise StartError(f"The journal {self.place} was opened for reading only.")
        async with self._appending:
            with failures_told(self._url, is_starting=True):
                head = await self._activate()
        self._epoch = head.epoch
        await self._keep_history()
        return head

    async def append(self, batch: Batch) -> None:
        async with self._appending:
            try:
                await self._write(batch)
            except LOST as error:
                await self._resolve(batch, error)
            except asyncpg.PostgresError as error:  # answered: nothing was written
                raise told(error, self._url, is_starting=False) from error
        if batch.events and (today := batch.events[-1].at_us // DAY_US) > self._kept_day:
            self._kept_day = today
            await self._keep_history()

    async def probe(self) -> None:
        """Take the next turn: a committed write that is no event."""
        async with self._appending:
            with failures_told(self._url, is_starting=False):
                self._writer = None
                await self._writer_of(self._epoch)

    async def erase_body(self, ref: str) -> bool:
        """Forget a text.

        Its old row leaves the disk with PostgreSQL's next vacuum of the table; copies of the
        server's log and backups keep it as long as they are kept.
        """
        erased = await self._look(
            "UPDATE bodies SET salt = NULL, text = NULL"
            " WHERE workspace_id = $1 AND ref = $2 AND text IS NOT NULL RETURNING ref",
            ref,
        )
        return bool(erased)

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Keep a snapshot; forget requests older than 24 hours and old rows of ``task_history``.

        Raises
        ------
        Fenced, JournalUnavailable
        """
        head = await self.head()
        # Not under the row's lock, so that a large snapshot holds up no append. A coordinator that
        # is shut out between check and write saves a world of durable events: that harms nobody.
        require_epoch(head.epoch, self._epoch)
        assert snapshot.position <= head.position, (snapshot.position, head.position)
        await self._look(
            "INSERT INTO snapshots VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (workspace_id, schema_version, position) DO UPDATE SET data = $4",
            *astuple(snapshot),
        )
        await self._look(
            "DELETE FROM snapshots WHERE workspace_id = $1 AND schema_version = $2"
            " AND position NOT IN (SELECT position FROM snapshots WHERE workspace_id = $1"
            " AND schema_version = $2 ORDER BY position DESC LIMIT $3)",
            snapshot.schema_version,
            KEPT_SNAPSHOTS,
        )
        await self._forget_requests()
        await self._keep_history()

    # -- reading ------------------------------------------------------------------------------

    async def head(self) -> Head:
        found = await self._look(rows.HEAD)
        if not found and self._is_read_only:
            message = f"There is no journal of workspace {self.workspace_id} in {self.place}."
            raise NoJournal(message)
        return Head(*found[0]) if found else EMPTY

    async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
        return [StoredEvent(*row) for row in await self._look(rows.READ, after, limit)]

    async def read_at(self, position: int) -> StoredEvent | None:
        found = await self.read(position - 1, 1)
        return found[0] if found and found[0].position == position else None

    async def read_subject(self, subject: str, limit: int = 1000) -> list[StoredEvent]:
        found = await self._look(rows.READ_SUBJECT, subject, limit)
        return [StoredEvent(*row) for row in reversed(found)]

    async def read_bodies(self, refs: list[str]) -> dict[str, Body]:
        found = await self._look(
            "SELECT ref, salt, text FROM bodies"
            " WHERE workspace_id = $1 AND ref = ANY($2) AND text IS NOT NULL",
            refs,
        )
        return {row["ref"]: rows.body(row) for row in found}

    async def read_requests(self, since_us: int) -> list[StoredRequest]:
        found = await self._look(
            "SELECT data FROM requests WHERE workspace_id = $1 AND at_us >= $2 ORDER BY number",
            since_us,
        )
        # An id may be used again once its 24 hours are over, whether or not the old one is gone.
        newest: dict[tuple[str, str], StoredRequest] = {}
        for (data,) in found:
            for request in rows.decode_requests(data):
                if request.at_us >= since_us:
                    newest.pop((request.principal, request.request_id), None)
                    newest[request.principal, request.request_id] = request
        return list(newest.values())

    async def load_snapshot(self, schema_version: int) -> StoredSnapshot | None:
        found = await self._look(
            "SELECT position, schema_version, data FROM snapshots"
            " WHERE workspace_id = $1 AND schema_version = $2 ORDER BY position DESC LIMIT 1",
            schema_version,
        )
        return StoredSnapshot(*found[0]) if found else None

    async def history_layout(self) -> str:
        """How ``task_history`` is stored: 'hypertable' or 'partitions'."""
        return await self._on_look_connection(history.layout)

    async def close(self) -> None:
        """Finish what is under way and disconnect. Calling it again does nothing."""
        self._is_closed = True
        for lock, name in (
            (self._appending, "_append_connection"),
            (self._looking, "_look_connection"),
        ):
            async with lock:
                connection = getattr(self, name)
                setattr(self, name, None)
                if connection is not None:
                    with suppress(*FAILURES):
                        await connection.close(timeout=self._connect_timeout_s)

    async def backup(self, path: str) -> None:
        """Write a consistent copy to a new SQLite file while the journal is in use.

        Raises
        ------
        AlreadyExists
            There is a file at ``path``; it is left alone.
        JournalUnavailable
            The copy could not be written; nothing is left at ``path``.
        """
        await self.head()  # names what is missing before any copying
        target = Path(path)
        require_absent(target)
        copying = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        copy = SQLiteJournal(copying, self.workspace_id)
        try:
            with failures_told(self._url, is_starting=False):
                # A connection of its own: a long copy holds up neither appends nor reads.
                connection = await self._connect(is_read_only=True)
                try:
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        await rows.copy(self.workspace_id, copy, connection)
                finally:
                    connection.terminate()
            await copy.close()
            settle(copying, target)
        finally:
            await copy.close()
            for suffix in ("", "-wal", "-shm"):
                copying.with_name(copying.name + suffix).unlink(missing_ok=True)

    # -- on the appending connection, its lock held ---------------------------------------------

    async def _activate(self) -> Head:
        """Take the next epoch, if the journal is sound."""
        connection = await self._connected("_append_connection")
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO workspaces VALUES ($1, 0, 0, 0, $2) ON CONFLICT DO NOTHING",
                self.workspace_id,
                GENESIS,
            )
            head = Head(*await connection.fetchrow(f"{rows.HEAD} FOR UPDATE", self.workspace_id))
            await rows.require_sound_tail(self.place, self.workspace_id, head, connection)
            await connection.execute(
                "UPDATE workspaces SET epoch = epoch + 1 WHERE workspace_id = $1",
                self.workspace_id,
            )
        self._writer = None
        return head._replace(epoch=head.epoch + 1)

    async def _write(self, batch: Batch) -> None:
        writer = await self._writer_of(batch.epoch)
        require_continuation(writer.head, batch.events)
        own = self.workspace_id
        bodies = {body.ref: (own, body.ref, body.salt, body.text.encode()) for body in batch.bodies}
        requests = batch.requests
        after = _after(batch) if batch.events else writer.head
        self._writer = None  # until it is known what became of this
        n_moved = await self._append_connection.fetchval(
            rows.APPEND,
            own,
            batch.epoch,
            writer.turn,
            writer.head.position,
            writer.head.hash,
            after.position,
            after.hash,
            [(own, *astuple(event)) for event in batch.events],
            list(bodies.values()),
            requests[-1].at_us if requests else 0,
            rows.encode_requests(requests) if requests else None,
            history.encode_rows(writer.history.rows(batch.events)).decode(),
        )
        if n_moved == 1:
            writer.head = after
            self._writer = writer
            return
        head = await self._append_connection.fetchrow(rows.HEAD, own)
        require_epoch(head["epoch"], batch.epoch)
        message = f"Another writer of epoch {batch.epoch} went on with the journal {self.place}."
        raise JournalUnavailable(message)

    async def _resolve(self, batch: Batch, lost: Exception) -> None:
        """Find out what became of a batch whose acknowledgement was lost.

        Raises
        ------
        Fenced, JournalUnavailable
            Nothing of it was written, or that cannot be found out now.
        """
        log.warning("connection to %s lost while appending: %r", self.place, lost)
        self._drop("_append_connection")
        try:
            writer = await self._writer_of(batch.epoch)
        except FAILURES as error:
            raise told(error, self._url, is_starting=False) from lost
        if batch.events and writer.head == _after(batch):
            return
        message = f"The connection to {self.place} was lost; the last batch was not written."
        raise JournalUnavailable(message) from lost

    async def _writer_of(self, epoch: int) -> _Writer:
        """Connection's turn and the head behind it; takes the next turn if there is none."""
        connection = await self._connected("_append_connection")
        if self._writer is None or self._writer.head.epoch != epoch:
            taken = await connection.fetchrow(rows.TAKE_TURN, self.workspace_id, epoch)
            if taken is None:
                found = await connection.fetchrow(rows.HEAD, self.workspace_id)
                require_epoch(found["epoch"] if found else 0, epoch)
                message = f"The journal {self.place} has no workspace {self.workspace_id} yet."
                raise JournalUnavailable(message)
            turn, *head = taken
            seen = await connection.fetch(rows.READ_BLOCKED, self.workspace_id, history.KINDS)
            known = TaskHistory(self.workspace_id, (StoredEvent(*row) for row in seen))
            self._writer = _Writer(turn, Head(*head), known)
        return self._writer

    # -- on the other connection ----------------------------------------------------------------

    async def _look(self, query: str, *values: object) -> list[Any]:
        """Run a statement about this workspace, which is its first parameter."""

        async def fetch(connection: Any) -> list[Any]:
            found: list[Any] = await connection.fetch(query, self.workspace_id, *values)
            return found

        return await self._on_look_connection(fetch)

    async def _on_look_connection(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do what may be done twice: a connection found lost is replaced, once."""
        async with self._looking:
            with failures_told(self._url, is_starting=not self._is_prepared):
                try:
                    return await work(await self._connected("_look_connection"))
                except LOST:
                    if self._look_connection is None:  # it could not be made at all
                        raise
                    self._drop("_look_connection")
                    return await work(await self._connected("_look_connection"))

    async def _forget_requests(self) -> None:
        n_deleted = rows.DELETED_AT_ONCE
        while n_deleted == rows.DELETED_AT_ONCE:
            deleted = await self._look(
                "DELETE FROM requests WHERE workspace_id = $1 AND number IN ("
                "SELECT number FROM requests WHERE workspace_id = $1 AND at_us < ("
                "SELECT at_us FROM events WHERE workspace_id = $1 ORDER BY position DESC LIMIT 1"
                ") - $2::bigint ORDER BY number LIMIT $3) RETURNING number",
                KEEP_US,
                rows.DELETED_AT_ONCE,
            )
            n_deleted = len(deleted)

    async def _keep_history(self) -> None:
        """Look after ``task_history``; what fails is done another time."""
        try:
            await self._on_look_connection(partial(history.keep, days=self._history_days))
        except PMError as error:
            log.warning("task_history was not looked after: %s", error.message)

    # -- connections ----------------------------------------------------------------------------

    async def _connected(self, name: Literal["_append_connection", "_look_connection"]) -> Any:
        if self._is_closed:
            raise JournalUnavailable(f"The journal {self.place} is closed.")
        connection = getattr(self, name)
        if connection is None or connection.is_closed():
            self._drop(name)
            connection = await self._connect(is_read_only=self._is_read_only)
            try:
                if not self._is_prepared:
                    await self._prepare(connection)
            except BaseException:
                connection.terminate()
                raise
            setattr(self, name, connection)
        return connection

    def _drop(self, name: Literal["_append_connection", "_look_connection"]) -> None:
        connection = getattr(self, name)
        setattr(self, name, None)
        if name == "_append_connection":
            self._writer = None
        if connection is not None:
            connection.terminate()

    async def _connect(self, *, is_read_only: bool = False) -> Any:
        return await connect(
            self._url,
            application=f"pm-agent {self.workspace_id}",
            statement_timeout_s=self._statement_timeout_s,
            connect_timeout_s=self._connect_timeout_s,
            read_only=is_read_only,
        )

    async def _prepare(self, connection: Any) -> None:
        """See to it that the tables are there and of our version."""
        newest = NEWEST["postgres"]
        version = await rows.version(connection)
        if version == 0 and self._is_read_only:
            raise NoJournal(f"There is no journal in {self.place}.")
        if version < newest and self._is_read_only:
            message = f"The journal {self.place} has tables of version {version}, needs {newest}."
            raise StartError(message, "Run 'pm-agent up' once: it brings them up.")
        if version < newest:
            await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
            try:
                if await rows.version(connection) < newest:  # else another coordinator was faster
                    await upgrade_postgres(self._connect)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
        if version > newest:
            message = f"The journal {self.place} has version {version}; known is {newest}."
            raise JournalTooNew(message)
        self._is_prepared = True


def _after(batch: Batch) -> Head:
    return Head(batch.events[-1].position, batch.events[-1].hash, batch.epoch)
