"""What every journal must do. A new adapter is one more `Place` in `PLACES`."""

from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pytest

from pm_agent.adapters.journal_memory import MemoryJournal, Store
from pm_agent.adapters.journal_postgres import PostgresJournal
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.envelope import Body, Event
from pm_agent.domain.errors import AlreadyExists, Fenced, JournalUnavailable
from pm_agent.domain.project import ProjectCreated
from pm_agent.domain.time import DAY_US, SECOND_US
from pm_agent.kernel.chain import is_intact, seal, unseal
from pm_agent.ports import (
    GENESIS,
    Batch,
    Head,
    Journal,
    StoredEvent,
    StoredRequest,
    StoredSnapshot,
)

START_US = 1_700_000_000 * SECOND_US


class Place(Protocol):
    """Where a journal lives: each `open` gives another coordinator's journal on the same data."""

    def open(self) -> Journal: ...

    def open_copy(self, path: Path) -> Journal: ...


class Memory:
    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._store = Store()

    def open(self) -> Journal:
        return MemoryJournal(self._store)

    def open_copy(self, path: Path) -> Journal:
        return MemoryJournal(Store.load(str(path)))


class SQLite:
    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._path: Path = request.getfixturevalue("tmp_path") / "journal.db"

    def open(self) -> Journal:
        return SQLiteJournal(self._path)

    def open_copy(self, path: Path) -> Journal:
        return SQLiteJournal(path)


class Postgres:
    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._url: str = request.getfixturevalue("shared_database")
        self._workspace: str = request.getfixturevalue("own_workspace")

    def open(self) -> Journal:
        return PostgresJournal(self._url, self._workspace)

    def open_copy(self, path: Path) -> Journal:
        return SQLiteJournal(path, self._workspace)  # what a backup makes


PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "memory": Memory,
    "sqlite": SQLite,
    "postgres": Postgres,
}


