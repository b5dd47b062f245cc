"""What is particular to PostgreSQL: lost answers, lost servers, wrong addresses, and its tables."""
# ruff: noqa: S608 - statements are made of names and days that stand in this file

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from pm_agent.adapters import postgres_rows
from pm_agent.adapters.history_postgres import DAYS_AHEAD, UPKEEP_LOCK
from pm_agent.adapters.journal_postgres import PostgresJournal
from pm_agent.adapters.postgres import place
from pm_agent.bootstrap import ADMIN, build_coordinator
from pm_agent.domain.envelope import Body, Event
from pm_agent.domain.errors import (
    Fenced,
    JournalCorrupt,
    JournalTooNew,
    JournalUnavailable,
    NoJournal,
    StartError,
)
from pm_agent.domain.project import CreateProject, ProjectCreated
from pm_agent.domain.time import DAY_US
from pm_agent.kernel.chain import seal
from pm_agent.ports import Batch, Head, StoredEvent, StoredRequest, StoredSnapshot
from pm_agent.settings import Settings
from tests.adapters.postgres_proxy import Fate, Proxy
from tests.conftest import PrivateServer, run_sql, with_database
from tests.scenario import (
    Scenario,
    a_project,
    an_agent,
    complete,
    progress,
    report_blocker,
    resolve_blocker,
)

SECRET = "s3cr3t-word"


def sealed(head: Head, n: int, name: str = "Web", at_us: int = 0) -> list[StoredEvent]:
    previous, events = head.hash, []
    for position in range(head.position + 1, head.position + 1 + n):
        data = ProjectCreated(project_id="P-web", name=name)
        cause = f"r-{position}"
        event = Event(position, at_us + position, head.epoch, "person:ada", cause, data)
        events.append(seal(event, previous))
        previous = events[-1].hash
    return events


def batch_of(head: Head, n: int = 1, name: str = "Web", at_us: int = 0) -> Batch:
    """Events with a text and a request."""
    events = sealed(head, n, name, at_us)
    body = Body(f"{name}-{head.position}", b"salt", "text")
    request = StoredRequest("person:ada", f"r-{head.position}", bytes(32), at_us, 1, b"{}")
    return Batch(head.epoch, events, [body], [request])


def after(batch: Batch) -> Head:
    return Head(batch.events[-1].position, batch.events[-1].hash, batch.epoch)


async def grow(journal: PostgresJournal, head: Head, n: int = 1, name: str = "Web") -> Head:
    batch = batch_of(head, n, name)
    await journal.append(batch)
    return after(batch)


async def assert_holds_only(url: str, workspace: str, head: Head) -> None:
    """All tables of the workspace end where the head says."""
    rows = run_sql(
        url,
        f"""SELECT (SELECT max(position) FROM pm_agent.events WHERE workspace_id = '{workspace}'),
        (SELECT count(*) FROM pm_agent.bodies WHERE workspace_id = '{workspace}'),
        (SELECT count(*) FROM pm_agent.requests WHERE workspace_id = '{workspace}')""",
    )
    assert tuple(rows[0]) == (head.position, head.position, head.position)


def kill_connections(url: str, workspace: str) -> None:
    run_sql(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE application_name = 'pm-agent {workspace}'",
    )


