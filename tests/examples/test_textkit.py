import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pm_agent.adapters.gates_command import CommandGate
from pm_agent.domain.project import Gate
from pm_agent.ports import GateRequest, GateVerdict
from pm_agent.runtime.executors import Fix, Outcome, ShellExecutor, TryFix, Verdict
from pm_agent.runtime.worktree import Committed, Worktree

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "textkit"
BACKLOG = json.loads((EXAMPLE / "backlog.json").read_text(encoding="utf-8"))
TASKS: dict[str, dict[str, Any]] = {task["key"]: task for task in BACKLOG["tasks"]}
WIDTH = 72


class Notes:
    """A report that keeps what it hears and answers questions."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = answers
        self.percents: list[int] = []
        self.questions: list[str] = []
        self.decisions: list[str] = []
        self.artifacts: list[str] = []
        self.tokens = 0

    async def progress(self, percent: int, note: str = "") -> None:
        self.percents.append(percent)

    async def decision(self, text: str) -> None:
        self.decisions.append(text)

    async def artifact(self, name: str, uri: str, note: str = "") -> None:
        self.artifacts.append(uri)

    async def usage(self, tokens: int, cost_usd: float = 0.0) -> None:
        self.tokens += tokens

    async def blocker(
        self,
        description: str,
        severity: str = "medium",
        try_fix: TryFix | None = None,
        blocker_type: str = "other",
    ) -> str:
        assert try_fix is not None
        verdict = await try_fix(Fix("Look at what changed last.", "rules", "not tried yet"))
        assert verdict == Verdict(worked=False, note="It names no width.")
        self.questions.append(description)
        return self.answers.pop(0)


class Bench:
    """A repository, one worker's worktree and the gate; no server."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.repository = folder / "textkit"
        subprocess.run(
            [sys.executable, str(EXAMPLE / "init_repo.py"), str(self.repository)],
            check=True,
            capture_output=True,
        )
        self.worktree = Worktree(folder / "worker", self.repository, author="Ada")
        self.notes = Notes(["As wide as you like.", f"{WIDTH} columns"])
        environment = {"PATH": os.environ["PATH"], "TEXTKIT_PACE": "0", **env}
        self.executor = ShellExecutor(
            (sys.executable, str(EXAMPLE / "worker.py")), environment, timeout_s=60
        )
        self.gate = Gate(
            argv=(sys.executable, str(EXAMPLE / "gate.py")), cwd=str(self.repository), timeout_s=60
        )

    async def do(self, key: str, number: int, attempt: int = 1) -> tuple[Outcome, Committed]:
        task_id = f"T-{number}"
        folder = await self.worktree.prepare(task_id, attempt)
        task = {**TASKS[key], "task_id": task_id, "attempt": attempt}
        outcome = await self.executor.run(task, folder, self.notes)
        return outcome, await self.worktree.commit(task_id, attempt, outcome.summary)

    async def judge(self, commit: str) -> GateVerdict:
        request = GateRequest(
            effect_id="RunGate:1",
            task_id="T-1",
            attempt=1,
            lease_token=1,
            agent_id="A-ada",
            commit=commit,
            branch="",
            links=(),
        )
        return await CommandGate().run(self.gate, request)

    def git(self, *arguments: str) -> str:
        return run(["git", *arguments], self.repository)


