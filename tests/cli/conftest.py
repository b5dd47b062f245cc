"""A real server without Ray for the command line to talk to, and short words for commands."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from pm_agent.cli import console
from pm_agent.cli.main import app
from pm_agent.client import Client

PM_AGENT = Path(sys.executable).parent / "pm-agent"
START_S, STOP_S = 30.0, 15.0
Json = dict[str, Any]


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what would change how PM Agent runs."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PM_AGENT_", "RAY_"))}
    return {**kept, **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """A running ``pm-agent up --no-ray``."""

    def __init__(
        self, data: Path, port: int, process: subprocess.Popen[str], scheme: str = "http"
    ) -> None:
        self.data = data
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.process = process

    @property
    def journal(self) -> Path:
        return self.data / "main.journal.db"

    @contextmanager
    def client(self, token: str = "") -> Iterator[Client]:
        token = token or (self.data / "admin.token").read_text().strip()
        with Client(self.url, token) as client:
            yield client

    def wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + START_S
        while True:
            assert self.process.poll() is None, self.process.communicate()
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < give_up_at, "the server did not become ready"
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and all that was printed."""
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=STOP_S)
        return self.process.returncode, printed


@contextmanager
def serving(data: Path, *options: str, **environment: str) -> Iterator[Served]:
    """Run a server of its own in a folder."""
    port = free_port()
    argv = [str(PM_AGENT), "up", "--no-ray", "--data", str(data), "--port", str(port), *options]
    process = subprocess.Popen(
        argv,
        env=clean_environment(COLUMNS="200", **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    scheme = "https" if "PM_AGENT_TLS_CERT" in environment else "http"
    served = Served(data, port, process, scheme)
    try:
        served.wait_until_ready()
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all commands; each test makes what it changes."""
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("PM_AGENT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console.out, "_width", 200)  # whole tables, however many columns


def run(*argv: object, exit_code: int = 0) -> Result:
    """Run one command in this process."""
    result = CliRunner().invoke(app, [str(one) for one in argv], catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    return result


def run_json(*argv: object, exit_code: int = 0) -> Json:
    found: Json = json.loads(run(*argv, "--json", exit_code=exit_code).stdout)
    return found


def refused(code: str, *argv: object) -> str:
    """Run a command that must be refused; return what it says."""
    result = run(*argv, exit_code=1)
    assert result.stderr.startswith(f"{code}: "), result.output
    told, _, next_step = result.stderr.partition("→")
    assert next_step.strip(), result.output
    return told


class At:
    """The options that lead to a server."""

    def __init__(self, server: Served) -> None:
        self.options = ("--url", server.url, "--data", server.data)

    def run(self, *argv: object, exit_code: int = 0) -> str:
        return run(*argv, *self.options, exit_code=exit_code).stdout

    def json(self, *argv: object, exit_code: int = 0) -> Json:
        return run_json(*argv, *self.options, exit_code=exit_code)


@pytest.fixture
def at(server: Served) -> At:
    return At(server)


@pytest.fixture(scope="session")
def worked(server: Served) -> str:
    """A task that an agent has claimed among others and completed; returns its id."""
    with server.client() as admin:
        project_id = admin.create_project("Worked").project_id
        admin.import_tasks(
            project_id,
            [{"title": f"t{n}", "priority": p} for n, p in enumerate(("low", "high", "normal"))],
        )
        made = admin.register_agent("Vera", project_ids=[project_id])
        with server.client(made.access_token) as agent:
            claimed = agent.request_next_task(made.agent_id)
            task_id = claimed.task_id
            agent.complete_task(task_id, lease_token=claimed.lease_token, summary="done")
    return task_id
