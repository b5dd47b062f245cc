"""The journal in one SQLite file: the default, for one machine.

Durable before acknowledged: write-ahead log, ``synchronous=FULL``, one commit a batch. Writers are
kept apart by the epoch alone, checked inside the very transaction that writes; a file lock would
also keep out the successor of a paused process, which must be able to take over. All writing
happens on one thread with one connection, all reading on another, so reads never wait for a commit.

Not for network file systems: SQLite's locks and its shared memory need a local disk.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from pm_agent.adapters import migrations
from pm_agent.adapters import sqlite_rows as rows
from pm_agent.domain.envelope import DEFAULT_WORKSPACE, Body
from pm_agent.domain.errors import (
    AlreadyExists,
    JournalCorrupt,
    JournalLocked,
    JournalTooNew,
    JournalUnavailable,
    PMError,
    StartError,
)
from pm_agent.ports import Batch, Head, StoredEvent, StoredRequest, StoredSnapshot

SCHEMA_VERSION = 5  # of the tables; events and snapshots carry their own
BUSY_TIMEOUT_S = 5.0  # far above any commit of ours: whoever holds the lock longer is not a journal
CHECKED_BYTES = 256 * 1024 * 1024  # quick_check takes 0.2 s for that, more from a cold disk
# Measured over 100 appends of 380 events: 5.2 microseconds of CPU an event, 5.9 on SQLite's own
# 4 kB, no less on larger ones.
PAGE_BYTES = 8192

# Errors after which a rolled-back connection is as good as new; after others it is opened anew.
_HARMLESS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_T = TypeVar("_T")
_Work = Callable[[sqlite3.Connection], _T]


class SQLiteJournal:
    """Fulfils `pm_agent.ports.Journal` with one file. Opens it on first use.

    Parameters
    ----------
    path
        The file; made by the first use unless ``read_only``. Its folder must exist.
    workspace_id
        Whose journal it is; another workspace's file is refused.
    read_only
        Never creates or changes anything, not even the files beside the journal. Safe beside a
        running coordinator.
    busy_timeout_s
        How long to wait for a lock that somebody else holds on the file.

    Notes
    -----
    Besides what the port names, any method may raise `StartError`, `JournalCorrupt` or
    `JournalTooNew` while it opens the file for the first time.
    """

    def __init__(
        self,
        path: str | Path,
        workspace_id: str = DEFAULT_WORKSPACE,
        *,
        read_only: bool = False,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.path = Path(path)
        self.workspace_id = workspace_id
        self._is_read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._epoch = 0  # of this writer; 0 until activated
        self._is_closed = False
        self._is_prepared = read_only  # the tables are known to be there
        # Each connection is touched by its own single thread alone.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="journal-read")
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None

    # -- writing ------------------------------------------------------------------------------

    async def activate(self) -> Head:
        if self._is_read_only:
            raise StartError(f"The journal {self.path} was opened for reading only.")
        head = await self._submit(self._writer, self._activate)
        self._epoch = head.epoch
        return head

    async def append(self, batch: Batch) -> None:
        await self._write(partial(rows.append, batch))

    async def probe(self) -> None:
        await self._write(partial(rows.probe, self._epoch))

    async def erase_body(self, ref: str) -> bool:
        return await self._submit(self._writer, partial(self._erase_body, ref))

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Keep a snapshot, and use the occasion to forget requests older than 24 hours.

        Raises
        ------
        Fenced, JournalUnavailable
        """
        await self._write(partial(rows.save_snapshot, self._epoch, snapshot))
        while await self._write(rows.forget_requests) == rows.DELETED_AT_ONCE:
            pass

    # -- reading ------------------------------------------------------------------------------

    async def head(self) -> Head:
        return await self._read(rows.read_head)

    async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
        return await self._read(partial(rows.read, after, limit))

    async def read_at(self, position: int) -> StoredEvent | None:
        found = await self.read(position - 1, 1)
        return found[0] if found and found[0].position == position else None

    async def read_subject(self, subject: str, limit: int = 1000) -> list[StoredEvent]:
        return await self._read(partial(rows.read_subject, subject, limit))

    async def read_bodies(self, refs: list[str]) -> dict[str, Body]:
        return await self._read(partial(rows.read_bodies, refs))

    async def read_requests(self, since_us: int) -> list[StoredRequest]:
        return await self._read(partial(rows.read_requests, since_us))

    async def load_snapshot(self, schema_version: int) -> StoredSnapshot | None:
        return await self._read(partial(rows.load_snapshot, schema_version))

    async def backup(self, path: str) -> None:
        """Write a consistent copy to a new file while the journal is in use.

        Raises
        ------
        AlreadyExists
            There is a file at ``path``; it is left alone.
        JournalUnavailable
            The copy could not be written; nothing is left at ``path``.
        """
        await self.head()  # names a missing or damaged journal before any copying
        # On a thread and connection of its own: a long copy holds up neither appends nor reads.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._backup, Path(path))

    async def close(self) -> None:
        """Finish what is under way and close the file. Calling it again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        loop = asyncio.get_running_loop()
        # The reader first: the last connection to go moves the log into the file and removes it.
        await loop.run_in_executor(self._reader, self._drop_reading)
        await loop.run_in_executor(self._writer, self._drop_writing)
        self._reader.shutdown()
        self._writer.shutdown()

    # -- on the writer's thread ---------------------------------------------------------------

    async def _write(self, work: _Work[_T]) -> _T:
        return await self._submit(self._writer, partial(self._transact, work))

    def _transact(self, work: _Work[_T]) -> _T:
        try:
            return self._commit(work)
        except sqlite3.Error as error:
            # Also for damage: the coordinator rebuilds then, and its reads name the damage.
            message = f"The journal {self.path} could not be written: {error}."
            raise JournalUnavailable(message) from error

    def _activate(self) -> Head:
        """Take the next epoch, if the journal is sound."""
        try:
            # Outside the transaction: the check can take a second, the lock must not.
            _require_sound_file(self._writing_connection(), self.path)
            return self._commit(partial(rows.take_epoch, self.path))
        except sqlite3.Error as error:
            raise self._start_error(error) from error

    def _commit(self, work: _Work[_T]) -> _T:
        """Do work in a transaction of its own; whatever it raises, nothing of it remains."""
        connection = self._writing_connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
            return result
        except sqlite3.Error as error:
            if _primary_code(error) not in _HARMLESS:
                self._drop_writing()
            raise
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._writing is not None and self._writing.in_transaction:
            try:
                self._writing.execute("ROLLBACK")
            except sqlite3.Error:
                self._drop_writing()

    def _erase_body(self, ref: str) -> bool:
        was_there = self._transact(partial(rows.erase_body, ref))
        if was_there:
            # Older pages of the log still show the text until it is emptied. Not waiting: while a
            # long read goes on appends matter more, and a later checkpoint does the same.
            connection = self._writing_connection()
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA busy_timeout = 0").fetchall()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute(
                f"PRAGMA busy_timeout = {self._busy_timeout_s * 1000:.0f}"
            ).fetchall()
        return was_there

    def _writing_connection(self) -> sqlite3.Connection:
        if self._is_read_only:
            raise JournalUnavailable(f"The journal {self.path} was opened for reading only.")
        if self._writing is None:
            _require_usable_path(self.path)
            connection = self._connect("rwc" if not self._is_prepared else "rw")
            try:
                if not self._is_prepared:
                    self._prepare(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = FAST").fetchall()
            except BaseException:
                connection.close()
                raise
            self._writing = connection
        return self._writing

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the tables in an empty file; refuse what is no journal of this workspace."""
        if not _tables(connection):
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            self._use_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            if not _tables(connection):  # else another process was faster by a moment
                for statement in rows.SCHEMA:
                    connection.execute(statement)
                row = (SCHEMA_VERSION, self.workspace_id)
                connection.execute("INSERT INTO meta VALUES (?, ?, 0, 0)", row)
            connection.execute("COMMIT")
        version = self._require_own_layout(connection)
        if version < SCHEMA_VERSION:
            migrations.upgrade_sqlite(connection, adopted=version)
        # A copied file can come in another mode; setting the mode it has costs nothing.
        self._use_log(connection)
        self._is_prepared = True

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging, waiting for others: SQLite itself does not wait here."""
        give_up_at = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if _primary_code(error) not in _LOCKS or time.monotonic() > give_up_at:
                    raise
            time.sleep(0.01)  # several coordinators starting on a new folder: some ms each

    # -- on the reader's thread ---------------------------------------------------------------

    async def _read(self, work: _Work[_T]) -> _T:
        if not self._is_prepared:
            await self._submit(self._writer, self._open_for_writing)
        return await self._submit(self._reader, partial(self._look, work))

    def _open_for_writing(self) -> None:
        try:
            self._writing_connection()
        except sqlite3.Error as error:
            raise self._start_error(error) from error

    def _look(self, work: _Work[_T]) -> _T:
        try:
            if self._is_read_only:
                return self._look_untouching(work)
            if self._reading is None:
                self._reading = self._connect("ro")
            return work(self._reading)
        except sqlite3.Error as error:
            self._drop_reading()
            if _primary_code(error) in _DAMAGE:
                raise JournalCorrupt(f"The journal {self.path} is damaged: {error}.") from error
            message = f"The journal {self.path} could not be read: {error}."
            raise JournalUnavailable(message) from error

    def _look_untouching(self, work: _Work[_T]) -> _T:
        """Read through a connection that creates no file, opened for this one look.

        A journal at rest has no log beside it. Plain reading would create one and leave it behind;
        "immutable" does not, but is right only while nobody writes. So when a writer's log has
        appeared meanwhile, look again through that.
        """
        _require_usable_path(self.path)
        if not self.path.exists() or self.path.stat().st_size == 0:
            message = f"There is no journal at {self.path}."
            raise StartError(message, "Run 'pm-agent up' first, or give its folder with --data.")
        log = self.path.with_name(f"{self.path.name}-wal")
        had_log = log.exists()
        with closing(self._connect("ro" if had_log else "ro&immutable=1")) as connection:
            self._require_own_layout(connection)
            found = work(connection)
        if not had_log and log.exists():
            return self._look_untouching(work)
        return found

    # -- on a thread of its own ---------------------------------------------------------------

    def _backup(self, path: Path) -> None:
        copying = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        _require_absent(path)
        try:
            if self._is_read_only:
                self._look_untouching(partial(_copy, copying))
            else:
                with closing(self._connect("ro")) as connection:
                    _copy(copying, connection)
            _require_absent(path)  # it may have appeared during a long copy
            copying.rename(path)
            _sync(path.parent)
        except (OSError, sqlite3.Error) as error:
            message = f"The backup {path} could not be written: {error}."
            next_step = "Check that its folder exists and has space, then try again."
            raise JournalUnavailable(message, next_step) from error
        finally:
            copying.unlink(missing_ok=True)

    # -- on any thread ------------------------------------------------------------------------

    async def _submit(self, executor: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
        if self._is_closed:
            raise JournalUnavailable(f"The journal {self.path} is closed.")
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,  # transactions begin and end where this file says so
        )

    def _drop_writing(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def _drop_reading(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _require_own_layout(self, connection: sqlite3.Connection) -> int:
        """Return the version of the tables, if it is a journal of this workspace."""
        tables = _tables(connection)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(meta)")]
        if columns[:2] != ["schema_version", "workspace_id"]:
            raise JournalCorrupt(f"{self.path} is no journal of PM Agent: it has other tables.")
        version, workspace_id = connection.execute(
            "SELECT schema_version, workspace_id FROM meta"
        ).fetchone() or (0, "")
        if version > SCHEMA_VERSION:
            message = f"The journal {self.path} has version {version}; known is {SCHEMA_VERSION}."
            raise JournalTooNew(message)
        needed = {table for table, since in rows.TABLES.items() if since <= version}
        if version < 1 or not tables >= needed:
            missing = ", ".join(sorted(needed - tables)) or "its version"
            raise JournalCorrupt(f"The journal {self.path} lacks {missing}.")
        if workspace_id != self.workspace_id:
            message = f"The journal {self.path} is of workspace {workspace_id}."
            raise StartError(message, f"Give --data another folder for {self.workspace_id}.")
        if version < SCHEMA_VERSION and self._is_read_only:
            message = f"The journal {self.path} has tables of version {version}, an older one."
            raise StartError(message, "Start 'pm-agent up' once: it brings them up to date.")
        return int(version)

    def _start_error(self, error: sqlite3.Error) -> PMError:
        code = _primary_code(error)
        if code in _LOCKS:
            return JournalLocked(f"Another program holds the lock of the journal {self.path}.")
        if code in _DAMAGE:
            return JournalCorrupt(f"The journal {self.path} is damaged: {error}.")
        message = f"The journal {self.path} could not be opened: {error}."
        return StartError(message, "Check that its folder can be written and has space.")


# -- checks and files ----------------------------------------------------------------------------


def _require_usable_path(path: Path) -> None:
    if path.is_symlink():  # SQLite follows it, and would put the log beside the target
        message = f"The journal {path} is a symbolic link to {path.readlink()}."
        raise StartError(message, "Give the real path: one journal must have one name.")
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "special file"
        message = f"The journal {path} is a {kind}, not a file."
        raise StartError(message, "Move it away, or give another folder with --data.")
    if not path.parent.is_dir():
        message = f"There is no journal at {path}: the folder {path.parent} does not exist."
        raise StartError(message, "Create it, or give another one with --data.")


def _require_sound_file(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_BYTES:
        return
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise JournalCorrupt(f"The journal {path} is damaged: {finding}.")


def _tables(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows}


def _primary_code(error: sqlite3.Error) -> int:
    # Errors made by the Python module itself carry no code; the low byte is SQLite's primary one.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _require_absent(path: Path) -> None:
    if path.exists() or path.is_symlink():
        message = f"There is a file at {path} already."
        raise AlreadyExists(message, "Choose another name for the copy, or move that file away.")


def _copy(target: Path, source: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # the log's contents go in as well
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
