import asyncio
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pm_agent.runtime import executors
from pm_agent.runtime.executors import (
    LONGEST_LINE_BYTES,
    Fix,
    Outcome,
    PythonExecutor,
    ShellExecutor,
    TryFix,
    Verdict,
)

TASK = {"task_id": "T-1", "title": "Write it"}


class Heard:
    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.fixes: list[Fix] = []
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.has_progress = asyncio.Event()

    async def progress(self, percent: int, note: str = "") -> None:
        self.said.append(("progress", percent, note))
        self.has_progress.set()

    async def decision(self, text: str) -> None:
        self.said.append(("decision", text))

    async def artifact(self, name: str, uri: str, note: str = "") -> None:
        self.said.append(("artifact", name, uri, note))

    async def usage(self, tokens: int, cost_usd: float = 0.0) -> None:
        self.said.append(("usage", tokens, cost_usd))

    async def blocker(
        self,
        description: str,
        severity: str = "medium",
        try_fix: TryFix | None = None,
        blocker_type: str = "other",
    ) -> str:
        self.said.append(("blocker", description, severity, blocker_type))
        while try_fix is not None and self.fixes:
            verdict = await try_fix(self.fixes.pop(0))
            self.said.append(("fixed", *verdict))
        return await self.answer


@pytest.fixture
async def heard() -> Heard:
    return Heard()


def python(code: str, timeout_s: float = 20.0, *arguments: str) -> ShellExecutor:
    prelude = (
        "import json, os, sys, time\nsay = lambda **line: print(json.dumps(line), flush=True)\n"
    )
    argv = (sys.executable, "-c", prelude + textwrap.dedent(code), *arguments)
    return ShellExecutor(argv, timeout_s=timeout_s)