class Opener:
    """Opens journals at one place, and closes them when the test is over."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opened: list[Journal] = []

    def __call__(self, copy: Path | None = None) -> Journal:
        journal = self._place.open() if copy is None else self._place.open_copy(copy)
        self._opened.append(journal)
        return journal

    async def close(self) -> None:
        for journal in self._opened:
            await journal.close()


@pytest.fixture(params=PLACES)
async def opener(request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    opener = Opener(PLACES[request.param](request))
    yield opener
    await opener.close()


def sealed(
    head: Head, n: int, *, subjects: tuple[str, ...] = ("P-web",), start_us: int = START_US
) -> list[StoredEvent]:
    """Chain ``n`` events to the head, a second apart, about each subject in turn."""
    previous = head.hash
    events = []
    for i in range(n):
        position = head.position + 1 + i
        data = ProjectCreated(project_id=subjects[i % len(subjects)], name=f"Web {position} Ü")
        at_us = start_us + position * SECOND_US
        stored = seal(
            Event(position, at_us, head.epoch, "person:ada", f"r-{position}", data), previous
        )
        previous = stored.hash
        events.append(stored)
    return events


def body(text: str) -> Body:
    return Body(sha256(b"salt" + text.encode()).hexdigest(), b"salt", text)


def request(request_id: str, *, at_us: int = START_US, reply: bytes = b"{}") -> StoredRequest:
    return StoredRequest("person:ada", request_id, bytes(32), at_us, 1, reply)


def after(head: Head, events: list[StoredEvent]) -> Head:
    return Head(events[-1].position, events[-1].hash, head.epoch) if events else head


async def grow(journal: Journal, head: Head, n: int) -> Head:
    """Append ``n`` events as one batch, and return the new head."""
    events = sealed(head, n)
    await journal.append(Batch(head.epoch, events, [], []))
    return after(head, events)


def assert_chained(events: list[StoredEvent], previous: bytes = GENESIS) -> None:
    for event in events:
        assert is_intact(event, previous), event.position
        previous = event.hash


# -- epochs ----------------------------------------------------------------------------------------


async def test_a_new_journal_is_empty(opener: Opener) -> None:
    journal = opener()
    assert await journal.head() == Head(0, GENESIS, 0)
    assert await journal.read(0) == []
    assert await journal.read_at(1) is None
    assert await journal.read_requests(0) == []
    assert await journal.load_snapshot(1) is None


async def test_each_activation_takes_a_higher_epoch(opener: Opener) -> None:
    journal, other = opener(), opener()
    epochs = [(await one.activate()).epoch for one in (journal, other, journal)]
    assert epochs == [1, 2, 3]
    assert (await other.head()).epoch == 3


async def test_activation_returns_where_the_journal_ends(opener: Opener) -> None:
    journal = opener()
    head = await grow(journal, await journal.activate(), 3)
    assert await opener().activate() == head._replace(epoch=2)


async def test_of_two_coordinators_only_the_newer_can_write(opener: Opener) -> None:
    zombie, successor = opener(), opener()
    old = await zombie.activate()
    new = await successor.activate()
    text, asked = body("from a zombie"), request("r-zombie")
    with pytest.raises(Fenced):
        await zombie.append(Batch(old.epoch, sealed(old, 2), [text], [asked]))
    with pytest.raises(Fenced):
        await zombie.probe()
    with pytest.raises(Fenced):
        await zombie.save_snapshot(StoredSnapshot(0, 1, b"a zombie's world"))
    await grow(successor, new, 1)
    await successor.probe()


async def test_a_fenced_append_writes_nothing(opener: Opener) -> None:
    zombie, successor = opener(), opener()
    old = await zombie.activate()
    new = await successor.activate()
    text, asked = body("from a zombie"), request("r-zombie")
    with pytest.raises(Fenced):
        await zombie.append(Batch(old.epoch, sealed(old, 2), [text], [asked]))
    assert await successor.head() == new
    assert await successor.read(0) == []
    assert await successor.read_bodies([text.ref]) == {}
    assert await successor.read_requests(0) == []


# -- appending and reading -------------------------------------------------------------------------


async def test_what_was_appended_is_read_back_identically(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    events = sealed(head, 5)
    await journal.append(Batch(head.epoch, events, [], []))
    assert await journal.read(0) == events
    assert await journal.read(3) == events[3:]
    assert await journal.read(1, limit=2) == events[1:3]
    assert await journal.read_at(4) == events[3]
    assert await journal.read_at(0) is None
    assert await journal.read_at(6) is None
    assert await journal.head() == after(head, events)
    assert unseal(events[0]).data == ProjectCreated(project_id="P-web", name="Web 1 Ü")


async def test_batches_form_one_chain(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    for n in (1, 7, 2):
        head = await grow(journal, head, n)
    events = await journal.read(0)
    assert [event.position for event in events] == list(range(1, 11))
    assert_chained(events)


async def test_a_batch_may_have_no_events(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    text = body("alone")
    await journal.append(Batch(head.epoch, [], [text], []))
    assert await journal.head() == head
    assert await journal.read_bodies([text.ref]) == {text.ref: text}


async def test_a_batch_with_a_position_twice_writes_nothing_at_all(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    first, second = sealed(head, 2)
    text, asked = body("half"), request("r-half")
    with pytest.raises(JournalUnavailable):
        await journal.append(Batch(head.epoch, [first, second, second], [text], [asked]))
    assert await journal.read(0) == []
    assert await journal.read_bodies([text.ref]) == {}
    assert await journal.read_requests(0) == []
    await journal.append(Batch(head.epoch, [first, second], [text], [asked]))
    assert await journal.read(0) == [first, second]


async def test_a_batch_written_already_is_refused(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    batch = Batch(head.epoch, sealed(head, 3), [], [])
    await journal.append(batch)
    with pytest.raises(JournalUnavailable):
        await journal.append(batch)
    assert await journal.read(0) == batch.events


async def test_a_batch_that_skips_a_position_is_refused(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    with pytest.raises(JournalUnavailable):
        await journal.append(Batch(head.epoch, sealed(head, 2)[1:], [], []))
    assert await journal.read(0) == []


async def test_a_batch_chained_to_another_past_is_refused(opener: Opener) -> None:
    journal = opener()
    head = await grow(journal, await journal.activate(), 2)
    with pytest.raises(JournalUnavailable):
        await journal.append(Batch(head.epoch, sealed(head._replace(hash=GENESIS), 1), [], []))
    assert await journal.head() == head


async def test_all_that_was_acknowledged_is_there_after_a_restart(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    events, text, asked = sealed(head, 4), body("a text"), request("r-1")
    await journal.append(Batch(head.epoch, events, [text], [asked]))
    await journal.save_snapshot(StoredSnapshot(4, 1, b"world"))
    await journal.close()
    again = opener()
    assert await again.head() == after(head, events)
    assert await again.read(0) == events
    assert await again.read_bodies([text.ref]) == {text.ref: text}
    assert await again.read_requests(0) == [asked]
    assert await again.load_snapshot(1) == StoredSnapshot(4, 1, b"world")


async def test_five_thousand_events_are_read_page_by_page(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    for _ in range(20):
        head = await grow(journal, head, 250)
    events: list[StoredEvent] = []
    while page := await journal.read(len(events)):
        assert len(page) == 1000
        events += page
    assert [event.position for event in events] == list(range(1, 5001))
    assert_chained(events)


async def test_a_subject_is_read_newest_first_but_told_in_order(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    events = sealed(head, 9, subjects=("P-web", "P-api", "P-docs"))
    await journal.append(Batch(head.epoch, events, [], []))

    async def positions(subject: str, limit: int = 1000) -> list[int]:
        return [event.position for event in await journal.read_subject(subject, limit)]

    assert await positions("P-api") == [2, 5, 8]
    assert await positions("P-api", 2) == [5, 8]
    assert await positions("P-none") == []
    assert (await journal.read_subject("P-web", 1)) == [events[6]]


# -- bodies ----------------------------------------------------------------------------------------


async def test_an_erased_body_is_gone_and_the_chain_still_holds(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    events, kept, secret = sealed(head, 2), body("kept"), body("secret")
    await journal.append(Batch(head.epoch, events, [kept, secret], []))
    assert await journal.read_bodies([kept.ref, secret.ref, "unknown"]) == {
        kept.ref: kept,
        secret.ref: secret,
    }
    assert await journal.erase_body(secret.ref) is True
    assert await journal.erase_body(secret.ref) is False
    assert await journal.erase_body("unknown") is False
    assert await journal.read_bodies([kept.ref, secret.ref]) == {kept.ref: kept}
    assert await journal.read(0) == events
    assert_chained(events)


async def test_a_text_is_kept_whatever_it_holds(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    texts = [body(text) for text in ("a\x00b", "Ü 🎉\r\n\t", "\\x41 '; --", "x" * 100_000)]
    await journal.append(Batch(head.epoch, [], texts, []))
    assert await journal.read_bodies([text.ref for text in texts]) == {t.ref: t for t in texts}


async def test_a_text_written_again_after_its_erasure_is_read_again(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    text = body("again")
    await journal.append(Batch(head.epoch, [], [text], []))
    await journal.erase_body(text.ref)
    await journal.append(Batch(head.epoch, [], [text], []))
    assert await journal.read_bodies([text.ref]) == {text.ref: text}


# -- requests --------------------------------------------------------------------------------------


async def test_requests_are_read_from_a_time_on_oldest_first(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    asked = [request(f"r-{i}", at_us=START_US + i) for i in range(5)]
    await journal.append(Batch(head.epoch, [], [], asked[:2]))
    await journal.append(Batch(head.epoch, [], [], asked[2:]))
    assert await journal.read_requests(0) == asked
    assert await journal.read_requests(START_US + 3) == asked[3:]


async def test_a_request_id_used_again_gives_the_newer_reply(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    between = request("r-2", at_us=START_US + 1)
    newer = request("r-1", at_us=START_US + DAY_US + 2, reply=b'"new"')
    await journal.append(Batch(head.epoch, [], [], [request("r-1"), between]))
    await journal.append(Batch(head.epoch, [], [], [newer]))
    assert await journal.read_requests(0) == [between, newer]


async def test_requests_older_than_a_day_of_event_time_go_with_a_snapshot(opener: Opener) -> None:
    journal = opener()
    head = await journal.activate()
    events = sealed(head, 1)
    now_us = events[0].at_us
    for i in range(60):  # the requests of one step share an instant
        old = request(f"r-old-{i}", at_us=now_us - DAY_US - 1)
        await journal.append(Batch(head.epoch, [], [], [old]))
    kept = [request("r-kept", at_us=now_us - DAY_US), request("r-new", at_us=now_us)]
    await journal.append(Batch(head.epoch, events, [], kept))
    await journal.save_snapshot(StoredSnapshot(1, 1, b"world"))
    assert await journal.read_requests(0) == kept


# -- snapshots, probe, backup ----------------------------------------------------------------------


async def test_the_newest_snapshot_of_a_schema_version_is_loaded(opener: Opener) -> None:
    journal = opener()
    await grow(journal, await journal.activate(), 9)
    for position, version in ((3, 1), (5, 1), (4, 1), (9, 2)):
        await journal.save_snapshot(StoredSnapshot(position, version, f"at {position}".encode()))
    assert await journal.load_snapshot(1) == StoredSnapshot(5, 1, b"at 5")
    assert await journal.load_snapshot(2) == StoredSnapshot(9, 2, b"at 9")
    assert await journal.load_snapshot(3) is None


async def test_a_snapshot_saved_again_replaces_the_first(opener: Opener) -> None:
    journal = opener()
    await grow(journal, await journal.activate(), 2)
    await journal.save_snapshot(StoredSnapshot(2, 1, b"first"))
    await journal.save_snapshot(StoredSnapshot(2, 1, b"second"))
    assert await journal.load_snapshot(1) == StoredSnapshot(2, 1, b"second")


async def test_a_probe_leaves_no_event(opener: Opener) -> None:
    journal = opener()
    head = await grow(journal, await journal.activate(), 1)
    await journal.probe()
    await journal.probe()
    assert await journal.head() == head
    await grow(journal, head, 1)


async def test_a_backup_opens_and_equals_the_journal(opener: Opener, tmp_path: Path) -> None:
    journal = opener()
    head = await journal.activate()
    events, text, asked = sealed(head, 300), body("a text"), request("r-1")
    await journal.append(Batch(head.epoch, events, [text], [asked]))
    await journal.save_snapshot(StoredSnapshot(300, 1, b"world"))
    path = tmp_path / "copy"
    await journal.backup(str(path))
    await grow(journal, after(head, events), 1)
    copy = opener(path)
    assert await copy.head() == after(head, events)
    assert await copy.read(0) == events
    assert await copy.read_bodies([text.ref]) == {text.ref: text}
    assert await copy.read_requests(0) == [asked]
    assert await copy.load_snapshot(1) == StoredSnapshot(300, 1, b"world")
    assert (await copy.activate()).epoch == 2


async def test_a_backup_never_overwrites(opener: Opener, tmp_path: Path) -> None:
    journal = opener()
    await journal.activate()
    path = tmp_path / "copy"
    path.write_bytes(b"precious")
    with pytest.raises(AlreadyExists):
        await journal.backup(str(path))
    assert path.read_bytes() == b"precious"


async def test_closing_twice_does_nothing_more(opener: Opener) -> None:
    journal = opener()
    await journal.activate()
    await journal.close()
    await journal.close()
