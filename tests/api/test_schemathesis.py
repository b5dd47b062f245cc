"""The OpenAPI document and the server say the same, as schemathesis finds by trying."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.rest_server import rest_server

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("PM_AGENT_TEST_EXAMPLES", "2")
# A handover would end the server under test; a stream has no end, and a wait is as long as asked.
LEFT_OUT = ("hand_over", "stream_events", "stream_agent_events", "wait_for_task")


@pytest.mark.timeout(3_600)
def test_schemathesis_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    with rest_server() as server:
        # It makes up positions that the journal has not come to, and each would be waited for.
        monkeypatch.setattr("pm_agent.runtime.replica.REACH_S", 0.01)
        told = subprocess.run(
            [
                program, "run", f"{server.url}/openapi.json",
                "--header", f"Authorization: Bearer {server.token}",
                "--checks", "all", "--max-examples", EXAMPLES, "--seed", "7",
                "--phases", "examples,coverage,fuzzing,stateful",
                "--generation-database", "none", "--continue-on-failure", "--no-color",
                *(word for name in LEFT_OUT for word in ("--exclude-operation-id", name)),
            ],
            cwd=ROOT,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks"},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    assert told.returncode == 0, told.stdout[-6_000:] + told.stderr[-2_000:]
