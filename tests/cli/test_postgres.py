"""The commands on a journal in PostgreSQL, and a workspace on its way from there to a file."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pm_agent.adapters.journal_jsonl import export_workspace
from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.ports import Batch
from tests.cli.conftest import (
    PM_AGENT,
    Served,
    clean_environment,
    free_port,
    refused,
    run,
    run_json,
    serving,
)
from tests.conftest import run_sql
from tests.scenario import Scenario, a_project

SECRET = "pg-s3cr3t-word"
SCRIPTS = Path(__file__).parents[2] / "scripts" / "migration"


def with_password(url: str) -> str:
    """Put a password into an address whose server asks for none."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name, _, known = user.partition(":")
    return parts._replace(netloc=f"{name}:{known or SECRET}@{host}").geturl()


@pytest.fixture(scope="module")
def environment(shared_database: str) -> dict[str, str]:
    """What leads to a workspace of these tests."""
    url = with_password(shared_database)
    return {"PM_AGENT_DATABASE_URL": url, "PM_AGENT_WORKSPACE": "commands"}


@pytest.fixture(scope="module")
def on_postgres(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Run a server with its journal in PostgreSQL, with a task done."""
    with serving(tmp_path_factory.mktemp("served"), **environment) as served:
        with served.client() as admin:
            project_id = admin.create_project("Web").project_id
            admin.create_task(project_id, title="Log in", description="With a form.")
            made = admin.register_agent("Ada", project_ids=[project_id])
            with served.client(made.access_token) as agent:
                claimed = agent.request_next_task(made.agent_id)
                agent.complete_task("T-1", lease_token=claimed.lease_token, summary="done")
        yield served


@pytest.fixture(autouse=True)
def _there(
    on_postgres: Served,
    environment: dict[str, str],
    _no_settings_of_ours: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PM_AGENT_PORT", str(on_postgres.port))


def in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn to SQLite; an empty address of ours counts, whatever the platform's says."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@nowhere.invalid/x")
    monkeypatch.setenv("PM_AGENT_DATABASE_URL", "")


def test_verify_replay_and_why_read_the_database(on_postgres: Served) -> None:
    found = run_json("verify", "--data", on_postgres.data)
    assert (found["problems"], found["assignments"]) == ([], 1)
    assert found["journal"].startswith("postgresql://")
    world = run_json("replay", "--data", on_postgres.data)
    assert world["fingerprint"] == found["fingerprint"]
    assert run_json("why", "T-1", "--data", on_postgres.data)["recomputed"] is True


def test_doctor_shows_the_database_and_how_history_is_kept(on_postgres: Served) -> None:
    found = run_json("doctor", "--data", on_postgres.data)
    (journal,) = [check for check in found["checks"] if check["name"] == "journal"]
    assert journal["verdict"] == "ok"
    assert "postgresql://" in journal["found"]
    assert "task_history as partitions" in journal["found"]


def test_doctor_says_that_an_empty_database_has_no_journal_yet(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PM_AGENT_DATABASE_URL", fresh_database)
    found = run_json("doctor", "--data", tmp_path)
    assert found["ok"] is True
    refused("no_journal", "verify", "--data", tmp_path)


def test_no_command_shows_the_password(on_postgres: Served, tmp_path: Path) -> None:
    shown = ""
    for argv in (["doctor"], ["verify"], ["replay"], ["export", tmp_path / "x.jsonl"]):
        for more in ([], ["--json"]):
            result = run(*argv, "--data", on_postgres.data, *more, exit_code=0)
            shown += result.output + result.stderr
            (tmp_path / "x.jsonl").unlink(missing_ok=True)
    assert "postgresql://" in shown
    assert SECRET not in shown


def test_the_server_never_prints_the_password(environment: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, **{**environment, "PM_AGENT_WORKSPACE": "printing"}) as served:
        _, printed = served.stop()
    assert "postgresql://" in printed
    assert SECRET not in printed


def test_a_wrong_address_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    url = f"postgresql://ada:{SECRET}@127.0.0.1:1/x"
    done = subprocess.run(
        [PM_AGENT, "up", "--no-ray", "--data", tmp_path, "--port", str(free_port())],
        env=clean_environment(PM_AGENT_DATABASE_URL=url, COLUMNS="200"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("start_failed: "), done.stderr
    assert "nobody listens there" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_workspace_moves_to_a_file_and_is_the_same_there(
    on_postgres: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, new = tmp_path / "state.jsonl", tmp_path / "new"
    exported = run_json("export", state, "--data", on_postgres.data)
    before = run_json("verify", "--data", on_postgres.data)
    in_a_file(monkeypatch)
    imported = run_json("import", state, "--data", new)
    assert imported["events"] == exported["events"] == before["events"]
    after = run_json("verify", "--data", new)
    assert after["problems"] == []
    assert after["fingerprint"] == before["fingerprint"]
    assert "went on after" in run("import", state, "--data", new).stdout


def test_a_backup_of_a_database_is_a_sqlite_journal(
    on_postgres: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("backup", tmp_path / "commands.journal.db", "--data", on_postgres.data)
    before = run_json("verify", "--data", on_postgres.data)
    in_a_file(monkeypatch)
    assert run_json("verify", "--data", tmp_path)["fingerprint"] == before["fingerprint"]


def test_an_import_into_a_workspace_in_use_is_refused_and_disturbs_nobody(
    on_postgres: Served, tmp_path: Path
) -> None:
    scenario = Scenario()
    scenario.given(a_project("P-elsewhere"))
    state = tmp_path / "state.jsonl"

    async def export_another() -> None:
        journal = MemoryJournal()
        head = await journal.activate()
        await journal.append(Batch(head.epoch, scenario.journal, [], []))
        await export_workspace(journal, "commands", state, print)

    asyncio.run(export_another())
    refused("workspace_not_empty", "import", state, "--data", tmp_path)
    with on_postgres.client() as admin:
        assert admin.create_project("Still there").project_id == "P-still-there"


def test_a_backlog_needs_its_project_and_a_workspace_none(
    on_postgres: Served, tmp_path: Path
) -> None:
    backlog, state = tmp_path / "backlog.json", tmp_path / "state.jsonl"
    backlog.write_text('[{"title": "t"}]')
    assert "project" in run("import", backlog, exit_code=2).stderr
    run("export", state, "--data", on_postgres.data)
    assert "project" in run("import", state, "--project", "x", exit_code=2).stderr


def test_the_migration_scripts_do_the_same(
    on_postgres: Served, environment: dict[str, str], tmp_path: Path, fresh_database: str
) -> None:
    state = tmp_path / "state.jsonl"

    def script(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPTS / name), str(state), "--json", "--data", str(tmp_path)],
            env=clean_environment(PM_AGENT_WORKSPACE="commands", **more),
            capture_output=True,
            text=True,
            check=False,
        )

    url = environment["PM_AGENT_DATABASE_URL"]
    assert script("export_state.py", PM_AGENT_DATABASE_URL=url).returncode == 0
    without = script("import_to_prod.py")
    assert without.returncode == 2
    assert "PM_AGENT_DATABASE_URL" in without.stderr
    done = script("import_to_prod.py", PM_AGENT_DATABASE_URL=fresh_database)
    assert json.loads(done.stdout)["events"] > 0
    rows = run_sql(fresh_database, "SELECT count(*) FROM pm_agent.task_history")
    assert rows[0][0] > 0
