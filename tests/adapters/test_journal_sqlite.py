"""What is particular to SQLite: damage, locks, full disks, sudden death and reading untouched."""
# ruff: noqa: ASYNC240 - a test's own coroutine may touch the disk; nobody waits for its loop

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from pm_agent.adapters.journal_sqlite import SCHEMA_VERSION, SQLiteJournal
from pm_agent.adapters.sqlite_rows import INDEXED_AT_ONCE
from pm_agent.domain.envelope import Body, Event
from pm_agent.domain.errors import (
    JournalCorrupt,
    JournalLocked,
    JournalTooNew,
    JournalUnavailable,
    PMError,
    StartError,
)
from pm_agent.domain.project import ProjectCreated
from pm_agent.kernel.chain import is_intact, seal
from pm_agent.ports import GENESIS, Batch, Head, StoredEvent, StoredRequest, StoredSnapshot
from tests.sqlite_events import remove_event


def sealed(head: Head, n: int, name: str = "Web") -> list[StoredEvent]:
    previous, events = head.hash, []
    for position in range(head.position + 1, head.position + 1 + n):
        data = ProjectCreated(project_id="P-web", name=name)
        event = Event(position, position, head.epoch, "person:ada", f"r-{position}", data)
        events.append(seal(event, previous))
        previous = events[-1].hash
    return events


async def grow(journal: SQLiteJournal, head: Head, n: int, name: str = "Web") -> Head:
    events = sealed(head, n, name)
    await journal.append(Batch(head.epoch, events, [], []))
    return Head(events[-1].position, events[-1].hash, head.epoch)


async def first_break(journal: SQLiteJournal) -> int:
    """Position of the first event that breaks the chain; 0 when it is whole."""
    previous = GENESIS
    for event in await journal.read(0, 1_000_000):
        if not is_intact(event, previous):
            return event.position
        previous = event.hash
    return 0


async def subject_positions(journal: SQLiteJournal, limit: int = 20_000) -> list[int]:
    return [event.position for event in await journal.read_subject("P-web", limit)]


