"""A workspace moves between journals of all kinds, whole or not at all."""
# ruff: noqa: ASYNC240 - a test's own coroutine may touch the disk; nobody waits for its loop

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pm_agent.adapters import journal_jsonl
from pm_agent.adapters.journal_jsonl import (
    check,
    export_workspace,
    import_workspace,
    is_export,
)
from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.bootstrap import open_journal
from pm_agent.cli.audit import verify_journal
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import (
    AlreadyExists,
    ExportDamaged,
    InvalidInput,
    JournalTooNew,
    JournalUnavailable,
    WorkspaceNotEmpty,
)
from pm_agent.kernel.engine import Step
from pm_agent.ports import Batch, Head, Journal, StoredEvent
from pm_agent.settings import Settings
from tests.driver_stream import record, through_engine
from tests.scenario import Scenario, a_project

PIECE = 40  # events between two seals in these tests


class Recorded(Scenario):
    """A scenario that keeps its batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        super().__init__()

    def step(self, commands: list[Command]) -> Step:
        step = super().step(commands)
        self.batches.append(step.batch(self.engine.epoch))
        return step


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_jsonl, "EVENTS_AT_ONCE", PIECE)


@pytest.fixture(scope="module")
def history() -> Recorded:
    """A team's day, with two restarts of its coordinator."""
    scenario = Recorded()
    lines = record(seed=5)
    for part in (lines[:80], lines[80:100]):
        through_engine(part, scenario)
        scenario.restart()
    through_engine(lines[100:], scenario)
    assert scenario.engine.epoch == 3
    assert len(scenario.journal) > 2 * PIECE
    return scenario


async def fill(journal: Journal, history: Recorded) -> Head:
    head = await journal.activate()
    while head.epoch < 3:
        head = await journal.activate()
    for batch in history.batches:
        await journal.append(msgspec.structs.replace(batch, epoch=3))
    return await journal.head()


def silent(done: int, total: int) -> None:
    assert done <= total


@pytest.fixture
async def source(history: Recorded) -> MemoryJournal:
    journal = MemoryJournal()
    await fill(journal, history)
    return journal


@pytest.fixture
async def exported(source: MemoryJournal, tmp_path: Path) -> Path:
    path = tmp_path / "state.jsonl"
    await export_workspace(source, "main", path, silent)
    return path


async def imported(path: Path, target: Journal | None = None) -> MemoryJournal:
    journal = target or MemoryJournal()
    await import_workspace(journal, "main", path, silent)
    assert isinstance(journal, MemoryJournal)
    return journal


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


# -- there and back --------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite to postgres", "postgres to sqlite"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    url = request.getfixturevalue("fresh_database")
    file, database = Settings(data=tmp_path / "a"), Settings(data=tmp_path / "b", database_url=url)
    return (file, database) if request.param == "sqlite to postgres" else (database, file)


async def test_a_workspace_moves_between_kinds_of_journals(
    settings: tuple[Settings, Settings], history: Recorded, tmp_path: Path
) -> None:
    old, new = (open_journal(one) for one in settings)
    head = await fill(old, history)
    path = tmp_path / "state.jsonl"
    told = await export_workspace(old, "main", path, silent)
    moved = await import_workspace(new, "main", path, silent)
    assert (moved.events, moved.requests) == (head.position, len(history.stored_requests))
    assert moved.texts >= len(history.texts)  # one that events far apart name goes with each
    assert msgspec.structs.replace(moved, path="") == msgspec.structs.replace(told, path="")
    assert await new.head() == head
    assert await new.read(0, 10_000) == history.journal
    assert await new.read_requests(0) == await old.read_requests(0)
    texts = await new.read_bodies(list(history.texts))
    assert {ref: body.text for ref, body in texts.items()} == history.texts
    for journal in (old, new):
        await journal.close()
    before, after = [await verify_journal(one) for one in settings]
    assert (before.problems, after.problems) == ([], [])
    assert after.fingerprint == before.fingerprint == history.engine.world.fingerprint()
    again = open_journal(settings[1])
    assert (await again.activate()).epoch == head.epoch + 1
    await again.close()


async def test_erased_texts_stay_erased(source: MemoryJournal, tmp_path: Path) -> None:
    erased = next(iter(source.store.bodies))
    await source.erase_body(erased)
    path = tmp_path / "state.jsonl"
    await export_workspace(source, "main", path, silent)
    journal = await imported(path)
    assert await journal.read_bodies([erased]) == {}
    assert journal.store.bodies == source.store.bodies


