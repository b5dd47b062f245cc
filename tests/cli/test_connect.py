import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from pm_agent.cli.connect import FORMS
from tests.cli.conftest import At, Json, Served, refused

LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def parsed(agent: str, text: str) -> Json:
    """Return our entry in a client's configuration, as the client reads it."""
    form = FORMS[agent]  # type: ignore[index]  # a StrEnum's member and its text are one key
    whole = tomllib.loads(text) if agent == "codex" else json.loads(text)
    entry: Json = whole[form.section]["pm"]
    return entry


def header_of(entry: Json) -> str:
    headers: Any = entry.get("headers") or entry.get("http_headers")
    return str(headers["Authorization"])


@pytest.mark.parametrize("agent", list(FORMS))
def test_what_is_printed_lets_the_agent_in(at: At, server: Served, agent: str) -> None:
    entry = parsed(agent, at.run("connect", agent, "--name", f"{agent} one"))
    url = entry.get("url") or entry["httpUrl"]
    assert url == f"{server.url}/mcp"
    headers = {"Authorization": header_of(entry), "Accept": "application/json, text/event-stream"}
    answer = httpx.post(url, json=LISTING, headers=headers)
    assert '"wait_for_task"' in answer.text
    assert '"create_task"' not in answer.text


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("claude", "Bearer ${PM_AGENT_TOKEN}"),
        ("gemini", "Bearer $PM_AGENT_TOKEN"),
        ("opencode", "Bearer {env:PM_AGENT_TOKEN}"),
    ],
)
def test_the_token_can_stay_in_the_environment(at: At, agent: str, told: str) -> None:
    assert header_of(parsed(agent, at.run("connect", agent, "--env", "--token", "s3cret"))) == told


def test_codex_has_its_own_setting_for_a_token_in_the_environment(at: At) -> None:
    text = at.run("connect", "codex", "--env", "--token", "s3cret", "--tools", "core,wider")
    entry = parsed("codex", text)
    assert entry["bearer_token_env_var"] == "PM_AGENT_TOKEN"
    assert entry["url"].endswith("/mcp?tools=core,wider")
    assert entry["tool_timeout_sec"] > 60  # it would cut a wait of 50 s short
    assert "s3cret" not in text


def test_a_file_keeps_what_else_it_holds(at: At) -> None:
    path = Path("opencode.json")
    path.write_text('{"theme": "dark", "mcp": {"other": {"type": "local"}}}')
    for _ in range(2):
        at.run("connect", "opencode", "--write", "--token", "s3cret")
    written = json.loads(path.read_text())
    assert written["theme"] == "dark"
    assert list(written["mcp"]) == ["other", "pm"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_toml_file_is_only_added_to(
    at: At, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text('model = "m"  # kept\n')
    at.run("connect", "codex", "--write", "--token", "s3cret")
    assert path.read_text().startswith('model = "m"  # kept\n\n[mcp_servers.pm]\n')
    assert header_of(parsed("codex", path.read_text())) == "Bearer s3cret"
    before = path.read_text()
    told = refused("start_failed", "connect", "codex", "--write", "--token", "s3cret")
    assert "mcp_servers.pm already" in told
    assert path.read_text() == before


@pytest.mark.parametrize("before", ["[]", "{", '{"mcp": []}'])
def test_a_file_that_is_something_else_is_left_alone(at: At, before: str) -> None:
    path = Path("opencode.json")
    path.write_text(before)
    told = refused("start_failed", "connect", "opencode", "--write", "--token", "s3cret")
    assert "left as it is" in told
    assert path.read_text() == before