def change(path: Path, statement: str, *values: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold SQLite's write lock on the file, as another program could."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[SQLiteJournal]:
    journal = SQLiteJournal(path, busy_timeout_s=0.05)
    yield journal
    await journal.close()


async def assert_refused(
    path: Path, kind: type[PMError], *words: str, workspace_id: str = "main"
) -> None:
    """Neither a writer nor a reader opens the file, and both name it."""
    for read_only in (False, True):
        journal = SQLiteJournal(path, workspace_id, read_only=read_only)
        with pytest.raises(kind) as refused:
            await (journal.head() if read_only else journal.activate())
        await journal.close()
        assert type(refused.value) is kind
        assert all(word in str(refused.value) for word in (path.name, *words)), refused.value


# -- files that are no journal of ours -------------------------------------------------------------


@pytest.mark.parametrize("garbage", [b"hello", b"x" * 100_000], ids=["short", "long"])
async def test_a_file_of_something_else_is_corrupt_and_left_alone(
    path: Path, garbage: bytes
) -> None:
    path.write_bytes(garbage)
    await assert_refused(path, JournalCorrupt)
    assert path.read_bytes() == garbage


async def test_another_programs_database_is_corrupt_and_left_alone(path: Path) -> None:
    change(path, "CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    await assert_refused(path, JournalCorrupt, "other tables")
    assert path.read_bytes() == before


async def test_a_journal_without_a_table_is_corrupt(journal: SQLiteJournal, path: Path) -> None:
    await journal.activate()
    await journal.close()
    change(path, "DROP TABLE requests")
    await assert_refused(path, JournalCorrupt, "requests")


async def test_a_truncated_file_is_corrupt(journal: SQLiteJournal, path: Path) -> None:
    await grow(journal, await journal.activate(), 500)
    await journal.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    again = SQLiteJournal(path)
    with pytest.raises(JournalCorrupt, match=r"journal\.db"):
        await again.activate()
    await again.close()


async def test_a_newer_journal_is_too_new(journal: SQLiteJournal, path: Path) -> None:
    await journal.activate()
    await journal.close()
    change(path, "UPDATE meta SET schema_version = ?", SCHEMA_VERSION + 1)
    await assert_refused(path, JournalTooNew, f"version {SCHEMA_VERSION + 1}")


async def test_another_workspaces_journal_is_refused(journal: SQLiteJournal, path: Path) -> None:
    await journal.activate()
    await journal.close()
    await assert_refused(path, StartError, "workspace main", workspace_id="other")


async def test_a_folder_a_link_and_a_missing_folder_are_refused_clearly(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder.db", tmp_path / "link.db"
    folder.mkdir()
    link.symlink_to(tmp_path / "elsewhere.db")
    await assert_refused(folder, StartError, "is a folder")
    await assert_refused(link, StartError, "symbolic link", "elsewhere.db")
    await assert_refused(tmp_path / "none" / "journal.db", StartError, "none", "does not exist")
    assert not (tmp_path / "elsewhere.db").exists()


# -- damage inside ---------------------------------------------------------------------------------


async def test_a_flipped_byte_in_a_payload_breaks_the_chain(
    journal: SQLiteJournal, path: Path
) -> None:
    head = await grow(journal, await journal.activate(), 10)
    head = await grow(journal, head, 1, "Marker")
    await grow(journal, head, 10)
    await journal.close()
    content = path.read_bytes()
    assert content.count(b"Marker") == 1
    path.write_bytes(content.replace(b"Marker", b"Masker"))
    reader, writer = SQLiteJournal(path, read_only=True), SQLiteJournal(path)
    assert await first_break(reader) == 11
    with pytest.raises(JournalCorrupt, match="Event 11"):
        await writer.activate()
    assert (await reader.head()).epoch == 1, "a refused activation takes no epoch"
    await reader.close()
    await writer.close()


async def test_a_removed_event_is_found_at_activation(journal: SQLiteJournal, path: Path) -> None:
    await grow(journal, await journal.activate(), 20)
    await journal.close()
    remove_event(path, 7)
    again = SQLiteJournal(path)
    with pytest.raises(JournalCorrupt, match="lacks events"):
        await again.activate()
    await again.close()


async def test_a_sound_journal_longer_than_the_checked_tail_activates(
    journal: SQLiteJournal,
) -> None:
    head = await journal.activate()
    for _ in range(6):
        head = await grow(journal, head, 250)
    assert await journal.activate() == head._replace(epoch=2)


async def test_an_erased_text_is_nowhere_in_the_files(journal: SQLiteJournal, path: Path) -> None:
    head = await journal.activate()
    texts = [f"do not tell anybody {n}: " + n * 3000 for n in "abc"]
    bodies = [Body(sha256(text.encode()).hexdigest(), b"salt", text) for text in texts]
    await journal.append(Batch(head.epoch, [], bodies, []))
    await journal.erase_body(bodies[1].ref)
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"anybody a" in stored
    assert b"anybody b" not in stored
    assert b"b" * 100 not in stored


# -- locks and full disks --------------------------------------------------------------------------


async def test_a_lock_held_by_another_program_is_named_at_activation(
    journal: SQLiteJournal, path: Path
) -> None:
    first = SQLiteJournal(path)
    await first.activate()
    await first.close()
    with locked(path), pytest.raises(JournalLocked, match=r"journal\.db"):
        await journal.activate()
    assert (await journal.activate()).epoch == 2


async def test_activation_waits_for_a_lock_that_is_soon_released(path: Path) -> None:
    journal = SQLiteJournal(path)
    with locked(path):
        activation = asyncio.create_task(journal.activate())
        await asyncio.sleep(0.05)
        assert not activation.done()
    assert (await activation).epoch == 1
    await journal.close()


async def test_appends_fail_while_the_file_is_locked_and_work_again_after(
    journal: SQLiteJournal, path: Path
) -> None:
    head = await grow(journal, await journal.activate(), 1)
    with locked(path):
        with pytest.raises(JournalUnavailable) as failed:
            await grow(journal, head, 1)
        assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
        with pytest.raises(JournalUnavailable):
            await journal.probe()
        assert await journal.head() == head, "reads go on"
    await journal.probe()
    head = await grow(journal, head, 1)
    assert await journal.head() == head


async def test_a_full_disk_leaves_nothing_half_written(journal: SQLiteJournal) -> None:
    head = await grow(journal, await journal.activate(), 10)

    def allow(n_pages: int, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {n_pages}").fetchall()

    await journal._write(partial(allow, 1))  # SQLite takes the present size as the least
    text = Body("ref", b"salt", "text" * 5000)
    asked = StoredRequest("person:ada", "r-full", bytes(32), 1, 11, b"{}")
    batch = Batch(head.epoch, sealed(head, 300), [text], [asked])
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="full") as failed:
            await journal.append(batch)
        assert isinstance(failed.value.__cause__, sqlite3.OperationalError)
    await journal.probe()  # a probe needs no new page
    assert await journal.head() == head
    assert await journal.read_bodies(["ref"]) == {}
    assert await journal.read_requests(0) == []
    await journal._write(partial(allow, 1_000_000))
    await journal.append(batch)
    assert len(await journal.read(0)) == 310
    assert await first_break(journal) == 0


async def test_a_broken_connection_is_opened_anew(journal: SQLiteJournal) -> None:
    head = await grow(journal, await journal.activate(), 1)

    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with pytest.raises(JournalUnavailable, match="disk I/O error"):
        await journal._write(fail)
    assert journal._writing is None
    head = await grow(journal, head, 1)
    assert await journal.head() == head


async def test_a_journal_removed_meanwhile_is_not_made_anew(
    journal: SQLiteJournal, path: Path
) -> None:
    head = await journal.activate()
    await asyncio.get_running_loop().run_in_executor(journal._writer, journal._drop_writing)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(JournalUnavailable):
        await grow(journal, head, 1)
    assert not path.exists()


async def test_a_closed_journal_is_unavailable(journal: SQLiteJournal) -> None:
    await journal.activate()
    await journal.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.head()


# -- sudden death ----------------------------------------------------------------------------------

# Appends batches for ever; prints each head's position once it is acknowledged.
APPENDER = """
import asyncio, sys
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.envelope import Event
from pm_agent.domain.project import ProjectCreated
from pm_agent.kernel.chain import seal
from pm_agent.ports import Batch

async def main():
    journal = SQLiteJournal(sys.argv[1])
    position, previous, epoch = await journal.activate()
    while True:
        events = []
        for _ in range(3):
            position += 1
            data = ProjectCreated(project_id="P-web", name="x" * 700)
            events.append(seal(Event(position, position, epoch, "person:ada", "r", data), previous))
            previous = events[-1].hash
        await journal.append(Batch(epoch, events, [], []))
        print(position, flush=True)

asyncio.run(main())
"""


def killed_after(n_lines: int, path: Path) -> list[int]:
    """Run the appender, kill it without warning, and return the positions it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as appender:
        assert appender.stdout is not None
        lines = [appender.stdout.readline() for _ in range(n_lines)]
        appender.kill()  # SIGKILL
        rest, _ = appender.communicate()
    # The last line may have been cut in the middle.
    return [int(line) for line in (*lines, *rest.splitlines(keepends=True)) if line.endswith("\n")]


async def test_all_that_was_acknowledged_survives_a_kill(
    journal: SQLiteJournal, path: Path
) -> None:
    acknowledged: list[int] = []
    for n_lines in (40, 1):  # the second dies right after recovering from the first
        acknowledged += await asyncio.to_thread(killed_after, n_lines, path)
    assert len(acknowledged) >= 41
    head = await journal.activate()
    assert head.epoch == 3
    events = await journal.read(0, 1_000_000)
    assert set(acknowledged) <= {event.position for event in events}
    assert head.position % 3 == 0, "a batch is wholly there or wholly absent"
    assert await first_break(journal) == 0


# -- reading only ----------------------------------------------------------------------------------


async def test_reading_only_creates_nothing_where_there_is_no_journal(path: Path) -> None:
    reader = SQLiteJournal(path, read_only=True)
    with pytest.raises(StartError, match=r"no journal at .*pm-agent up.*--data") as refused:
        await reader.head()
    assert refused.value.code == "start_failed"
    with pytest.raises(StartError, match="reading only"):
        await reader.activate()
    with pytest.raises(JournalUnavailable, match="reading only"):
        await reader.append(Batch(1, [], [], []))
    await reader.close()
    assert names(path.parent) == []


async def test_reading_only_leaves_a_journal_at_rest_untouched(
    journal: SQLiteJournal, path: Path
) -> None:
    head = await grow(journal, await journal.activate(), 5)
    await journal.save_snapshot(StoredSnapshot(5, 1, b"world"))
    await journal.close()
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert names(path.parent) == [path.name]
    reader = SQLiteJournal(path, read_only=True)
    assert await reader.head() == head
    assert len(await reader.read(0)) == 5
    assert await reader.load_snapshot(1) == StoredSnapshot(5, 1, b"world")
    await reader.close()
    assert names(path.parent) == [path.name]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


async def test_reading_only_follows_a_running_writer(journal: SQLiteJournal, path: Path) -> None:
    head = await grow(journal, await journal.activate(), 1)
    await journal.close()
    reader, writer = SQLiteJournal(path, read_only=True), SQLiteJournal(path)
    assert await reader.head() == head
    head = await grow(writer, await writer.activate(), 3)
    assert await reader.head() == head
    await writer.close()
    assert await reader.head() == head
    await reader.backup(str(path.with_name("copy.db")))
    await reader.close()
    copy = SQLiteJournal(path.with_name("copy.db"), read_only=True)
    assert await copy.head() == head
    await copy.close()


async def test_a_backup_is_one_file_and_a_failed_one_leaves_none(
    journal: SQLiteJournal, path: Path
) -> None:
    await grow(journal, await journal.activate(), 5)
    folder = path.parent / "backups"
    with pytest.raises(JournalUnavailable, match="backups"):
        await journal.backup(str(folder / "copy.db"))
    folder.mkdir()
    await journal.backup(str(folder / "copy.db"))
    assert names(folder) == ["copy.db"]


async def test_a_subject_is_whole_across_the_rounds_of_its_index(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "journal.db")
    head = await journal.activate()
    for n in (1, INDEXED_AT_ONCE - 2, 1, 1, 2 * INDEXED_AT_ONCE + 7):  # before, at and after ends
        head = await grow(journal, head, n)
        assert await subject_positions(journal) == list(range(1, head.position + 1))
    assert await subject_positions(journal, 9) == list(range(head.position - 8, head.position + 1))
    await journal.close()
