from pathlib import Path

import pytest
from pydantic import ValidationError

from pm_agent.domain.errors import StartError
from pm_agent.settings import PythonSpec, Settings, ShellSpec, load_workers

WORKERS = """
[[worker]]
name = "ada"
skills = { python = 5, docs = 2 }
folder = "work/ada"
repository = "repo"
project_ids = ["P-web"]
[worker.executor]
kind = "shell"
argv = ["claude", "-p"]
timeout_s = 600

[[worker]]
name = "bob"
folder = "work/bob"
isolation = "process"
[worker.executor]
kind = "python"
callable = "package.module:function"
"""


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PM_AGENT_{name.upper()}", raising=False)


def test_every_setting_has_a_sane_default() -> None:
    settings = Settings()
    assert settings.journal_path == Path(".pm-agent/main.journal.db")
    assert settings.admin_token_path == Path(".pm-agent/admin.token")
    assert settings.url == "http://127.0.0.1:8470"
    assert (settings.ray_address, settings.haproxy, settings.scorer) == ("local", True, "factors")
    assert settings.policy.exploration == 0.03


def test_how_long_pushed_tasks_wait_for_a_word_is_set_in_seconds() -> None:
    policy = Settings(confirm_s=5, confirm_silent_s=90).policy
    assert (policy.confirm_us, policy.confirm_silent_us) == (5_000_000, 90_000_000)
    with pytest.raises(ValidationError):
        Settings(confirm_s=0)


def test_every_setting_is_described() -> None:
    fields = Settings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_the_environment_overrides_defaults_and_arguments_override_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PM_AGENT_PORT", "9000")
    monkeypatch.setenv("PM_AGENT_HAPROXY", "0")
    monkeypatch.setenv("PM_AGENT_ALLOWED_HOSTS", '["pm.example"]')
    monkeypatch.setenv("PM_AGENT_SOMETHING_ELSE", "left alone")
    settings = Settings(workspace="lab")
    assert (settings.port, settings.haproxy) == (9000, False)
    assert settings.allowed_hosts == ("pm.example",)
    assert settings.journal_path.name == "lab.journal.db"
    assert Settings(port=9001).port == 9001


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - compared, not bound
def test_clients_on_this_machine_use_loopback_when_all_addresses_are_served(host: str) -> None:
    assert Settings(host=host).url == "http://127.0.0.1:8470"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "70000"), ("EXPLORATION", "0.9"), ("SCORER", "tarot")],
)
def test_values_out_of_range_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"PM_AGENT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # frozen: that is what is tested


def test_settings_cross_to_another_process_unchanged() -> None:
    settings = Settings(data=Path("/srv/pm"), allowed_hosts=("a", "b"), seed=7)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_the_platforms_database_is_used_unless_ours_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def url() -> str | None:
        found = Settings().database_url
        return found.get_secret_value() if found else None

    assert url() is None
    monkeypatch.setenv("DATABASE_URL", "postgresql://platform/x")
    assert url() == "postgresql://platform/x"
    monkeypatch.setenv("PM_AGENT_DATABASE_URL", "postgresql://ours/x")
    assert url() == "postgresql://ours/x"
    monkeypatch.setenv("PM_AGENT_DATABASE_URL", "")
    assert url() is None


def test_a_password_reaches_our_own_processes_and_no_print() -> None:
    settings = Settings.model_validate({"database_url": "postgresql://ada:s3cret@db/x"})
    assert "s3cret" not in f"{settings} {settings!r} {settings.model_dump()}"
    again = Settings.model_validate_json(settings.model_dump_json())
    assert again == settings
    assert again.database_url is not None
    assert again.database_url.get_secret_value() == "postgresql://ada:s3cret@db/x"


def test_workers_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "workers.toml"
    path.write_text(WORKERS)
    ada, bob = load_workers(path)
    assert ada.executor == ShellSpec(argv=("claude", "-p"), timeout_s=600)
    assert ada.skills == {"python": 5, "docs": 2}
    assert (ada.isolation, ada.project_ids) == ("host", ("P-web",))
    assert bob.executor == PythonSpec(callable="package.module:function")
    assert (bob.isolation, bob.repository, bob.main) == ("process", None, "main")


def test_an_empty_workers_file_has_no_workers(tmp_path: Path) -> None:
    path = tmp_path / "workers.toml"
    path.write_text("")
    assert load_workers(path) == ()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "ada"\n', "", "name"),
        ('kind = "shell"', 'kind = "telepathy"', "kind"),
        ('argv = ["claude", "-p"]', "argv = []", "argv"),
        ("package.module:function", "os.system('x')", "callable"),
        ('isolation = "process"', 'isolation = "moon"', "isolation"),
        ('folder = "work/ada"', 'folder = "work/ada"\nsalary = 3', "salary"),
        ("[[worker]]", "[[worker", "workers.toml"),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    path = tmp_path / "workers.toml"
    path.write_text(WORKERS.replace(old, new, 1))
    with pytest.raises(StartError, match=named) as refused:
        load_workers(path)
    assert refused.value.next_step


def test_a_workers_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"none\.toml"):
        load_workers(tmp_path / "none.toml")


def test_one_table_instead_of_a_list_is_told(tmp_path: Path) -> None:
    path = tmp_path / "workers.toml"
    path.write_text('[worker]\nname = "ada"\n')
    with pytest.raises(StartError):
        load_workers(path)


def test_a_short_silence_holds_for_agents_with_and_without_heartbeats() -> None:
    policy = Settings(silence_s=1.5).policy
    assert policy.heartbeat_silence_us == policy.request_silence_us == 1_500_000
    usual = Settings().policy
    assert (usual.heartbeat_silence_us, usual.request_silence_us) == (120_000_000, 1_200_000_000)