def is_alive(pid: int) -> bool:
    """Zombies of an init that reaps nobody do not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def gone(pid: int) -> bool:
    for _ in range(200):
        if not is_alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_each_kind_of_line_reaches_the_report(tmp_path: Path, heard: Heard) -> None:
    executor = python("""
        task = json.loads(sys.stdin.readline())
        say(type="progress", percent=40.7, note=task["title"])
        say(type="progress", percent=900)
        say(type="decision", text="tabs")
        say(type="artifact", name="a", uri="a.py", note="n")
        say(type="usage", tokens=12, cost_usd=0.5)
        print("just talking")
        say(type="result", summary="done", evidence={"links": ["x"]})
    """)
    outcome = await executor.run(TASK, tmp_path, heard)
    assert outcome == Outcome(
        is_done=True, summary="done", evidence={"links": ["x"]}, tail="just talking"
    )
    assert heard.said == [
        ("progress", 40, "Write it"),
        ("progress", 100, ""),
        ("decision", "tabs"),
        ("artifact", "a", "a.py", "n"),
        ("usage", 12, 0.5),
    ]


async def test_a_title_full_of_shell_metacharacters_and_options_never_reaches_argv(
    tmp_path: Path, heard: Heard
) -> None:
    title = "--help; $(touch pwned) `touch pwned` | rm -rf / && \"' \n -c evil"
    executor = python("""
        task = json.loads(sys.stdin.readline())
        seen = [sys.argv, list(os.environ.values()), open("/proc/self/cmdline").read()]
        say(type="result", summary=task["title"], evidence={"seen": seen, "cwd": os.getcwd()})
    """)
    outcome = await executor.run({"task_id": "T-1", "title": title}, tmp_path, heard)
    assert outcome.summary == title
    assert outcome.evidence["cwd"] == str(tmp_path)
    assert "pwned" not in json.dumps(outcome.evidence["seen"])
    assert not (tmp_path / "pwned").exists()


async def test_the_environment_holds_no_secret_of_ours(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PM_AGENT_TOKEN", "secret")
    executor = python('say(type="result", summary=json.dumps(dict(os.environ)))')
    outcome = await executor.run(TASK, tmp_path, heard)
    assert {*json.loads(outcome.summary)} <= {"PATH", "HOME", "LANG", "LC_CTYPE"}


async def test_a_blocker_waits_for_its_resolution_and_its_time_does_not_count(
    tmp_path: Path, heard: Heard
) -> None:
    executor = python(
        """
        sys.stdin.readline()
        say(
            type="blocker",
            description="How wide?",
            severity="high",
            blocker_type="needs_input",
        )
        say(type="result", summary=json.loads(sys.stdin.readline())["text"])
        """,
        timeout_s=0.6,
    )
    running = asyncio.create_task(executor.run(TASK, tmp_path, heard))
    await asyncio.sleep(0.8)
    assert heard.said == [("blocker", "How wide?", "high", "needs_input")]
    heard.answer.set_result("72")
    assert (await running).summary == "72"


async def test_fixes_come_as_data_and_the_command_says_what_came_of_them(
    tmp_path: Path, heard: Heard
) -> None:
    heard.fixes = [Fix("$(reboot)", "A-eve", "worked 1 of 1"), Fix("make db", "A-bob", "advice")]
    heard.answer.set_result("make db")
    executor = python("""
        sys.stdin.readline()
        say(type="blocker", description="No database", tries_fixes=True)
        while (told := json.loads(sys.stdin.readline()))["type"] == "fix":
            say(type="progress", percent=50, note="trying what " + told["by"] + " says")
            say(type="fixed", worked=told["text"] == "make db", note=told["why"])
        say(type="result", summary=told["text"])
    """)
    outcome = await executor.run(TASK, tmp_path, heard)
    assert outcome.summary == "make db"
    assert heard.said == [
        ("blocker", "No database", "medium", "other"),
        ("progress", 50, "trying what A-eve says"),
        ("fixed", False, "worked 1 of 1"),
        ("progress", 50, "trying what A-bob says"),
        ("fixed", True, "advice"),
    ]


async def test_a_command_that_knows_no_fixes_is_given_none(tmp_path: Path, heard: Heard) -> None:
    heard.fixes = [Fix("make db", "A-bob", "advice")]
    heard.answer.set_result("72")
    executor = python("""
        sys.stdin.readline()
        say(type="blocker", description="How wide?")
        say(type="result", summary=json.loads(sys.stdin.readline())["type"])
    """)
    assert (await executor.run(TASK, tmp_path, heard)).summary == "resolution"


async def test_trying_a_fix_is_the_commands_time(tmp_path: Path, heard: Heard) -> None:
    heard.fixes = [Fix("sleep", "A-bob", "advice")]
    executor = python(
        """
        sys.stdin.readline()
        say(type="blocker", description="?", tries_fixes=True)
        time.sleep(30)
        """,
        timeout_s=0.5,
    )
    outcome = await executor.run(TASK, tmp_path, heard)
    assert "took longer" in outcome.reason


async def test_a_command_that_dies_while_it_tries_has_failed(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pm_agent.runtime.executors.DRAIN_S", 0.1)
    heard.fixes = [Fix("exit 3", "A-bob", "advice")]
    executor = python("""
        sys.stdin.readline()
        say(type="blocker", description="?", tries_fixes=True)
        sys.stdin.readline()
        sys.exit(3)
    """)
    outcome = await executor.run(TASK, tmp_path, heard)
    assert outcome.reason == "The command exited with code 3."


async def test_a_command_that_dies_while_it_waits_has_failed(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pm_agent.runtime.executors.DRAIN_S", 0.1)
    executor = python("""
        say(type="blocker", description="?")
        os.close(1)
        os.kill(os.getpid(), 9)
    """)
    outcome = await executor.run(TASK, tmp_path, heard)
    assert outcome.reason == "The command was killed by SIGKILL."


async def test_a_killed_command_has_failed_for_that_reason(tmp_path: Path, heard: Heard) -> None:
    executor = python("""
        print("about to work", file=sys.stderr, flush=True)
        say(type="progress", percent=1)
        time.sleep(60)
    """)
    running = asyncio.create_task(executor.run(TASK, tmp_path, heard))
    await heard.has_progress.wait()
    assert executor.pid is not None
    os.kill(executor.pid, 9)
    outcome = await running
    assert not outcome.is_done
    assert outcome.reason == "The command was killed by SIGKILL."
    assert "about to work" in outcome.tail
    assert executor.pid is None


async def test_nothing_of_the_group_is_left_after_a_cancel(tmp_path: Path, heard: Heard) -> None:
    executor = python("""
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        say(type="progress", percent=1, note=str(child.pid))
        time.sleep(60)
    """)
    running = asyncio.create_task(executor.run(TASK, tmp_path, heard))
    await heard.has_progress.wait()
    leader, child = executor.pid, int(heard.said[0][2])
    assert leader is not None
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(leader)
    assert await gone(child)


async def test_a_child_left_behind_with_the_pipe_does_not_hold_up_the_end(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pm_agent.runtime.executors.DRAIN_S", 0.1)
    executor = python("""
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        say(type="result", summary=str(child.pid))
    """)
    outcome = await asyncio.wait_for(executor.run(TASK, tmp_path, heard), 10)
    assert outcome.is_done
    assert await gone(int(outcome.summary))


async def test_a_result_behind_a_report_that_takes_long_is_not_lost(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "DRAIN_S", 0.02)
    told = heard.progress

    async def slowly(percent: int, note: str = "") -> None:  # as while the server is away
        await asyncio.sleep(0.3)
        await told(percent, note)

    monkeypatch.setattr(heard, "progress", slowly)
    code = """
        import sys
        sys.stdin.readline()
        print('{"type": "progress", "percent": 50}')
        print('{"type": "result", "summary": "done"}')
    """
    outcome = await python(code).run({}, tmp_path, heard)
    assert (outcome.is_done, outcome.summary) == (True, "done")


async def test_a_timeout_kills_and_fails(tmp_path: Path, heard: Heard) -> None:
    executor = python("print('slow', flush=True)\ntime.sleep(60)", timeout_s=0.5)
    outcome = await executor.run(TASK, tmp_path, heard)
    assert outcome.reason == "The command took longer than 0.5 s."
    assert outcome.tail == "slow"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('say(type="result", summary="x")\nsys.exit(3)', "The command exited with code 3."),
        ("pass", "The command exited without a result line."),
        ('print(\'{"type": "result"}\')', "The command exited without a result line."),
    ],
)
async def test_without_a_result_and_exit_code_zero_it_has_failed(
    tmp_path: Path, heard: Heard, code: str, reason: str
) -> None:
    assert (await python(code).run(TASK, tmp_path, heard)).reason == reason


async def test_a_missing_program_has_failed(tmp_path: Path, heard: Heard) -> None:
    outcome = await ShellExecutor(("/no/such/program",)).run(TASK, tmp_path, heard)
    assert outcome.reason.startswith("The command could not be started")


async def test_an_endless_line_is_cut_and_the_next_one_is_read(
    tmp_path: Path, heard: Heard
) -> None:
    executor = python(f"""
        print("x" * {LONGEST_LINE_BYTES * 4})
        say(type="result", summary="still here")
    """)
    outcome = await executor.run(TASK, tmp_path, heard)
    assert outcome.summary == "still here"
    assert len(outcome.tail) < 5_000


async def test_a_program_that_reads_nothing_may_be_given_a_large_task(
    tmp_path: Path, heard: Heard
) -> None:
    executor = python('say(type="result", summary="ok")')
    outcome = await executor.run({"description": "x" * 3_000_000}, tmp_path, heard)
    assert outcome.is_done


async def test_a_coroutine_function_is_an_executor(tmp_path: Path, heard: Heard) -> None:
    async def work(task: dict[str, Any], workspace: Path, report: Any) -> str:
        await report.progress(50, "half")
        return f"{task['title']} in {workspace.name}"

    outcome = await PythonExecutor(work).run(TASK, tmp_path, heard)
    assert outcome.summary == f"Write it in {tmp_path.name}"
    assert heard.said == [("progress", 50, "half")]


async def test_a_plain_function_runs_in_a_thread_with_a_blocking_report(
    tmp_path: Path, heard: Heard
) -> None:
    def work(task: dict[str, Any], workspace: Path, report: Any) -> Outcome:
        report.usage(5)
        return Outcome(is_done=True, summary=report.blocker("?"))

    heard.answer.set_result("yes")
    outcome = await PythonExecutor(work).run(TASK, tmp_path, heard)
    assert outcome.summary == "yes"
    assert heard.said[0] == ("usage", 5, 0.0)


async def test_what_a_callable_raises_is_its_failure(tmp_path: Path, heard: Heard) -> None:
    def work(*_: Any) -> str:
        raise ValueError("no idea")

    assert (await PythonExecutor(work).run(TASK, tmp_path, heard)).reason == "ValueError: no idea"


async def test_a_plain_function_tries_fixes_in_its_thread(tmp_path: Path, heard: Heard) -> None:
    heard.fixes = [Fix("make db", "A-bob", "advice")]
    heard.answer.set_result("make db")

    def work(task: dict[str, Any], workspace: Path, report: Any) -> str:
        return str(report.blocker("No database", try_fix=lambda fix: Verdict(worked=bool(fix.by))))

    outcome = await PythonExecutor(work).run(TASK, tmp_path, heard)
    assert outcome.summary == "make db"
    assert ("fixed", True, "") in heard.said
