"""A journal that was cut, flipped, swapped or thinned out: found each time, never quietly mended.

The journal is a real one, written by a coordinator: agents, claims with their decision records,
texts, a snapshot. ``verify`` must find whatever no longer is as it was written. A start must refuse
it and say where, which event and what to do; what it does not refuse must be as it was written.
"""
# ruff: noqa: ASYNC240 - a test's own coroutine may touch the disk; nobody waits for its loop

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import astuple, replace

from pm_agent.adapters import journal_sqlite
from pm_agent.adapters.sqlite_batches import ROW, Row
from pm_agent.bootstrap import build_coordinator, open_journal, open_journal_readonly
from pm_agent.cli.audit import verify_journal
from pm_agent.domain.errors import JournalCorrupt, PMError, StartError
from pm_agent.kernel import snapshot as snapshots
from pm_agent.ports import Batch, Head, StoredEvent
from pm_agent.settings import Settings
from tests.adapters.test_journal_sqlite import sealed
from tests.driver_stream import record, through_coordinator
from tests.sqlite_events import change_event, remove_event, store_events

SMALL_PAGE_BYTES = 512  # so that every byte of a commit can be tried
N_FLIPS = 150

Whole = tuple[Path, list[StoredEvent]]


async def write_a_day(folder: Path) -> list[StoredEvent]:
    """Write a journal as a coordinator does; return its events."""
    settings = Settings(data=folder)
    loop = build_coordinator(settings)
    await loop.start()
    events = await through_coordinator(record(with_time=False), loop)
    await loop.stop()
    return events


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
async def whole(template: Path, tmp_path: Path) -> Whole:
    """A copy of a sound journal at rest, and its events."""
    if not any(template.iterdir()):
        await write_a_day(template)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path, await events_in(tmp_path)


async def events_in(folder: Path) -> list[StoredEvent]:
    journal = open_journal_readonly(Settings(data=folder))
    try:
        return await journal.read(0, 1_000_000)
    finally:
        await journal.close()


async def problems_of(folder: Path) -> list[str]:
    """What ``verify`` finds, a refusal to read included."""
    try:
        return (await verify_journal(Settings(data=folder))).problems
    except PMError as error:
        return [str(error)]


async def refusal_of(folder: Path) -> PMError | None:
    """Why a coordinator does not start on the journal; None when it does."""
    before = content_of(folder)
    journal = open_journal(Settings(data=folder))
    try:
        await journal.activate()
    except PMError as error:
        assert content_of(folder) == before, "a refused start changes nothing"
        return error
    finally:
        await journal.close()
    return None


def content_of(folder: Path) -> bytes:
    return (folder / "main.journal.db").read_bytes()


@pytest.fixture
def change(whole: Whole) -> Iterator[Callable[..., None]]:
    """Change the tables behind the journal's back."""
    with closing(sqlite3.connect(whole[0] / "main.journal.db", isolation_level=None)) as connection:

        def run(statement: str, *values: object) -> None:
            assert connection.execute(statement, values).rowcount != 0

        yield run


async def assert_found(folder: Path, position: int) -> None:
    """Both find it, and the start names the file, the event and the way back."""
    told = await problems_of(folder)
    assert told, f"verify did not find the damage at {position}"
    refused = await refusal_of(folder)
    assert isinstance(refused, JournalCorrupt), position
    assert "main.journal.db" in refused.message
    assert "backup" in refused.next_step
    assert "verify" in refused.next_step


async def test_a_journal_as_it_was_written_is_sound_and_starts(whole: Whole) -> None:
    folder, events = whole
    assert len(events) > 30
    assert await problems_of(folder) == []
    assert await refusal_of(folder) is None


# -- records --------------------------------------------------------------------------------------


def rows_of(folder: Path) -> list[Row]:
    with closing(sqlite3.connect(folder / "main.journal.db")) as connection:
        rows = connection.execute(f"SELECT {ROW} FROM batches ORDER BY first_position").fetchall()  # noqa: S608 - a constant
    return [Row(*row) for row in rows]


def put(change: Callable[..., None], row: Row) -> None:
    change(
        "UPDATE batches SET hashes = ?2, subjects = CAST(?3 AS TEXT), events = CAST(?4 AS TEXT)"
        " WHERE first_position = ?1",
        *row,
    )


def flipped(content: bytes, at: int, random: Random) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]


async def test_the_last_record_cut_at_any_byte_is_found(
    whole: Whole, change: Callable[..., None]
) -> None:
    folder, events = whole
    row = rows_of(folder)[-1]
    for name in ("events", "subjects", "hashes"):
        content = getattr(row, name)
        start = len(content) - 32 if name == "hashes" else content.rfind(b"\n") + 1
        for n in range(start, len(content)):
            put(change, Row(**{**row._asdict(), name: content[:n]}))
            await assert_found(folder, events[-1].position)
    put(change, row)
    assert await problems_of(folder) == []


