"""``pm-agent models``: train from the journal, and choose the current version."""

import itertools
import shutil
import time
from pathlib import Path

import pytest

from pm_agent.api.handlers.assignments import ClaimAnswer
from tests.cli.conftest import Served, refused, run, run_json, serving
from tests.models.journals import months_of_work, write_journal


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_journal(tmp_path_factory.mktemp("work") / "main.journal.db", months_of_work(80))


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and then other work."""
    return write_journal(
        tmp_path_factory.mktemp("work") / "main.journal.db", months_of_work(80, n_otherwise=330)
    )


@pytest.fixture
def data(tmp_path: Path, journal: Path) -> Path:
    """A workspace's folder with a journal and one trained version."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "main.journal.db").write_bytes(journal.read_bytes())
    assert run_json("models", "train", "--data", folder) == {
        "name": "assignment",
        "version": "v1",
        "beats": False,
        "is_current": False,
    }
    return folder


def test_a_trained_version_is_listed_and_not_current(data: Path) -> None:
    (found,) = run_json("models", "list", "--data", data)["models"]
    assert (found["version"], found["is_current"], found["problem"]) == ("v1", False, "")
    assert "assignment" in run("models", "list", "--data", data).output


def test_its_card_is_shown(data: Path) -> None:
    shown = run("models", "card", "assignment", "v1", "--data", data).output
    assert "track record" in shown
    assert run_json("models", "card", "assignment", "v1", "--data", data)["n_training"] == 80


def test_a_version_not_shown_to_be_better_is_promoted_only_by_force(data: Path) -> None:
    refused("not_better", "models", "promote", "assignment", "v1", "--data", data)
    run("models", "promote", "assignment", "v1", "--force", "--data", data)
    (found,) = run_json("models", "list", "--data", data)["models"]
    assert found["is_current"]


def test_a_rollback_returns_to_the_version_before(data: Path) -> None:
    run("models", "train", "--data", data)
    for version in ("v1", "v2"):
        run("models", "promote", "assignment", version, "--force", "--data", data)
    assert "v1 is current" in run("models", "rollback", "assignment", "--data", data).output
    refused("unknown_model", "models", "rollback", "assignment", "--data", data)


def test_training_without_a_journal_is_refused(tmp_path: Path) -> None:
    refused("file_not_readable", "models", "train", "--data", tmp_path)


def test_a_lesson_tells_what_came_of_it(data: Path, tmp_path: Path) -> None:
    told = run_json("models", "learn", "--data", data)
    assert told == {"has_drifted": False, "n_new": 0}  # v1 knows all of this
    assert "n_new" in run("models", "learn", "--data", data).output
    refused("file_not_readable", "models", "learn", "--data", tmp_path)


def test_a_server_scores_by_the_current_model_and_why_shows_its_factors(data: Path) -> None:
    run("models", "promote", "assignment", "v1", "--force", "--data", data)
    with serving(data, PM_AGENT_SCORER="learned") as served:
        first = given_to_a_new_agent(served, "eve")
        assert first.policy.startswith("learned-3.v1-")
        run("models", "stand-down", "assignment", "--data", data)
        give_up_at = time.monotonic() + 15
        names = (f"agent-{number}" for number in itertools.count())
        while given_to_a_new_agent(served, next(names)).policy != "factors-1":
            assert time.monotonic() < give_up_at, "the server goes on with the model"
            time.sleep(0.2)
    shown = run("why", first.task_id, "--data", data).output
    assert "minutes_p90" in shown
    assert "recomputed" in shown
    told = run_json("why", first.task_id, "--data", data)
    assert (told["recomputed"], told["rescored_by"]) == (True, "model")
    assert 0 < told["chosen"]["factors"]["accepted"] < 1
    shutil.rmtree(data / "models")
    told = run_json("why", first.task_id, "--data", data)
    assert (told["recomputed"], told["rescored_by"]) == (True, "stored forecasts")
    assert "is not at hand" in run("why", first.task_id, "--data", data).output
    assert run_json("verify", "--data", data)["problems"] == []


def test_a_server_s_learner_takes_a_model_out_of_service_when_the_world_drifts_away_from_it(
    data: Path, drifted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("models", "promote", "assignment", "v1", "--force", "--data", data)
    (data / "main.journal.db").write_bytes(drifted.read_bytes())  # goes on where v1 has learned
    names = (f"agent-{number}" for number in itertools.count())
    with serving(data, PM_AGENT_SCORER="learned", PM_AGENT_LEARN_EVERY_H="0.001") as served:
        give_up_at = time.monotonic() + 60
        policies = [given_to_a_new_agent(served, next(names)).policy]
        while policies[-1] != "factors-1":
            assert time.monotonic() < give_up_at, "the server goes on with the model"
            time.sleep(0.2)
            last = given_to_a_new_agent(served, next(names))
            policies.append(last.policy)
    assert policies[0].startswith("learned-3.v1-")
    assert (
        "Drift over 329 later attempts"
        in run_json("models", "list", "--data", data)["stood_down"]["assignment"]
    )
    assert run_json("why", last.task_id, "--data", data)["version"] == "factors-1"
    monkeypatch.setenv("PM_AGENT_SCORER", "learned")
    checks = run_json("doctor", "--data", data)["checks"]
    (scorer,) = [check for check in checks if check["name"] == "scorer"]
    assert scorer["verdict"] == "warn"
    assert "the model stood down. Drift over 329" in scorer["found"]


def given_to_a_new_agent(served: Served, name: str) -> ClaimAnswer:
    """What an agent gets that comes new, for a new task."""
    with served.client() as admin:
        admin.create_task("P-web", title=f"for {name}")
        made = admin.register_agent(name)
    with served.client(made.access_token) as agent:
        return agent.request_next_task(made.agent_id)