async def test_an_empty_workspace_moves_too(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    await export_workspace(MemoryJournal(), "main", path, silent)
    assert (await imported(path)).store.events == []


async def test_events_written_during_an_export_are_left_out(
    source: MemoryJournal, history: Recorded, tmp_path: Path
) -> None:
    head = await source.head()

    class Busy(MemoryJournal):
        async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
            page = await super().read(after, limit)
            self.store.events.append(self.store.events[-1])
            return page

    path = tmp_path / "state.jsonl"
    await export_workspace(Busy(source.store), "main", path, silent)
    assert len((await imported(path)).store.events) == head.position


# -- interrupted -----------------------------------------------------------------------------------


class Breaking(MemoryJournal):
    """Fails after some calls."""

    n_left = 2

    async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
        self._count()
        return await super().read(after, limit)

    async def append(self, batch: Batch) -> None:
        self._count()
        await super().append(batch)

    def _count(self) -> None:
        self.n_left -= 1
        if self.n_left < 0:
            raise JournalUnavailable


@pytest.mark.parametrize("torn", [b"", b'{"type":"event","posi'], ids=["at a seal", "in a line"])
async def test_an_interrupted_export_goes_on(
    source: MemoryJournal, exported: Path, tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "again.jsonl"
    with pytest.raises(JournalUnavailable):
        await export_workspace(Breaking(source.store), "main", path, silent)
    part = tmp_path / "again.jsonl.part"
    assert not path.exists()
    with part.open("ab") as file:
        file.write(torn)
    done = await export_workspace(source, "main", path, silent)
    assert done.resumed_at == 2 * PIECE
    assert path.read_bytes() == exported.read_bytes()
    assert not part.exists()


async def test_an_export_interrupted_among_the_replies_writes_them_anew(
    source: MemoryJournal, exported: Path, tmp_path: Path
) -> None:
    whole = lines_of(exported)
    part = tmp_path / "again.jsonl.part"
    part.write_bytes(b"".join(whole[:-3]))
    await export_workspace(source, "main", tmp_path / "again.jsonl", silent)
    assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()


async def test_an_export_that_is_not_of_this_journal_is_left_alone(
    exported: Path, tmp_path: Path
) -> None:
    part = tmp_path / "again.jsonl.part"
    part.write_bytes(exported.read_bytes()[:-100])
    before = part.read_bytes()
    scenario = Scenario()
    scenario.given(a_project())
    other = MemoryJournal()
    head = await other.activate()
    await other.append(Batch(head.epoch, scenario.journal, [], []))
    with pytest.raises(AlreadyExists, match="another journal"):
        await export_workspace(other, "main", tmp_path / "again.jsonl", silent)
    assert part.read_bytes() == before


async def test_a_part_without_a_whole_first_line_is_begun_anew(
    source: MemoryJournal, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "again.jsonl.part").write_bytes(exported.read_bytes()[:50])
    await export_workspace(source, "main", tmp_path / "again.jsonl", silent)
    assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()


async def test_an_export_never_overwrites(source: MemoryJournal, tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    path.write_bytes(b"precious")
    with pytest.raises(AlreadyExists):
        await export_workspace(source, "main", path, silent)
    assert path.read_bytes() == b"precious"


async def test_an_interrupted_import_goes_on(source: MemoryJournal, exported: Path) -> None:
    target = Breaking()
    with pytest.raises(JournalUnavailable):
        await import_workspace(target, "main", exported, silent)
    assert (await target.head()).position == 2 * PIECE
    target.n_left = 1000
    done = await import_workspace(target, "main", exported, silent)
    assert done.resumed_at == 2 * PIECE
    assert target.store.events == source.store.events
    assert target.store.bodies == source.store.bodies
    assert target.store.requests == source.store.requests


async def test_an_import_of_what_is_there_already_takes_no_epoch(exported: Path) -> None:
    journal = await imported(exported)
    head = await journal.head()
    await imported(exported, journal)
    assert await journal.head() == head


# -- refused ---------------------------------------------------------------------------------------


async def assert_refused(path: Path, kind: type[Exception], word: str) -> None:
    journal = MemoryJournal()
    with pytest.raises(kind, match=word):
        await import_workspace(journal, "main", path, silent)
    assert journal.store == MemoryJournal().store, "something was written"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
async def test_a_file_cut_short_is_refused_and_nothing_written(
    exported: Path, share: float
) -> None:
    whole = exported.read_bytes()
    exported.write_bytes(whole[: int(len(whole) * share)])
    await assert_refused(exported, ExportDamaged, r"cut short|cannot be read|changed|damaged")


async def test_every_cut_at_a_line_is_found(exported: Path) -> None:
    whole = lines_of(exported)
    for n in range(1, len(whole)):
        exported.write_bytes(b"".join(whole[:n]))
        with pytest.raises(ExportDamaged, match="cut short"):
            check(exported)


@pytest.mark.parametrize("kind", ["workspace", "event", "text", "request", "seal", "end"])
async def test_a_flipped_bit_in_any_kind_of_line_is_found(exported: Path, kind: str) -> None:
    whole = lines_of(exported)
    marked = f'{{"type":"{kind}"'.encode()
    at = max(i for i, line in enumerate(whole) if line.startswith(marked))
    line = bytearray(whole[at])
    line[len(line) // 2] ^= 1
    exported.write_bytes(b"".join([*whole[:at], bytes(line), *whole[at + 1 :]]))
    await assert_refused(exported, ExportDamaged, str(exported))


@pytest.mark.parametrize("change", ["removed", "doubled", "swapped"])
async def test_a_removed_doubled_or_moved_line_is_found(exported: Path, change: str) -> None:
    whole = lines_of(exported)
    at = next(i for i, line in enumerate(whole) if b'"type":"event","position":9,' in line)
    edits: dict[str, Callable[[], list[bytes]]] = {
        "removed": lambda: whole[:at] + whole[at + 1 :],
        "doubled": lambda: [*whole[:at], whole[at], *whole[at:]],
        "swapped": lambda: [*whole[:at], whole[at + 1], whole[at], *whole[at + 2 :]],
    }
    exported.write_bytes(b"".join(edits[change]()))
    await assert_refused(exported, ExportDamaged, "changed")


async def test_a_workspace_with_events_of_its_own_is_refused_and_keeps_its_epoch(
    exported: Path,
) -> None:
    scenario = Scenario()
    scenario.given(a_project("P-other"))
    journal = MemoryJournal()
    head = await journal.activate()
    await journal.append(Batch(head.epoch, scenario.journal, [], []))
    with pytest.raises(WorkspaceNotEmpty, match="not empty"):
        await import_workspace(journal, "main", exported, silent)
    assert await journal.head() == head._replace(position=1, hash=scenario.journal[0].hash)


async def test_a_workspace_that_went_on_by_itself_is_refused(
    source: MemoryJournal, exported: Path
) -> None:
    journal = await imported(exported)
    journal.store.events.append(journal.store.events[-1])
    journal.store.events[-1] = msgspec.structs.replace(
        journal.store.events[-1], position=len(journal.store.events), hash=bytes(32)
    )
    with pytest.raises(WorkspaceNotEmpty):
        await import_workspace(journal, "main", exported, silent)


async def test_another_workspaces_file_is_refused_and_the_right_name_told(exported: Path) -> None:
    with pytest.raises(InvalidInput, match="PM_AGENT_WORKSPACE=main"):
        await import_workspace(MemoryJournal(), "lab", exported, silent)


async def test_a_newer_format_is_too_new(exported: Path) -> None:
    whole = exported.read_bytes()
    exported.write_bytes(whole.replace(b'"format_version":1', b'"format_version":2', 1))
    await assert_refused(exported, JournalTooNew, "format 2")


async def test_events_of_a_newer_version_are_too_new(
    source: MemoryJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.jsonl"
    await export_workspace(source, "main", path, silent)
    monkeypatch.setattr("pm_agent.domain.upcast.EVENT_TYPES", {})
    await assert_refused(path, JournalTooNew, "unknown here")


def test_other_files_are_told_from_exports(exported: Path, tmp_path: Path) -> None:
    backlog = tmp_path / "backlog.json"
    backlog.write_text('[{"title": "t"}]')
    assert is_export(exported)
    assert not is_export(backlog)
    with pytest.raises(ExportDamaged):
        check(backlog)
