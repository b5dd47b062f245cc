"""``pm-agent models``: train from the journal, and choose the current version."""

from pathlib import Path

import pytest

from tests.cli.conftest import refused, run, run_json
from tests.models.journals import months_of_work, write_journal


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_journal(tmp_path_factory.mktemp("work") / "main.journal.db", months_of_work(80))


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
