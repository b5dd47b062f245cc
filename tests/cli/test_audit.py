import asyncio
import json
import sqlite3
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.task import Evidence, TaskDraft
from pm_agent.domain.time import HOUR_US
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.ports import Batch
from tests.cli.conftest import Served, refused, run, run_json
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    a_project,
    an_agent,
    an_import,
    complete,
    progress,
    wait,
)
from tests.sqlite_events import change_event, remove_event, store_events, stored_events


@pytest.fixture
def copy(server: Served, worked: str, tmp_path: Path) -> Path:
    """Make a folder with a copy of the journal in use."""
    run("backup", tmp_path / "main.journal.db", "--data", server.data)
    return tmp_path


def write_journal(folder: Path, scenario: Scenario) -> None:
    """Keep a scenario's journal where the commands look for one."""

    async def write() -> None:
        journal = SQLiteJournal(folder / "main.journal.db")
        await journal.activate()
        await journal.append(Batch(1, scenario.journal, [], scenario.stored_requests))
        await journal.close()

    asyncio.run(write())


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "main.journal.db")) as connection, connection:
        changed = connection.execute(statement, values)
        assert changed.rowcount == 1


def alter(folder: Path, task_id: str, edit: Callable[[dict], None]) -> None:
    """Edit the record of a task's assignment."""
    path = folder / "main.journal.db"
    with closing(sqlite3.connect(path)) as connection:
        position, payload = connection.execute(
            "SELECT position, payload FROM events WHERE kind = 'TaskAssigned' AND subject = ?",
            (task_id,),
        ).fetchone()
    data = json.loads(payload)
    edit(data["decision"])
    change_event(path, position, payload=json.dumps(data).encode())


def test_why_explains_and_recomputes_while_the_server_runs(server: Served, worked: str) -> None:
    shown = run("why", worked, "--data", server.data).stdout
    assert "A-vera" in shown
    assert "recomputed" in shown
    found = run_json("why", worked, "--data", server.data)
    assert (found["task_id"], found["agent_id"], found["rank"]) == (worked, "A-vera", 1)
    assert found["recomputed"] is True
    assert found["n_candidates"] == 3
    assert len(found["next_best"]) == 2
    assert run_json("why", worked, "--attempt", 1, "--data", server.data) == found


def test_why_shows_the_evidence_of_a_dead_letter(tmp_path: Path) -> None:
    scenario = Scenario()
    agents = (an_agent(a, sends_heartbeats=True) for a in (ADA, BOB))
    scenario.given(a_project(), *agents, an_import(TaskDraft(title="poison")))
    for token, agent in ((1, ADA), (2, BOB)):
        scenario.assigned(agent)
        scenario.given(progress("T-1", token, agent, percent=40, where=f"task/T-1/a{token}"))
        scenario.after(minutes=10)
    scenario.when(complete("T-1", 1, evidence=Evidence(branch="task/T-1/late")))
    write_journal(tmp_path, scenario)
    shown = run("why", "T-1", "--data", tmp_path).stdout
    for told in ("2 agents were lost on it: A-ada, A-bob", "task/T-1/a2", "task/T-1/late"):
        assert told in shown
    dead = run_json("why", "T-1", "--data", tmp_path)["dead_letter"]
    assert [a["outcome"] for a in dead["attempts"]] == ["expired", "expired"]
    assert run_json("verify", "--data", tmp_path)["problems"] == []


def test_why_knows_only_what_was_assigned(server: Served, worked: str) -> None:
    refused("unknown_task", "why", "T-9999", "--data", server.data)
    told = refused("unknown_task", "why", worked, "--attempt", 7, "--data", server.data)
    assert "attempt 7" in told


def test_why_fails_when_a_score_was_changed(copy: Path, worked: str) -> None:
    def lower(decision: dict) -> None:
        scores = array("f", b64decode(decision["scores"]))
        scores[decision["explained"][0]] -= 0.25
        decision["scores"] = b64encode(scores.tobytes()).decode()

    alter(copy, worked, lower)
    result = run("why", worked, "--data", copy, exit_code=1)
    assert "recomputes to" in result.stderr
    found = run_json("why", worked, "--data", copy, exit_code=1)
    assert found["recomputed"] is False
    assert found["differences"]


def test_why_fails_when_a_factor_was_changed(copy: Path, worked: str) -> None:
    def raise_all(decision: dict) -> None:
        factors = array("f", b64decode(decision["factors"]))
        decision["factors"] = b64encode(array("f", [f + 0.1 for f in factors])).decode()

    alter(copy, worked, raise_all)
    assert run_json("why", worked, "--data", copy, exit_code=1)["differences"]


@pytest.fixture
def matched(tmp_path: Path) -> tuple[Path, str]:
    """Make a folder with a journal in which two waiting agents were matched; and one's task."""
    scenario = Scenario(FactorsScorer())
    scenario.given(a_project(), an_agent(ADA), an_agent(BOB))
    until_us = scenario.now_us + HOUR_US
    scenario.given(wait(ADA, until_us), wait(BOB, until_us))
    scenario.given(an_import(TaskDraft(title="plain"), TaskDraft(title="urgent", priority=3)))
    (first, _) = scenario.of_kind(TaskAssigned)
    write_journal(tmp_path, scenario)
    return tmp_path, str(first.task_id)