async def test_a_flipped_bit_in_any_record_is_found_at_its_event(
    whole: Whole, change: Callable[..., None]
) -> None:
    folder, _ = whole
    random = Random(7)
    for row in rows_of(folder):
        lines, subjects = row.events.split(b"\n"), row.subjects.split(b"\n")
        for at in range(len(lines)):
            position = row.first_position + at
            in_lines = sum(map(len, lines[:at])) + at + random.randrange(len(lines[at]))
            in_subjects = sum(map(len, subjects[:at])) + at + random.randrange(len(subjects[at]))
            for name, place in (
                ("events", in_lines),
                ("subjects", in_subjects),
                ("hashes", 32 * at + random.randrange(32)),
            ):
                damaged = flipped(getattr(row, name), place, random)
                put(change, Row(**{**row._asdict(), name: damaged}))
                await assert_found(folder, position)
                told = await problems_of(folder)
                assert told[0] == f"chain broken at position {position}", name
        put(change, row)
    assert await problems_of(folder) == []


async def test_two_records_run_together_are_found_at_the_first(
    whole: Whole, change: Callable[..., None]
) -> None:
    folder, _ = whole
    row = max(rows_of(folder), key=lambda row: len(row.hashes))
    assert len(row.hashes) > 32
    for name in ("events", "subjects"):
        joined = getattr(row, name).replace(b"\n", b" ", 1)
        put(change, Row(**{**row._asdict(), name: joined}))
        await assert_found(folder, row.first_position)
        told = await problems_of(folder)
        assert told[0] == f"chain broken at position {row.first_position}"
        put(change, row)


async def test_any_two_records_that_changed_places_are_found(whole: Whole) -> None:
    folder, events = whole
    path, random = folder / "main.journal.db", Random(8)
    for _ in range(30):
        one, two = sorted(random.sample(range(len(events)), 2))
        swapped = list(events)
        swapped[one] = replace(events[two], position=one + 1)
        swapped[two] = replace(events[one], position=two + 1)
        store_events(path, swapped)
        await assert_found(folder, one + 1)
    store_events(path, events)
    assert await problems_of(folder) == []


async def test_any_record_removed_from_the_middle_is_found(whole: Whole) -> None:
    folder, events = whole
    path = folder / "main.journal.db"
    for event in events[:-1:3]:
        remove_event(path, event.position)
        await assert_found(folder, event.position)
        store_events(path, events)
    assert await problems_of(folder) == []


