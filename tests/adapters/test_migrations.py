"""The tables through the versions: what revisions make, and what they cost when there are none."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from pm_agent.adapters import journal_sqlite, migrations, sqlite_rows
from pm_agent.adapters.journal_postgres import PostgresJournal
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.adapters.migrations import NEWEST, Dialect, revision_id, upgrade_sqlite
from pm_agent.adapters.postgres import connect
from pm_agent.adapters.sqlite_rows import INDEXED_AT_ONCE
from pm_agent.domain.envelope import Body, Event
from pm_agent.domain.errors import JournalCorrupt, StartError
from pm_agent.domain.hold import HoldPlaced
from pm_agent.kernel.chain import seal
from pm_agent.ports import Batch, StoredEvent, StoredRequest
from tests.conftest import run_sql

HELD = HoldPlaced(scope="workspace", target_id="main", kind="paused")

WITHOUT = """
import asyncio, sys
from pathlib import Path
from pm_agent.bootstrap import open_journal
from pm_agent.settings import Settings

async def main() -> None:
    journal = open_journal(Settings(data=Path(sys.argv[1]), database_url=sys.argv[2] or None))
    await journal.activate()
    await journal.close()

asyncio.run(main())
print(sorted({"alembic", "asyncpg", "sqlalchemy"} & set(sys.modules)))
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as connection:
        yield connection


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    """Statements that made the tables and indexes, as far as they matter."""
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND tbl_name != 'alembic_version'"
    )
    return {name: re.sub(r"\s+", " ", statement.replace('"', "")) for name, statement in rows}


def columns(url: str) -> list[tuple[str, ...]]:
    rows = run_sql(
        url,
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'pm_agent' ORDER BY 1, 2",
    )
    return [tuple(row) for row in rows if not row[0].startswith("task_history_2")]


@pytest.mark.parametrize("dialect", NEWEST)
def test_the_newest_revision_is_the_version_that_journals_compare(dialect: Dialect) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.FOLDER))
    config.set_main_option("version_locations", str(migrations.FOLDER / dialect))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [revision_id(NEWEST[dialect])]


