"""Secrets at rest: sealed, bound to their place, and rotated under a running server."""

import os
import stat
from pathlib import Path

import pytest

from pm_agent.adapters.kek_local import LocalKeys, add_key, keep_newest, read_key_file
from pm_agent.adapters.secrets_file import SecretsFile
from pm_agent.domain.errors import SecretsLocked

SECRET = b"a pepper of thirty-two bytes...."


def file_of(folder: Path, workspace: str = "main") -> SecretsFile:
    return SecretsFile(folder / "secrets.json", lambda: read_key_file(folder / "kek"), workspace)


def test_a_secret_comes_back_and_is_not_on_the_disk(tmp_path: Path) -> None:
    made = file_of(tmp_path)
    assert made.read("pepper") == []
    made.add("pepper", SECRET, 5)
    assert [one.value for one in file_of(tmp_path).read("pepper")] == [SECRET]
    for path in (tmp_path / "secrets.json", tmp_path / "kek"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert SECRET not in path.read_bytes()


def test_the_newest_version_comes_first(tmp_path: Path) -> None:
    made = file_of(tmp_path)
    made.add("pepper", b"one", 1)
    made.add("pepper", b"two", 2)
    assert [(s.version, s.value) for s in made.read("pepper")] == [(2, b"two"), (1, b"one")]
    assert made.add("pepper", b"three", 3, first=True)[0].value == b"two"
    made.drop("pepper", 1)
    assert [s.version for s in made.read("pepper")] == [2]


def test_a_running_server_reads_what_was_rotated_meanwhile(tmp_path: Path) -> None:
    serving = file_of(tmp_path)
    serving.add("pepper", SECRET, 1)
    serving.add("signing", b"seed", 1)
    before = (tmp_path / "kek").read_text()
    assert add_key(tmp_path / "kek") == "2"
    rotating = file_of(tmp_path)
    assert rotating.wrapped_by() == {"1": 2}
    assert rotating.rewrap() == 2
    keep_newest(tmp_path / "kek")
    assert rotating.wrapped_by() == {"2": 2}
    assert before.strip() not in (tmp_path / "kek").read_text()
    assert serving.read("pepper")[0].value == SECRET
    assert serving.add("cursor", b"x", 2)[0].value == b"x"


def test_a_record_cannot_stand_in_for_another(tmp_path: Path) -> None:
    made = file_of(tmp_path)
    made.add("pepper", SECRET, 1)
    text = (tmp_path / "secrets.json").read_text()
    for old, new in (('"pepper"', '"cursor"'), ('"version":1', '"version":2')):
        (tmp_path / "secrets.json").write_text(text.replace(old, new))
        with pytest.raises(SecretsLocked):
            file_of(tmp_path).read("cursor")
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(SecretsLocked):
        file_of(tmp_path, "other").read("pepper")


def test_without_its_key_or_whole_file_it_stays_locked(tmp_path: Path) -> None:
    file_of(tmp_path).add("pepper", SECRET, 1)
    other = SecretsFile(tmp_path / "secrets.json", lambda: LocalKeys({"1": os.urandom(32)}), "main")
    with pytest.raises(SecretsLocked):
        other.read("pepper")
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(SecretsLocked):
        file_of(tmp_path).read("pepper")