async def test_a_refused_start_names_the_event(whole: Whole) -> None:
    folder, events = whole
    middle = events[len(events) // 2]
    altered = middle.payload[:-1] + b" }"
    change_event(folder / "main.journal.db", middle.position, payload=altered)
    refused = await refusal_of(folder)
    assert refused is not None
    assert f"Event {middle.position} " in refused.message
    assert await problems_of(folder) == [f"chain broken at position {middle.position}"]


async def test_sql_shows_every_event_as_it_is(whole: Whole) -> None:
    folder, events = whole
    with closing(sqlite3.connect(folder / "main.journal.db")) as connection:
        shown = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
        (n_done,) = connection.execute(
            "SELECT count(*) FROM events WHERE kind = 'CompletionAccepted'"
            " AND json_extract(payload, '$.task_id') = subject"
        ).fetchone()
    assert [(*row[:8], row[8].encode(), row[9]) for row in shown] == [astuple(e) for e in events]
    assert n_done == sum(event.kind == "CompletionAccepted" for event in events) > 0


async def test_an_epoch_that_was_set_back_is_refused(
    whole: Whole, change: Callable[..., None]
) -> None:
    folder, _ = whole
    change("UPDATE meta SET epoch = 0")
    refused = await refusal_of(folder)
    assert isinstance(refused, JournalCorrupt)
    assert "epoch" in refused.message


# -- the file -------------------------------------------------------------------------------------


async def assert_told_or_unchanged(folder: Path, events: list[StoredEvent]) -> bool:
    """Damage is refused or found, or it hit nothing that a world is made of; return which."""
    if await problems_of(folder):
        return True
    assert await events_in(folder) == events
    return False


async def test_a_bit_flipped_anywhere_in_the_file_is_found_or_changes_nothing_of_the_world(
    whole: Whole,
) -> None:
    folder, events = whole
    path, random = folder / "main.journal.db", Random(9)
    sound = path.read_bytes()
    n_told = 0
    for _ in range(N_FLIPS):
        flipped = bytearray(sound)
        flipped[random.randrange(len(sound))] ^= 1 << random.randrange(8)
        path.write_bytes(flipped)
        n_told += await assert_told_or_unchanged(folder, events)
    assert n_told > N_FLIPS // 10, "half of the file is indexes, requests and room to grow"


async def test_a_file_cut_anywhere_is_found_or_changes_nothing_of_the_world(whole: Whole) -> None:
    folder, events = whole
    path = folder / "main.journal.db"
    sound = path.read_bytes()
    for n in range(len(sound) - 1, 0, -1511):
        path.write_bytes(sound[:n])
        is_told = await assert_told_or_unchanged(folder, events)
        if n <= len(sound) - journal_sqlite.PAGE_BYTES:  # a whole page is gone
            assert isinstance(await refusal_of(folder), StartError), n
            assert is_told or n > len(sound) // 2


async def test_a_changed_reply_is_found_and_never_given(
    whole: Whole, change: Callable[..., None]
) -> None:
    folder, _ = whole
    change("UPDATE requests SET data = CAST(replace(data, 'T-1', 'T-9') AS BLOB)")
    assert any("replies" in problem for problem in await problems_of(folder))
    loop = build_coordinator(Settings(data=folder))
    with pytest.raises(JournalCorrupt, match="replies"):
        await loop.start()
    await loop.stop()


async def test_a_damaged_snapshot_is_found_and_a_start_replays_instead(
    whole: Whole, change: Callable[..., None]
) -> None:
    folder, events = whole
    journal = open_journal_readonly(Settings(data=folder))
    saved = await journal.load_snapshot(snapshots.SCHEMA_VERSION)
    await journal.close()
    assert saved is not None
    sound, _ = snapshots.load(saved)
    random = Random(10)
    for _ in range(20):
        flipped = bytearray(saved.data)
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        change("UPDATE snapshots SET data = ? WHERE position = ?", bytes(flipped), saved.position)
        assert any("snapshot" in problem for problem in await problems_of(folder))
    loop = build_coordinator(Settings(data=folder))
    await loop.start()
    assert loop.engine.world.fingerprint() == sound.fingerprint()
    await loop.stop()
    assert await problems_of(folder) == [], "the stop has saved a sound one"
    assert await events_in(folder) == events


# -- the log that is not yet in the file ----------------------------------------------------------


async def test_a_log_cut_at_any_byte_keeps_all_commits_before_the_cut_and_no_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_sqlite, "PAGE_BYTES", SMALL_PAGE_BYTES)
    (tmp_path / "live").mkdir()
    journal = open_journal(Settings(data=tmp_path / "live"))
    path = tmp_path / "live" / "main.journal.db"
    log = path.with_name("main.journal.db-wal")
    head = await journal.activate()
    ends: list[tuple[int, int]] = []  # (bytes of the log, position) after each commit
    for _ in range(3):
        events = sealed(head, 2)
        await journal.append(Batch(head.epoch, events, [], []))
        head = Head(events[-1].position, events[-1].hash, head.epoch)
        ends.append((log.stat().st_size, head.position))
    content, logged = path.read_bytes(), log.read_bytes()
    await journal.close()
    after_crash = tmp_path / "crashed.db"
    for n in range(ends[-2][0], len(logged) + 1):
        after_crash.write_bytes(content)
        after_crash.with_name("crashed.db-wal").write_bytes(logged[:n])
        with closing(sqlite3.connect(after_crash)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # closing moves the log into the file
            positions = [p for (p,) in connection.execute("SELECT position FROM events")]
        kept = max(position for size, position in ends if size <= n)
        assert positions == list(range(1, kept + 1)), n


async def test_a_coordinator_starts_on_a_torn_log_at_the_last_whole_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_sqlite, "PAGE_BYTES", SMALL_PAGE_BYTES)
    (tmp_path / "live").mkdir()
    journal = open_journal(Settings(data=tmp_path / "live"))
    path = tmp_path / "live" / "main.journal.db"
    log = path.with_name("main.journal.db-wal")
    head = await journal.activate()
    await journal.append(Batch(head.epoch, events := sealed(head, 1), [], []))
    acknowledged = Head(1, events[-1].hash, head.epoch)
    n_whole = log.stat().st_size
    await journal.append(Batch(head.epoch, sealed(acknowledged, 1), [], []))
    content, logged = path.read_bytes(), log.read_bytes()
    await journal.close()
    for n in range(n_whole, len(logged), 101):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / path.name).write_bytes(content)
        (folder / log.name).write_bytes(logged[:n])
        again = open_journal(Settings(data=folder))
        assert await again.activate() == acknowledged._replace(epoch=head.epoch + 1)
        assert await again.read(0) == events
        await again.close()
