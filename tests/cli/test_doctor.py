from pathlib import Path

import pytest

from pm_agent.cli.doctor import _exposure
from pm_agent.settings import Settings
from tests.cli.conftest import Served, free_port, run, run_json


def verdicts(found: dict) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in found["checks"]}


def test_doctor_finds_a_running_workspace_well(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PM_AGENT_PORT", str(server.port))
    shown = run("doctor", "--data", server.data).stdout
    assert "FAIL" not in shown
    assert "a server is running" in shown
    assert "(environment)" in shown
    found = run_json("doctor", "--data", server.data)
    assert found["ok"] is True
    assert {"ok", "settings", "checks"} <= set(found)
    assert found["settings"]["port"] == str(server.port)
    assert {"python", "ray", "mcp", "haproxy", "journal", "port"} <= set(verdicts(found))


def test_doctor_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PM_AGENT_PORT", str(free_port()))
    assert "is free" in run("doctor", "--data", tmp_path / "none").stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_names_what_is_broken_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "main.journal.db").write_bytes(b"no journal" * 999)
    found = run_json("doctor", "--data", tmp_path, exit_code=1)
    assert found["ok"] is False
    (broken,) = [check for check in found["checks"] if check["verdict"] == "fail"]
    assert broken["name"] == "journal"
    assert broken["next_step"]


def test_doctor_warns_of_what_makes_it_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PM_AGENT_HAPROXY", "0")
    monkeypatch.setenv("RAY_worker_niceness", "15")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = verdicts(run_json("doctor", "--data", tmp_path))
    assert (found["haproxy"], found["ray flag"], found["bytecode"]) == ("warn", "warn", "warn")


def test_it_says_what_other_machines_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for variables in ({}, {"HOST": "0.0.0.0"}, {"RAY_ADDRESS": "auto"}):  # noqa: S104 - never bound
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(f"PM_AGENT_{name}", value)
            found.append(_exposure(Settings()).verdict)
    assert found == ["ok", "warn", "warn"]
