import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from pm_agent.adapters.gates_command import REPORT_BYTES, CommandGate
from pm_agent.domain.project import Gate
from pm_agent.ports import GateRequest, GateVerdict

REQUEST = GateRequest(
    effect_id="RunGate:7",
    task_id="T-1",
    attempt=2,
    lease_token=3,
    agent_id="A-ada",
    commit="$(touch pwned)",
    branch="--help",
    links=("x",),
)


async def judge(code: str, *, timeout_s: int = 20, cwd: str = "") -> GateVerdict:
    gate = Gate(argv=(sys.executable, "-c", code), cwd=cwd, timeout_s=timeout_s)
    return await CommandGate().run(gate, REQUEST)


async def test_exit_code_zero_is_a_yes_with_a_report() -> None:
    verdict = await judge("import sys; print('fine'); print('too', file=sys.stderr)")
    assert verdict.passed
    assert sorted(verdict.report.split()) == ["fine", "too"]


async def test_the_request_comes_on_standard_input_and_nowhere_else(tmp_path: Path) -> None:
    code = """
import json, os, sys
print(json.dumps([json.loads(sys.stdin.read()), sys.argv, dict(os.environ), os.getcwd()]))
"""
    verdict = await judge(code, cwd=str(tmp_path))
    request, argv, environment, cwd = json.loads(verdict.report)
    assert request["commit"] == "$(touch pwned)"
    assert request["lease_token"] == 3
    assert argv == ["-c"]
    assert {*environment} <= {"PATH", "HOME", "LANG", "LC_CTYPE"}
    assert cwd == str(tmp_path)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "exited with code 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import os; os.abort()", "killed by SIGABRT"),
    ],
)
async def test_every_other_end_is_a_no(code: str, reason: str) -> None:
    verdict = await judge(code)
    assert not verdict.passed
    assert reason in verdict.reasons[0]


async def test_a_missing_program_or_folder_is_a_no() -> None:
    for gate in (
        Gate(argv=("/no/such/program",)),
        Gate(argv=("true",), cwd="/no/such/folder"),
        Gate(argv=("true", "nul\0byte")),
        Gate(),
    ):
        verdict = await CommandGate().run(gate, REQUEST)
        assert not verdict.passed
        assert verdict.reasons


async def test_a_timeout_is_a_no_and_leaves_nothing_running(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"""
import subprocess, sys, time
print("started", flush=True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5); open({str(mark)!r}, 'w')"])
time.sleep(60)
"""
    verdict = await judge(code, timeout_s=1)
    assert not verdict.passed
    assert "longer than 1 s" in verdict.reasons[0]
    assert "started" in verdict.report
    await asyncio.sleep(0.8)
    assert not mark.exists()


async def test_a_child_left_behind_does_not_hold_up_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pm_agent.adapters.gates_command.DRAIN_S", 0.1)
    began = time.monotonic()
    verdict = await judge("import subprocess; subprocess.Popen(['sleep', '60'])")
    assert verdict.passed
    assert time.monotonic() - began < 10


async def test_of_much_output_the_end_is_kept() -> None:
    verdict = await judge("print('x' * 1_000_000); print('the end')")
    assert verdict.report.endswith("the end")
    assert len(verdict.report) < REPORT_BYTES + 100


async def test_a_gate_that_reads_nothing_and_one_that_is_cancelled_end() -> None:
    assert (await judge("pass")).passed
    running = asyncio.create_task(judge("import time; time.sleep(60)"))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