def test_why_explains_a_matching_and_its_prices(matched: tuple[Path, str]) -> None:
    folder, task_id = matched
    shown = run("why", task_id, "--data", folder).stdout
    assert "matched with others: 2 waiting agents, 2 tasks" in shown
    assert "score less price" in shown
    found = run_json("why", task_id, "--data", folder)
    assert found["recomputed"] is True
    assert (found["matching"]["n_agents"], found["propensity"]) == (2, 1.0)
    assert run_json("verify", "--data", folder)["problems"] == []


def test_why_fails_when_a_price_was_changed(matched: tuple[Path, str]) -> None:
    folder, task_id = matched

    def raise_own(decision: dict) -> None:
        prices = array("i", b64decode(decision["matching"]["prices"]))
        prices[decision["explained"][0]] += 1 << 29
        decision["matching"]["prices"] = b64encode(prices.tobytes()).decode()

    alter(folder, task_id, raise_own)
    assert "is better than" in run("why", task_id, "--data", folder, exit_code=1).stderr


def test_verify_finds_a_sound_journal_sound(server: Served, worked: str) -> None:
    shown = run("verify", "--data", server.data).stdout
    assert "0 double" in shown
    assert shown.rstrip().endswith("verified")
    found = run_json("verify", "--data", server.data)
    assert found["problems"] == []
    assert found["assignments"] >= 1
    assert found["double_assignments"] == 0
    assert len(found["head_sha256"]) == 64


def problem_of(folder: Path) -> str:
    result = run("verify", "--data", folder, exit_code=1)
    assert "NOT verified" in result.stdout
    found = run_json("verify", "--data", folder, exit_code=1)
    return str(found["problems"][0])


def test_verify_finds_a_flipped_byte(copy: Path) -> None:
    payload = stored_events(copy / "main.journal.db")[2].payload
    flipped = bytes([*payload[:-3], payload[-3] ^ 1, *payload[-2:]])
    change_event(copy / "main.journal.db", 3, payload=flipped)
    assert problem_of(copy) == "chain broken at position 3"


def test_verify_finds_a_removed_event(copy: Path) -> None:
    remove_event(copy / "main.journal.db", 3)
    assert problem_of(copy) == "position 3 is missing"


def test_verify_finds_a_removed_beginning(copy: Path) -> None:
    remove_event(copy / "main.journal.db", 1)
    assert problem_of(copy) == "position 1 is missing"


def test_verify_finds_a_cut_end_when_a_head_was_noted(copy: Path) -> None:
    noted = run_json("verify", "--data", copy)["head_sha256"]
    run("verify", "--data", copy, "--head", noted, "--head", noted[:16])
    path = copy / "main.journal.db"
    store_events(path, stored_events(path)[:-1])
    run("verify", "--data", copy)  # the chain alone cannot tell
    report = run_json("verify", "--data", copy, "--head", noted, exit_code=1)
    assert "cut off the end" in report["problems"][0]


def test_a_head_that_is_none_is_refused(copy: Path) -> None:
    result = run("verify", "--data", copy, "--head", "yesterday", exit_code=2)
    assert "16 to 64" in result.output


def test_verify_finds_a_changed_field_beside_the_payload(copy: Path) -> None:
    change_event(copy / "main.journal.db", 4, principal="person:eve")
    assert problem_of(copy) == "chain broken at position 4"


def test_verify_finds_a_changed_text(server: Served, tmp_path: Path) -> None:
    with server.client() as admin:
        project_id = admin.create_project("Texts").project_id
        admin.create_task(project_id, title="Read it", description="These very words.")
    run("backup", tmp_path / "main.journal.db", "--data", server.data)
    change(tmp_path, "UPDATE bodies SET text = 'Others.' WHERE text = 'These very words.'")
    assert "does not match its hash" in problem_of(tmp_path)


def test_replay_shows_the_world_and_the_same_each_time(copy: Path) -> None:
    assert "fingerprint" in run("replay", "--data", copy).stdout
    first, second = (run_json("replay", "--data", copy) for _ in range(2))
    assert first == second
    assert first["fingerprint"] == run_json("verify", "--data", copy)["fingerprint"]
    assert {"position", "at", "epoch", "tasks", "ready", "agents"} <= set(first)
    earlier = run_json("replay", "--to", 2, "--data", copy)
    assert earlier["position"] == 2
    assert earlier["fingerprint"] != first["fingerprint"]


def test_a_backup_is_a_whole_journal_of_its_own(
    server: Served, worked: str, tmp_path: Path
) -> None:
    target = tmp_path / "main.journal.db"
    found = run_json("backup", target, "--data", server.data)
    assert found["path"] == str(target)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    assert run_json("verify", "--data", tmp_path)["events"] == found["position"]
    told = refused("already_exists", "backup", target, "--data", server.data)
    assert str(target)[:20] in told
    shown = run("backup", tmp_path / "second.db", "--data", server.data).stdout
    assert "verify" in shown


def test_a_backup_of_nothing_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    refused("start_failed", "backup", tmp_path / "copy.db", "--data", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