def test_the_sqlite_revisions_make_what_a_new_file_has(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    assert NEWEST["sqlite"] == journal_sqlite.SCHEMA_VERSION
    upgrade_sqlite(connection)
    with closing(sqlite3.connect(tmp_path / "new.db")) as new:
        for statement in sqlite_rows.SCHEMA:
            new.execute(statement)
        assert tables(connection) == tables(new)


def test_a_new_sqlite_file_is_adopted_as_it_is(connection: sqlite3.Connection) -> None:
    for statement in sqlite_rows.SCHEMA:
        connection.execute(statement)
    newest = NEWEST["sqlite"]
    connection.execute("INSERT INTO meta VALUES (?, 'main', 7, 0)", (newest,))
    before = tables(connection)
    for _ in range(2):
        upgrade_sqlite(connection, adopted=newest)
        assert tables(connection) == before
        assert connection.execute("SELECT * FROM meta").fetchall() == [(newest, "main", 7, 0)]
    version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert version == [(revision_id(newest),)]


def sqlite_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations.FOLDER))
    config.set_main_option("version_locations", str(migrations.FOLDER / "sqlite"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, dialect="sqlite")
    return config


def to_version(path: Path, version: int) -> None:
    """Take a journal back to an older version of its tables."""
    with create_engine(f"sqlite:///{path}").connect() as connection:
        config = sqlite_config(connection)
        command.stamp(config, revision_id(NEWEST["sqlite"]))
        command.downgrade(config, revision_id(version))
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.commit()


@pytest.mark.parametrize("version", range(1, NEWEST["sqlite"]))
async def test_a_sqlite_journal_of_every_older_version_is_brought_up_to_date(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "journal.db"
    journal = SQLiteJournal(path)
    head = await journal.activate()
    body = Body("1.aa", b"salt", "a text")
    asked = [StoredRequest("person:eve", f"r-{i}", b"d" * 32, 5 + i, 1, b"{}") for i in range(3)]
    event = seal(Event(1, 7, head.epoch, "person:eve", "r-0", HELD), head.hash)
    await journal.append(Batch(head.epoch, [event], [body], asked))
    await journal.close()
    to_version(path, version)

    with pytest.raises(StartError, match="older"):
        await SQLiteJournal(path, read_only=True).head()
    again = SQLiteJournal(path)
    assert (await again.activate()).position == 1
    assert await again.read(0) == [event]
    assert await again.read_bodies([body.ref]) == {body.ref: body}
    assert await again.read_requests(0) == asked
    await again.close()
    reader = SQLiteJournal(path, read_only=True)
    assert (await reader.head()).epoch == 2
    await reader.close()


async def test_a_sqlite_journal_of_several_rounds_keeps_its_subjects(tmp_path: Path) -> None:
    path, n = tmp_path / "journal.db", INDEXED_AT_ONCE + 3
    journal = SQLiteJournal(path)
    previous = await journal.activate()
    events: list[StoredEvent] = []
    for position in range(1, n + 1):
        before = events[-1].hash if events else previous.hash
        events.append(seal(Event(position, 7, previous.epoch, "person:eve", "r", HELD), before))
    await journal.append(Batch(previous.epoch, events, [], []))
    await journal.close()
    to_version(path, 3)

    again = SQLiteJournal(path)
    assert await again.read_subject("main", n) == events
    await again.close()


async def test_a_damaged_sqlite_journal_is_not_packed_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SQLiteJournal(path)
    head = await journal.activate()
    event = seal(Event(1, 7, head.epoch, "person:eve", "r-0", HELD), head.hash)
    await journal.append(Batch(head.epoch, [event], [], []))
    await journal.close()
    to_version(path, 4)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("UPDATE events SET payload = CAST(payload || ' ' AS BLOB)")
        before = old.execute("SELECT * FROM events").fetchall()
    with pytest.raises(JournalCorrupt, match="Event 1 "):
        await SQLiteJournal(path).activate()
    with closing(sqlite3.connect(path)) as old, old:
        assert old.execute("SELECT * FROM events").fetchall() == before
        assert old.execute("SELECT schema_version FROM meta").fetchall() == [(4,)]
        old.execute("UPDATE events SET payload = CAST(trim(payload) AS BLOB)")
    again = SQLiteJournal(path)
    await again.activate()
    assert await again.read(0) == [event]
    await again.close()


def test_a_failed_sqlite_revision_leaves_nothing(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE bodies (ref TEXT)")
    before = tables(connection)
    with pytest.raises(Exception, match="already exists"):
        upgrade_sqlite(connection)
    assert tables(connection) == before


async def test_the_postgres_revisions_go_up_down_and_up(fresh_database: str) -> None:
    journal = PostgresJournal(fresh_database)
    await journal.activate()
    await journal.close()
    made = columns(fresh_database)
    assert {"workspaces", "events", "bodies", "requests", "snapshots", "task_history"} <= {
        column[0] for column in made
    }

    def down(sync: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations.FOLDER))
        config.set_main_option("version_locations", str(migrations.FOLDER / "postgres"))
        config.set_main_option("path_separator", "os")
        config.attributes.update(connection=sync, dialect="postgres")
        command.downgrade(config, "base")

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=partial(connect, fresh_database), poolclass=NullPool
    )
    async with engine.connect() as wrapped:
        await wrapped.run_sync(down)
    await engine.dispose()
    assert {column[0] for column in columns(fresh_database)} == {"alembic_version"}
    again = PostgresJournal(fresh_database)
    assert (await again.activate()).epoch == 1
    await again.close()
    assert columns(fresh_database) == made


async def test_a_migration_gives_way_to_who_works_with_the_tables(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_S", 0.1)
    journal = PostgresJournal(fresh_database)
    await journal.activate()
    await journal.close()
    other = await asyncpg.connect(fresh_database)
    async with other.transaction():
        await other.execute("LOCK TABLE pm_agent.alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await migrations.upgrade_postgres(partial(connect, fresh_database))
    await other.close()


def started(folder: Path, url: str = "") -> str:
    argv = [sys.executable, "-c", WITHOUT, str(folder), url]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_journal_in_a_file_loads_no_database_driver_and_no_migrations(tmp_path: Path) -> None:
    started(tmp_path)
    assert started(tmp_path) == "[]"


def test_an_up_to_date_database_loads_no_migrations(tmp_path: Path, fresh_database: str) -> None:
    assert started(tmp_path, fresh_database) == "['alembic', 'asyncpg', 'sqlalchemy']"
    assert started(tmp_path, fresh_database) == "['asyncpg']"
