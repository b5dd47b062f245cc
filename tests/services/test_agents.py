"""Real coding agents, headless and offline, do a task from registration to completion.

Each is configured by what `pm-agent connect` prints, and thinks with a script on loopback. Gemini
CLI is asked no more than whether it reaches the server so configured.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from pm_agent.api.operations import OPERATIONS
from pm_agent.cli.main import app
from pm_agent.client import Client
from tests.actors.conftest import Product
from tests.services.model_server import SAID, STEPS, ModelServer
from tests.services.node import environment, run

CORE = {o.name for o in OPERATIONS if o.tier == "core"}
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "ANTHROPIC_API_KEY": "none",
}


@pytest.fixture
def name() -> str:
    return f"agent {uuid4().hex[:8]}"


@pytest.fixture
def task_id(product: Product, name: str) -> str:
    """Return a task that only the agent can get."""
    with Client(product.settings.url, product.admin_token) as admin:
        project_id = admin.create_project(f"p {uuid4().hex[:8]}").project_id
        admin.register_agent(name, skills=["python"], project_ids=[project_id])
        return admin.create_task(project_id, title="Paint the door").task_id


def connected(product: Product, agent: str, name: str) -> str:
    """Return the configuration that a user would paste."""
    where = ["--url", product.settings.url, "--data", str(product.settings.data)]
    done = CliRunner().invoke(app, ["connect", agent, "--name", name, *where])
    assert done.exit_code == 0, done.output
    return done.stdout


def told_of(product: Product, task_id: str) -> list[str]:
    with Client(product.settings.url, product.admin_token) as admin:
        return [event.event for event in admin.get_task_history(task_id).events]


def assert_done(product: Product, task_id: str) -> None:
    told = told_of(product, task_id)
    steps = ["TaskAssigned", "ProgressReported", "CompletionSubmitted", "CompletionAccepted"]
    assert [event for event in told if event in steps] == steps


@pytest.mark.parametrize("tools", ["at once", "when searched for"])
def test_claude_code_does_a_task(
    product: Product, tmp_path: Path, name: str, task_id: str, tools: str
) -> None:
    (tmp_path / ".mcp.json").write_text(connected(product, "claude", name))
    with ModelServer(name).running() as model:
        env = environment(
            HOME=str(tmp_path),
            CLAUDE_CONFIG_DIR=str(tmp_path / "claude"),
            ANTHROPIC_BASE_URL=model.url,
            ENABLE_TOOL_SEARCH="false" if tools == "at once" else "true",
            **QUIET,
        )
        ran = run(
            "claude",
            "--print",
            "Work.",
            "--mcp-config=.mcp.json",
            "--strict-mcp-config",
            "--allowedTools=mcp__pm",
            "--output-format=stream-json",
            "--verbose",
            folder=tmp_path,
            env=env,
        )
        assert ran.code == 0, ran.output[-2_000:] + ran.errors
        events: list[dict[str, Any]] = [json.loads(line) for line in ran.output.splitlines()]
        (started,) = [e for e in events if e.get("subtype") == "init"]
        assert [(m["name"], m["status"]) for m in started["mcp_servers"]] == [("pm", "connected")]
        listed = {t.removeprefix("mcp__pm__") for t in started["tools"] if t.startswith("mcp__pm")}
        assert listed == CORE
        assert events[-1]["result"] == SAID
        assert model.offered() >= set(STEPS)
    assert_done(product, task_id)


def test_codex_does_a_task(product: Product, tmp_path: Path, name: str, task_id: str) -> None:
    folder = tmp_path / ".codex"
    folder.mkdir()
    with ModelServer(name).running() as model:
        (folder / "config.toml").write_text(
            f"""\
model = "scripted"
model_provider = "script"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.script]
name = "script"
base_url = "{model.url}/v1"
wire_api = "responses"

{connected(product, "codex", name)}"""
        )
        env = environment(HOME=str(tmp_path), CODEX_HOME=str(folder))
        ran = run("codex", "exec", "--skip-git-repo-check", "Work.", folder=tmp_path, env=env)
        assert ran.code == 0, ran.errors[-2_000:]
        assert SAID in ran.output
        assert model.offered() == CORE
    assert_done(product, task_id)


def test_gemini_reaches_the_server(product: Product, tmp_path: Path, name: str) -> None:
    folder = tmp_path / ".gemini"
    folder.mkdir()
    (folder / "settings.json").write_text(connected(product, "gemini", name))
    # It has nothing to do with folders that its user does not trust.
    env = environment(HOME=str(tmp_path / "home"), GEMINI_CLI_TRUST_WORKSPACE="true")
    ran = run("gemini", "mcp", "list", folder=tmp_path, env=env)
    assert ran.code == 0, ran.errors[-2_000:]
    told = ran.output + ran.errors
    assert f"pm: {product.settings.url}/mcp (http) - Connected" in told