@asynccontextmanager
async def holding_row(url: str, workspace: str) -> AsyncIterator[None]:
    """Hold the workspace's row, as a transaction does that has written and not ended."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT 1 FROM pm_agent.workspaces WHERE workspace_id = $1 FOR UPDATE", workspace
            )
            yield
    finally:
        await connection.close()


@pytest.fixture
async def journal(shared_database: str, own_workspace: str) -> AsyncIterator[PostgresJournal]:
    journal = PostgresJournal(shared_database, own_workspace)
    yield journal
    await journal.close()


@pytest.fixture
async def proxy(shared_database: str) -> AsyncIterator[Proxy]:
    proxy = await Proxy(shared_database).start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def far(proxy: Proxy, own_workspace: str) -> AsyncIterator[PostgresJournal]:
    """Journal behind the proxy."""
    journal = PostgresJournal(proxy.url, own_workspace)
    yield journal
    await journal.close()


# -- lost acknowledgements -------------------------------------------------------------------------


async def test_a_lost_acknowledgement_of_a_commit_is_found_to_be_a_success(
    far: PostgresJournal, proxy: Proxy, shared_database: str, own_workspace: str
) -> None:
    head = await grow(far, await far.activate())
    proxy.once(b"LOST", "lose the answer")
    head = await grow(far, head, name="LOST")
    assert await far.head() == head
    head = await grow(far, head)
    await assert_holds_only(shared_database, own_workspace, head)


async def test_a_batch_that_never_arrived_is_found_to_have_failed(
    far: PostgresJournal, proxy: Proxy, shared_database: str, own_workspace: str
) -> None:
    head = await grow(far, await far.activate())
    proxy.once(b"LOST", "lose")
    with pytest.raises(JournalUnavailable, match="was not written"):
        await grow(far, head, name="LOST")
    await assert_holds_only(shared_database, own_workspace, head)
    await far.probe()
    head = await grow(far, head, name="LOST")
    await assert_holds_only(shared_database, own_workspace, head)


async def test_a_batch_that_arrives_after_it_was_given_up_writes_nothing(
    far: PostgresJournal, proxy: Proxy, shared_database: str, own_workspace: str
) -> None:
    head = await grow(far, await far.activate())
    proxy.once(b"LOST", "hold")
    with pytest.raises(JournalUnavailable, match="was not written"):
        await grow(far, head, name="LOST")
    answer = await proxy.release()
    assert answer.endswith(b"I"), "the late statement was not run to its end"
    assert bytes(8) in answer, "it moved the row of the workspace"
    assert await far.head() == head
    await assert_holds_only(shared_database, own_workspace, head)


@pytest.mark.parametrize("fate", ["lose", "lose the answer"])
async def test_a_lost_batch_of_a_fenced_writer_is_refused_as_fenced(
    far: PostgresJournal, proxy: Proxy, shared_database: str, own_workspace: str, fate: Fate
) -> None:
    old = await grow(far, await far.activate())
    successor = PostgresJournal(shared_database, own_workspace)
    head = await successor.activate()
    proxy.once(b"LOST", fate)
    with pytest.raises(Fenced):
        await grow(far, old, name="LOST")
    head = await grow(successor, head)  # which the zombie's reconnecting did not disturb
    await assert_holds_only(shared_database, own_workspace, head)
    await successor.close()


async def test_a_writer_killed_while_it_waits_has_written_nothing(
    journal: PostgresJournal, shared_database: str, own_workspace: str
) -> None:
    head = await grow(journal, await journal.activate())
    async with holding_row(shared_database, own_workspace):
        appending = asyncio.create_task(grow(journal, head))
        await asyncio.sleep(0.2)
        kill_connections(shared_database, own_workspace)
        await asyncio.sleep(0.2)
        assert not appending.done(), "it answered without knowing what the held row will be"
    with pytest.raises(JournalUnavailable, match="was not written"):
        await appending
    await assert_holds_only(shared_database, own_workspace, head)


async def test_an_unreachable_server_leaves_the_outcome_open(
    far: PostgresJournal, proxy: Proxy
) -> None:
    head = await grow(far, await far.activate())
    await proxy.stop()
    with pytest.raises(JournalUnavailable, match="nobody listens"):
        await grow(far, head)


async def test_a_cancelled_append_leaves_the_journal_usable(
    journal: PostgresJournal, shared_database: str, own_workspace: str
) -> None:
    head = await grow(journal, await journal.activate())
    async with holding_row(shared_database, own_workspace):
        appending = asyncio.create_task(grow(journal, head))
        await asyncio.sleep(0.1)
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
    await journal.probe()  # as a coordinator does: it is not known what became of the batch
    head = await grow(journal, await journal.head())
    await assert_holds_only(shared_database, own_workspace, head)


# -- connections that end --------------------------------------------------------------------------


async def test_connections_that_ended_between_two_batches_are_made_anew(
    journal: PostgresJournal, shared_database: str, own_workspace: str
) -> None:
    head = await grow(journal, await journal.activate())
    for _ in range(2):
        kill_connections(shared_database, own_workspace)
        await asyncio.sleep(0.1)
        assert await journal.head() == head
        head = await grow(journal, head)
    assert len(await journal.read(0)) == 3


async def test_the_journal_goes_on_after_the_server_restarted(
    private_server: PrivateServer, own_workspace: str
) -> None:
    journal = PostgresJournal(private_server.url, own_workspace)
    head = await grow(journal, await journal.activate(), 3)
    private_server.stop()
    with pytest.raises(JournalUnavailable):
        await grow(journal, head)
    with pytest.raises(JournalUnavailable):
        await journal.read(0)
    private_server.start()
    await journal.probe()
    head = await grow(journal, head)
    assert [event.position for event in await journal.read(0)] == [1, 2, 3, 4]
    await journal.close()


async def test_a_row_held_too_long_is_an_unavailable_journal_and_nothing_is_written(
    shared_database: str, own_workspace: str
) -> None:
    journal = PostgresJournal(shared_database, own_workspace, statement_timeout_s=0.2)
    head = await grow(journal, await journal.activate())
    async with holding_row(shared_database, own_workspace):
        with pytest.raises(JournalUnavailable, match="too long"):
            await grow(journal, head)
        with pytest.raises(JournalUnavailable, match="too long"):
            await journal.probe()
    head = await grow(journal, head)
    await assert_holds_only(shared_database, own_workspace, head)
    await journal.close()


async def test_a_statement_that_takes_too_long_is_stopped_by_the_server(
    shared_database: str, own_workspace: str
) -> None:
    journal = PostgresJournal(shared_database, own_workspace, statement_timeout_s=0.1)
    await journal.activate()
    with pytest.raises(JournalUnavailable, match="took too long"):
        await journal._look("SELECT $1::text, pg_sleep(5)")
    assert (await journal.head()).epoch == 1
    await journal.close()


# -- servers that refuse ---------------------------------------------------------------------------


def refuse_events(url: str, state: str) -> None:
    """Let every insertion of an event fail with this SQLSTATE, as a server in trouble would."""
    run_sql(
        url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{state}'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON pm_agent.events EXECUTE FUNCTION refuse()",
    )


async def test_a_full_disk_is_told_and_passes(fresh_database: str) -> None:
    journal = PostgresJournal(fresh_database)
    head = await grow(journal, await journal.activate())
    refuse_events(fresh_database, "53100")
    with pytest.raises(JournalUnavailable, match="disk is full") as refused:
        await grow(journal, head)
    assert "room" in refused.value.next_step
    await assert_holds_only(fresh_database, "main", head)
    run_sql(fresh_database, "DROP TRIGGER refuse ON pm_agent.events")
    await grow(journal, head)
    await journal.close()


async def test_a_read_only_server_is_told_at_the_start_and_later(fresh_database: str) -> None:
    name = urlsplit(fresh_database).path.strip("/")
    read_only = f"ALTER DATABASE {name} SET default_transaction_read_only = "
    run_sql(fresh_database, f"{read_only} on")
    journal = PostgresJournal(fresh_database)
    with pytest.raises(StartError, match="read-only"):
        await journal.activate()
    run_sql(fresh_database, "SET default_transaction_read_only = off", f"{read_only} off")
    await journal.close()
    journal = PostgresJournal(fresh_database)
    head = await grow(journal, await journal.activate())
    run_sql(fresh_database, f"{read_only} on")
    kill_connections(fresh_database, "main")
    await asyncio.sleep(0.1)
    with pytest.raises(JournalUnavailable, match="read-only"):
        await grow(journal, head)
    assert await journal.head() == head
    await journal.close()


@pytest.fixture
def guest(fresh_database: str) -> Iterator[str]:
    """URL for a user who may connect, and nothing more."""
    parts = fresh_database.partition("://")[2]
    _, _, rest = parts.rpartition("@")
    run_sql(fresh_database, f"CREATE ROLE pm_guest LOGIN PASSWORD '{SECRET}'")
    yield f"postgresql://pm_guest:{SECRET}@{rest}"
    run_sql(fresh_database, "DROP OWNED BY pm_guest CASCADE", "DROP ROLE pm_guest")


async def test_a_user_without_rights_is_told_which(guest: str, fresh_database: str) -> None:
    journal = PostgresJournal(guest)
    with pytest.raises(StartError, match="lacks a right") as refused:
        await journal.activate()
    assert "CREATE" in refused.value.next_step
    assert SECRET not in str(refused.value)
    await journal.close()


async def test_a_server_without_connections_left_is_told(guest: str, fresh_database: str) -> None:
    run_sql(fresh_database, "ALTER ROLE pm_guest CONNECTION LIMIT 1")
    other = await asyncpg.connect(guest)
    journal = PostgresJournal(guest)
    with pytest.raises(StartError, match="no connection left") as refused:
        await journal.activate()
    assert SECRET not in str(refused.value)
    await journal.close()
    await other.close()


# -- wrong addresses -------------------------------------------------------------------------------


async def assert_not_started(url: str, word: str, logged: pytest.LogCaptureFixture) -> None:
    for read_only in (False, True):
        journal = PostgresJournal(url, read_only=read_only, connect_timeout_s=2)
        with pytest.raises(StartError, match=word) as refused:
            await (journal.head() if read_only else journal.activate())
        assert refused.value.next_step
        assert SECRET not in f"{refused.value} {refused.value!r} {journal.place} {logged.text}"
        assert not isinstance(refused.value, NoJournal)
        await journal.close()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        (f"mysql://ada:{SECRET}@db/x", "cannot be understood"),
        (f"postgresql//ada:{SECRET}@db/x", "cannot be understood"),
        (f"postgresql://ada:x@db:{SECRET}/x", "cannot be understood"),
        (f"postgresql://ada:{SECRET}@db/x?sslmode", "cannot be understood"),
        ("", "cannot be understood"),
        (f"postgresql://ada:{SECRET}@127.0.0.1:5432/x?sslmode=sideways", "Configuration"),
        (f"postgresql://ada:{SECRET}@nowhere.invalid/x", "host name is unknown"),
        (f"postgresql://ada:{SECRET}@127.0.0.1:1/x", "nobody listens"),
        (f"postgresql://ada:{SECRET}@/x?host=/nonexistent", "nobody listens"),
        (f"postgresql://ada:half@{SECRET}@db/x", "cannot be understood"),
    ],
)
async def test_a_wrong_address_is_told_without_the_password(
    url: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await assert_not_started(url, word, caplog)


async def test_a_database_that_does_not_exist_is_told(
    postgres_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    await assert_not_started(
        with_database(postgres_server, "pm_nowhere"), "no such database", caplog
    )


async def test_a_wrong_password_is_told_without_it(
    private_server: PrivateServer, caplog: pytest.LogCaptureFixture
) -> None:
    private_server.require_password("careful", "another-word")
    parts = private_server.url.rpartition("@")[2]
    wrong = f"postgresql://careful:{SECRET}@{parts}"
    await assert_not_started(wrong, "refused the password", caplog)


def test_a_place_shows_no_password() -> None:
    shown = {
        place(f"postgresql://ada:{SECRET}@db.example:6432/pm?sslmode=require"): (
            "postgresql://ada@db.example:6432/pm"
        ),
        place(f"postgres://db/pm?password={SECRET}"): "postgresql://db/pm",
        place(
            f"postgresql://ada@/pm?host=/run/pg&password={SECRET}"
        ): "postgresql://ada@/run/pg/pm",
        place(f"ada:{SECRET}@db"): "the database",
        place(f"postgresql://ada:{SECRET}@x@db/pm"): "the database",
        place("postgresql://ada@a:1,[::1]:2/pm"): "postgresql://ada@a:1,[::1]:2/pm",
    }
    assert [made for made, wanted in shown.items() if made != wanted] == []


# -- workspaces and coordinators -------------------------------------------------------------------


async def test_workspaces_of_one_database_see_nothing_of_each_other(shared_database: str) -> None:
    one, other = (PostgresJournal(shared_database, name) for name in ("east", "west"))
    head, other_head = await one.activate(), await other.activate()
    assert (head.epoch, other_head.epoch) == (1, 1)
    head = await grow(one, head, 2)
    other_head = await grow(other, other_head, 1, "West")
    await one.save_snapshot(StoredSnapshot(2, 1, b"east"))
    assert await other.head() == other_head
    assert [event.hash for event in await other.read(0)] == [other_head.hash]
    assert await other.read_bodies(["Web-0"]) == {}
    assert await one.erase_body("West-0") is False
    assert await other.load_snapshot(1) is None
    assert len(await other.read_requests(0)) == 1
    await other.activate()
    await grow(one, head)  # its epoch is its own
    await one.close()
    await other.close()


async def test_of_two_coordinators_on_one_journal_only_the_newer_one_writes(
    shared_database: str, own_workspace: str, tmp_path: Any
) -> None:
    settings = Settings(data=tmp_path, workspace=own_workspace, database_url=shared_database)

    def create(name: str) -> CreateProject:
        return CreateProject(request_id=f"r-{name}", principal=ADMIN, project_id=name, name=name)

    old, new = build_coordinator(settings), build_coordinator(settings)
    await old.start()
    assert (await old.submit([create("P-a")], []))[0].error is None
    await new.start()
    with pytest.raises(Fenced):
        await old.submit([create("P-b")], [])
    assert (await new.submit([create("P-b")], []))[0].error is None
    again = (await new.submit([create("P-a")], []))[0]
    assert again.error is None, "the reply to a request of the coordinator before is remembered"
    assert await new.projects() == ["P-a", "P-b"]
    await old.stop()
    await new.stop()


async def test_two_coordinators_may_start_on_an_empty_database_at_once(
    fresh_database: str,
) -> None:
    journals = [PostgresJournal(fresh_database) for _ in range(3)]
    heads = await asyncio.gather(*(journal.activate() for journal in journals))
    assert sorted(head.epoch for head in heads) == [1, 2, 3]
    for journal in journals:
        await journal.close()


# -- what is in the tables -------------------------------------------------------------------------


async def test_reading_only_changes_nothing_and_says_when_there_is_nothing(
    fresh_database: str,
) -> None:
    reader = PostgresJournal(fresh_database, read_only=True)
    with pytest.raises(NoJournal):
        await reader.head()
    assert run_sql(fresh_database, "SELECT to_regnamespace('pm_agent')")[0][0] is None
    writer = PostgresJournal(fresh_database)
    head = await grow(writer, await writer.activate())
    assert await reader.head() == head
    with pytest.raises(StartError):
        await reader.activate()
    with pytest.raises(JournalUnavailable, match="read-only"):
        await reader.erase_body("Web-0")
    stranger = PostgresJournal(fresh_database, "another", read_only=True)
    with pytest.raises(NoJournal, match="another"):
        await stranger.head()
    for journal in (reader, writer, stranger):
        await journal.close()


async def test_a_newer_journal_is_too_new(fresh_database: str) -> None:
    journal = PostgresJournal(fresh_database)
    await journal.activate()
    await journal.close()
    run_sql(fresh_database, "UPDATE pm_agent.alembic_version SET version_num = '0099'")
    for read_only in (False, True):
        again = PostgresJournal(fresh_database, read_only=read_only)
        with pytest.raises(JournalTooNew, match="99"):
            await (again.head() if read_only else again.activate())
        await again.close()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE pm_agent.events SET payload = 'x' WHERE position = 2", "Event 2"),
        ("DELETE FROM pm_agent.events WHERE position = 2", "lacks events"),
        ("DELETE FROM pm_agent.events WHERE position = 3", "lacks events"),
        ("UPDATE pm_agent.workspaces SET hash = 'x'", "another event"),
    ],
)
async def test_a_damaged_journal_is_not_activated(
    fresh_database: str, damage: str, told: str
) -> None:
    journal = PostgresJournal(fresh_database)
    await grow(journal, await journal.activate(), 3)
    run_sql(fresh_database, damage)
    with pytest.raises(JournalCorrupt, match=told):
        await journal.activate()
    assert (await journal.head()).epoch == 1
    await journal.close()


async def test_old_requests_go_a_thousand_at_a_time(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_rows, "DELETED_AT_ONCE", 2)
    head = await journal.activate()
    for number in range(5):
        old = StoredRequest("person:ada", f"old-{number}", bytes(32), 1, 1, b"{}")
        await journal.append(Batch(head.epoch, [], [], [old]))
    batch = batch_of(head, at_us=2 * DAY_US)
    await journal.append(batch)
    await journal.save_snapshot(StoredSnapshot(1, 1, b"world"))
    assert await journal.read_requests(0) == batch.requests


# -- task_history ----------------------------------------------------------------------------------


def partitions(url: str) -> list[date]:
    rows = run_sql(
        url,
        "SELECT right(relname, 8) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'pm_agent.task_history'::regclass"
        " AND relname ~ '[0-9]{8}$' ORDER BY 1",
    )
    return [date.fromisoformat(row[0]) for row in rows]


def history(url: str) -> list[tuple[Any, ...]]:
    rows = run_sql(
        url,
        "SELECT task_id, status, assigned_to, metrics ->> 'percent'"
        " FROM pm_agent.task_history ORDER BY position",
    )
    return [tuple(row) for row in rows]


async def test_each_step_of_a_task_is_a_row_also_across_a_restart(fresh_database: str) -> None:
    scenario = Scenario()
    scenario.given(a_project(), an_agent())
    scenario.new_task()
    scenario.assigned()
    scenario.given(report_blocker("T-1", 1), progress("T-1", 1, percent=40))
    n_before = len(scenario.journal)
    scenario.given(resolve_blocker("B-1"), complete("T-1", 1))
    first, rest = scenario.journal[:n_before], scenario.journal[n_before:]
    journal = PostgresJournal(fresh_database, history_days=36_500)
    head = await journal.activate()
    await journal.append(Batch(head.epoch, first, [], []))
    again = PostgresJournal(fresh_database, history_days=36_500)
    head = await again.activate()
    await again.append(Batch(head.epoch, rest, [], []))
    assert history(fresh_database) == [
        ("T-1", "open", None, None),
        ("T-1", "assigned", "A-ada", None),
        ("T-1", "blocked", "A-ada", None),
        ("T-1", "blocked", "A-ada", "40"),
        ("T-1", "assigned", "A-ada", None),
        ("T-1", "in_review", "A-ada", None),
        ("T-1", "done", "A-ada", None),
    ]
    await journal.close()
    await again.close()


async def test_partitions_are_made_ahead_and_old_ones_dropped(fresh_database: str) -> None:
    journal = PostgresJournal(fresh_database, history_days=10)
    await journal.activate()
    today = datetime.now(UTC).date()
    ahead = [today + timedelta(days=n) for n in range(DAYS_AHEAD + 1)]
    assert partitions(fresh_database) == ahead
    assert await journal.history_layout() == "partitions"
    for day in (today - timedelta(days=10), today - timedelta(days=11)):
        run_sql(
            fresh_database,
            f"CREATE TABLE pm_agent.task_history_{day:%Y%m%d} PARTITION OF pm_agent.task_history"
            f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')",
        )
    await journal.save_snapshot(StoredSnapshot(0, 1, b"world"))
    assert partitions(fresh_database) == [today - timedelta(days=10), *ahead]
    await journal.close()


async def test_rows_of_days_without_a_partition_are_kept_moved_and_dropped(
    fresh_database: str,
) -> None:
    journal = PostgresJournal(fresh_database, history_days=10)
    await journal.activate()
    today = datetime.now(UTC).date()
    run_sql(
        fresh_database,
        f"DROP TABLE pm_agent.task_history_{today:%Y%m%d}",
        *(
            "INSERT INTO pm_agent.task_history VALUES"
            f" ('main', 'T-{n}', 'open', NULL, now() - interval '{n} days', '{{}}', {n})"
            for n in (0, 3, 12)
        ),
    )
    await journal.save_snapshot(StoredSnapshot(0, 1, b"world"))
    assert [row[0] for row in history(fresh_database)] == ["T-0", "T-3"]
    left = run_sql(fresh_database, "SELECT task_id FROM pm_agent.task_history_default")
    assert [row[0] for row in left] == ["T-3"]
    assert today in partitions(fresh_database)
    await journal.close()


async def test_upkeep_that_meets_a_lock_is_left_for_later_and_stops_no_append(
    fresh_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = PostgresJournal(fresh_database)
    head = await journal.activate()
    today = datetime.now(UTC).date()
    run_sql(fresh_database, f"DROP TABLE pm_agent.task_history_{today:%Y%m%d}")
    reader = await asyncpg.connect(fresh_database)
    async with reader.transaction():
        await reader.execute("LOCK TABLE pm_agent.task_history_default IN ACCESS SHARE MODE")
        tomorrow_us = (int(datetime.now(UTC).timestamp()) * 1_000_000) + DAY_US
        batch = batch_of(head, at_us=tomorrow_us)
        await journal.append(batch)
        assert "was not looked after" in caplog.text
    await reader.close()
    await journal.save_snapshot(StoredSnapshot(1, 1, b"world"))
    assert today in partitions(fresh_database)
    await journal.close()


async def test_an_old_coordinators_upkeep_is_skipped_while_another_does_it(
    fresh_database: str,
) -> None:
    journal = PostgresJournal(fresh_database, history_days=10)
    await journal.activate()
    day = datetime.now(UTC).date()
    run_sql(fresh_database, f"DROP TABLE pm_agent.task_history_{day:%Y%m%d}")
    other = await asyncpg.connect(fresh_database)
    await other.execute("SELECT pg_advisory_lock($1)", UPKEEP_LOCK)
    await journal.save_snapshot(StoredSnapshot(0, 1, b"world"))
    assert day not in partitions(fresh_database)
    await other.close()
    await journal.save_snapshot(StoredSnapshot(0, 1, b"world"))
    assert day in partitions(fresh_database)
    await journal.close()
