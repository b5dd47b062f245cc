import asyncio
import signal
import socket
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors import cluster
from pm_agent.adapters.journal_sqlite import SCHEMA_VERSION, SQLiteJournal
from pm_agent.catalog import CATALOG
from pm_agent.cli.audit import verify_journal
from pm_agent.cli.serve import CRASHED, running_bare
from pm_agent.domain.project import CreateProject
from pm_agent.kernel.types import Decision
from pm_agent.settings import Settings
from tests.cli.conftest import PM_AGENT, Served, clean_environment, refused, run, run_json, serving
from tests.scenario import a_project


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_serves_until_it_is_told_to_stop_and_ends_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path / "new") as served:
        with served.client() as admin:
            project_id = admin.create_project("Web").project_id
            admin.create_task(project_id, title="Build it")
        assert (served.data / "admin.token").stat().st_mode & 0o077 == 0
        code, printed = served.stop(number)
    assert code == 0, printed
    assert "Traceback" not in printed
    assert f"{served.url}/mcp" in printed
    # The last one out puts the log back and leaves a snapshot of all.
    assert sorted(p.name for p in served.data.iterdir()) == ["admin.token", "main.journal.db"]
    report = asyncio.run(verify_journal(Settings(data=served.data)))
    assert report.problems == []
    assert report.snapshot_position == report.events > 2


def test_stopping_answers_agents_that_wait(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as admin:
        admin.create_project("Web")
        made = admin.register_agent("Ada")
        with served.client(made.access_token) as ada, ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(ada.wait_for_task, made.agent_id, timeout_s=50)
            while not admin.get_status().parked:
                time.sleep(0.02)
            code, _ = served.stop()
            assert code == 0
            assert waiting.result(timeout=5).outcome == "waiting"


def test_up_again_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        with served.client() as admin:
            project_id = admin.create_project("Web").project_id
        served.stop()
    with serving(tmp_path) as served:
        with served.client() as admin:
            assert admin.get_project_status(project_id).name == "Web"
            assert admin.get_status().epoch == 2
        served.stop()


def test_a_killed_server_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as admin:
        project_id = admin.create_project("Web").project_id
        made = [admin.create_task(project_id, title=f"t{n}").task_id for n in range(20)]
        served.process.kill()
        served.process.wait()
    with serving(tmp_path) as served, served.client() as admin:
        found = admin.search_tasks(project_id=project_id, limit=50).tasks
        assert sorted(task.task_id for task in found) == sorted(made)


@pytest.mark.parametrize("options", [(), ("--no-ray",)])
def test_a_port_in_use_is_told_before_anything_starts(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refused("port_in_use", "up", "--data", tmp_path / "d", "--port", port, *options)
    assert str(port) in told
    assert not (tmp_path / "d").exists()


def test_a_missing_haproxy_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "has_haproxy", lambda: False)
    result = run("up", "--data", tmp_path, "--port", cluster.free_port(), exit_code=1)
    assert result.stderr.startswith("haproxy_missing: ")
    assert "PM_AGENT_HAPROXY=0" in result.stderr


def test_settings_that_cannot_be_are_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "scorer" in run("up", "--scorer", "tarot", exit_code=2).stderr
    assert "port" in run("up", "--port", 0, exit_code=2).stderr
    monkeypatch.setenv("PM_AGENT_EXPLORATION", "much")
    assert "exploration" in run("status", "--data", tmp_path, exit_code=2).stderr


def test_a_workers_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    told = refused("start_failed", "up", "--no-ray", "--data", tmp_path, "--workers", missing)
    assert "none.toml" in told


def test_the_installed_command_refuses_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "main.journal.db").write_text("this is no database, whatever its name says\n" * 99)
    port = str(cluster.free_port())
    argv = [str(PM_AGENT), "up", "--no-ray", "--data", str(tmp_path), "--port", port]
    done = subprocess.run(
        argv, env=clean_environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("journal_corrupt: ")
    assert "Traceback" not in done.stderr


async def test_a_broken_invariant_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Decision:
        raise AssertionError("a task is leased twice")

    codes: list[int] = []
    monkeypatch.setattr("pm_agent.cli.serve.os._exit", codes.append)
    deciders: Any = CATALOG.deciders
    monkeypatch.setitem(deciders, CreateProject, broken)
    with pytest.raises(AssertionError, match="leased twice"):
        async with running_bare(Settings(data=tmp_path)) as (_, ingress):
            await ingress.coordinator.submit([a_project()], [])
    assert codes == [CRASHED]


# -- journals that cannot be used -----------------------------------------------------------------

COMMANDS = (
    ("up", "--no-ray", "--port", cluster.free_port()),
    ("verify",),
    ("why", "T-1"),
    ("replay",),
)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty journal of ours; nobody waits long for its lock."""
    defaults: Any = SQLiteJournal.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "busy_timeout_s", 0.05)
    path = tmp_path / "main.journal.db"

    async def make() -> None:
        made = SQLiteJournal(path, "main")
        await made.activate()
        await made.close()

    asyncio.run(make())
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: str(c[0]))
def test_a_damaged_journal_is_told(journal: Path, command: tuple[object, ...]) -> None:
    journal.write_bytes(b"\0" * 50 + journal.read_bytes()[50:])
    refused("journal_corrupt", *command, "--data", journal.parent)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: str(c[0]))
def test_a_journal_of_a_newer_version_is_told(journal: Path, command: tuple[object, ...]) -> None:
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE meta SET schema_version = ?", (SCHEMA_VERSION + 1,))
    told = refused("journal_too_new", *command, "--data", journal.parent)
    assert str(SCHEMA_VERSION + 1) in told


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: str(c[0]))
def test_a_locked_journal_is_told(journal: Path, command: tuple[object, ...]) -> None:
    with closing(sqlite3.connect(journal, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        result = run(*command, "--data", journal.parent, exit_code=1)
    code = result.stderr.partition(":")[0]
    assert code in ("journal_locked", "journal_unavailable")
    assert "lock" in result.stderr
    assert "→" in result.stderr


@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda c: str(c[0]))
def test_a_journal_that_is_not_there_is_told_and_not_made(
    tmp_path: Path, command: tuple[object, ...]
) -> None:
    refused("start_failed", *command, "--data", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_rotated_and_keys_issued_from_the_command_line(server: Served) -> None:
    made = run_json(
        "keys", "issue", "ada", "--scope", "pm:read", "--data", server.data, "--url", server.url
    )
    assert made["key"].startswith("pmk_")
    listed = run_json("keys", "list", "--data", server.data, "--url", server.url)
    assert made["key_id"] in [one["key_id"] for one in listed["keys"]]
    rotated = run_json("secrets", "rotate", "--signing", "--data", server.data)
    assert rotated["version"] == "2"
    assert rotated["signing_key"]
    with server.client(made["key"]) as client:
        client.list_projects()  # the running server reads what was sealed anew
        token = client.exchange_token().access_token
    with server.client(token) as client:
        client.list_projects()
    newer = run_json("keys", "rotate", made["key_id"], "--data", server.data, "--url", server.url)
    run_json("keys", "revoke", made["key_id"], "--data", server.data, "--url", server.url)
    with server.client(newer["key"]) as client:
        client.list_projects()