def run(argv: list[str], cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def in_order() -> list[str]:
    done: list[str] = []
    while len(done) < len(TASKS):
        ready = [k for k, t in TASKS.items() if k not in done and {*t["dependencies"]} <= {*done}]
        assert ready, "the dependencies form a cycle"
        done += ready
    return done


async def test_every_task_in_order_builds_a_program_that_works(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number, key in enumerate(in_order(), 1):
        bench.notes.percents.clear()
        outcome, committed = await bench.do(key, number)
        assert outcome.is_done, f"{key}: {outcome.reason}\n{outcome.tail}"
        assert bench.notes.percents == sorted(bench.notes.percents)
        verdict = await bench.judge(committed.commit)
        assert verdict.passed, f"{key}: {verdict.reasons}\n{verdict.report}"
    assert len(bench.notes.questions) == 2  # the first answer named no number
    assert bench.notes.tokens > 20_000
    assert bench.notes.decisions
    assert bench.notes.artifacts
    assert f"DEFAULT_WIDTH = {WIDTH}" in (bench.repository / "textkit/wrapping.py").read_text()
    made = run([sys.executable, "-m", "textkit", "roman", "2026"], bench.repository)
    assert made == "MMXXVI"
    assert bench.git("status", "--porcelain") == ""


async def test_broken_work_is_rejected_and_main_stays_where_it_was(tmp_path: Path) -> None:
    bench = Bench(tmp_path, TEXTKIT_FLAW="errors")
    before = bench.git("rev-parse", "main")
    outcome, committed = await bench.do("errors", 1)
    assert outcome.is_done
    verdict = await bench.judge(committed.commit)
    assert not verdict.passed
    assert "left unfinished" in verdict.report
    assert bench.git("rev-parse", "main") == before
    outcome, committed = await bench.do("errors", 1, attempt=2)
    assert (await bench.judge(committed.commit)).passed


async def test_the_gate_gives_the_same_answer_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    _, committed = await bench.do("errors", 1)
    verdicts = await asyncio.gather(*(bench.judge(committed.commit) for _ in range(3)))
    assert all(verdict.passed for verdict in verdicts)
    assert len(bench.git("rev-list", "--merges", "main").split()) == 1


async def test_a_conflict_is_rejected_with_the_files_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    _, first = await bench.do("errors", 1)
    folder = await bench.worktree.prepare("T-2", 1)
    (folder / "textkit/errors.py").write_text("something = 'else'\n")
    second = await bench.worktree.commit("T-2", 1, "Another one")
    assert (await bench.judge(first.commit)).passed
    verdict = await bench.judge(second.commit)
    assert not verdict.passed
    assert "textkit/errors.py" in verdict.report
    assert bench.git("status", "--porcelain") == ""


async def test_work_that_takes_tests_away_is_rejected(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    _, first = await bench.do("errors", 1)
    assert (await bench.judge(first.commit)).passed
    folder = await bench.worktree.prepare("T-2", 1)
    (folder / "tests/test_errors.py").unlink()
    second = await bench.worktree.commit("T-2", 1, "Tidy up")
    verdict = await bench.judge(second.commit)
    assert not verdict.passed
    assert "tests/test_errors.py" in verdict.report


async def test_a_commit_without_work_is_rejected(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.worktree.prepare("T-1", 1)
    committed = await bench.worktree.commit("T-1", 1, "Nothing done")
    verdict = await bench.judge(committed.commit)
    assert not verdict.passed
    assert "holds no work" in verdict.report


@pytest.mark.parametrize("commit", ["", "main", "--help", "0" * 40])
async def test_evidence_that_is_no_commit_is_rejected(tmp_path: Path, commit: str) -> None:
    assert not (await Bench(tmp_path).judge(commit)).passed


def test_the_backlog_is_a_graph_with_a_long_chain_and_a_solution_for_every_task() -> None:
    depth: dict[str, int] = {}
    for key in in_order():
        depth[key] = 1 + max((depth[d] for d in TASKS[key]["dependencies"]), default=0)
    assert max(depth.values()) >= 7
    folders = {p.name for p in (EXAMPLE / "solutions").iterdir() if p.is_dir()}
    assert folders == set(TASKS)


def test_every_file_is_written_by_one_task_only() -> None:
    solutions = EXAMPLE / "solutions"
    names = [
        str(path.relative_to(solutions / key))
        for key in TASKS
        for path in (solutions / key).rglob("*.*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    assert len(names) == len(set(names))
