"""``pm-agent demo``: a real backlog, real agents on Ray, a crash, a blocker, and the proof.

Six managed workers and two remote agents over MCP build a small program in a git repository. Their
work is merged only when the program's tests pass. One worker is killed in the middle; with
``CHAOS=1`` the coordinator too. At the end an independent checker recounts everything from the
journal file and the git log, and only what it confirms is printed.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from pm_agent.cli.audit import verify_journal
from pm_agent.cli.board import status_table
from pm_agent.cli.console import err, out, print_json, refusals
from pm_agent.cli.serve import running_on_ray
from pm_agent.client import Client
from pm_agent.domain.errors import StartError
from pm_agent.features.backlog.view import BlockerView
from pm_agent.settings import Settings

Json = dict[str, Any]

EXAMPLE = Path(__file__).parents[2] / "examples" / "textkit"
CHECKER = Path(__file__).parents[2] / "examples" / "check_demo.py"
# Each skill of the backlog is held by several, so that choices exist and scores matter.
TEAM: tuple[tuple[str, dict[str, int]], ...] = (
    ("ada", {"python": 5, "performance": 4}),
    ("brook", {"python": 3, "testing": 4}),
    ("chen", {"python": 4, "cli": 5}),
    ("dara", {"python": 3, "docs": 5, "packaging": 3}),
    ("elif", {"python": 4, "testing": 3, "performance": 3}),
    ("finn", {"python": 2, "packaging": 5, "cli": 3}),
)
REMOTE: tuple[tuple[str, dict[str, int]], ...] = (
    ("gita", {"python": 4, "testing": 5, "docs": 3, "cli": 4}),
    ("hugo", {"python": 5, "packaging": 4, "performance": 5, "testing": 3}),
)
GIVE_UP_S = 240.0
CRASH_AFTER = 4  # tasks done
CHAOS_AFTER = 9
BLOCKER_ANSWER = "Use a maximum line width of 88 columns."


def demo(
    keep: Annotated[Path | None, typer.Option(help="Keep journal and program here.")] = None,
    chaos: Annotated[bool, typer.Option(envvar="CHAOS", help="Kill the coordinator too.")] = False,
    shuffle_seed: Annotated[
        int | None, typer.Option(envvar="SHUFFLE_SEED", help="Permute backlog and skills.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a backlog to done with agents on Ray, here and now, and prove what happened."""
    with refusals():
        if not EXAMPLE.is_dir():
            message = (
                f"The example {EXAMPLE} is missing: the demo runs from a clone of the project."
            )
            raise StartError(message)
        folder = keep or Path(tempfile.mkdtemp(prefix="pmdemo-"))
        try:
            ok = Demo(folder, chaos=chaos, seed=shuffle_seed, as_json=as_json).run()
        finally:
            if keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(0 if ok else 1)


class Demo:
    """One run, in a folder of its own."""

    def __init__(self, folder: Path, *, chaos: bool, seed: int | None, as_json: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.repository = self.folder / "textkit"
        self.chaos = chaos
        self.as_json = as_json
        self.random = random.Random(seed)
        self.team = shuffled_skills(TEAM, self.random) if seed is not None else TEAM
        self.remote = shuffled_skills(REMOTE, self.random) if seed is not None else REMOTE
        self.backlog: list[Json] = json.loads((EXAMPLE / "backlog.json").read_text())["tasks"]
        if seed is not None:
            self.random.shuffle(self.backlog)
        self.log: list[str] = []
        self._killed: set[int] = set()
        self.began_s = time.monotonic()

    def run(self) -> bool:
        from actors.cluster import free_port

        git(self.folder, sys.executable, str(EXAMPLE / "init_repo.py"), str(self.repository))
        settings = Settings(
            data=self.folder / "data",
            port=free_port(),
            workers=self._write_workers(),
            seed=1,
            database_url=None,  # a demonstration keeps out of the user's own database
        )
        self._say("starting Ray, Serve and HAProxy …")
        with running_on_ray(settings) as hosts:
            secret = settings.admin_token_path.read_text().strip()
            with Client(settings.url, secret, patience_s=60.0) as client:
                finished = self._work(client, settings, hosts)
        return self._prove(settings) and finished

    # -- the run ------------------------------------------------------------------------------

    def _work(self, client: Client, settings: Settings, hosts: list[Any]) -> bool:
        project = client.create_project(
            name="textkit",
            completion="command",
            gate={
                "argv": [sys.executable, str(EXAMPLE / "gate.py")],
                "cwd": str(self.repository),
                "timeout_s": 120,
            },
        ).project_id
        self._say(f"{len(self.team)} managed workers and {len(self.remote)} MCP agents join")
        stop_remote = threading.Event()
        remote = threading.Thread(
            target=self._remote_agents, args=(client, settings, stop_remote), daemon=True
        )
        remote.start()
        self._until(lambda: client.get_status().agents >= len(self.team) + len(self.remote))
        n = client.import_tasks(project, self.backlog).created
        self._say(f"{n} tasks imported; work begins")
        self.began_s = time.monotonic()
        try:
            return self._watch(client, project, settings, hosts)
        finally:
            stop_remote.set()
            remote.join(timeout=10)

    def _watch(self, client: Client, project: str, settings: Settings, hosts: list[Any]) -> bool:
        crashed = chaos_done = False
        is_live = out.is_terminal and not self.as_json
        last_done = -1
        with (
            Live(console=out, refresh_per_second=4, transient=True)
            if is_live
            else _nothing() as live
        ):
            while time.monotonic() - self.began_s < GIVE_UP_S:
                status = client.get_project_status(project)
                done = status.tasks.get("done", 0)
                if live is not None:
                    live.update(Group(status_table(client.get_status()), *self.log[-8:]))
                elif done != last_done:
                    self._say(f"{done}/{len(self.backlog)} tasks done")
                    last_done = done
                for blocker in status.blockers:
                    self._resolve(client, blocker)
                if not crashed and done >= CRASH_AFTER:
                    crashed = self._crash_a_worker(hosts)
                if self.chaos and not chaos_done and done >= CHAOS_AFTER:
                    chaos_done = self._kill_the_coordinator(settings)
                if done == len(self.backlog):
                    self.took_s = time.monotonic() - self.began_s
                    return crashed and (chaos_done or not self.chaos)
                if status.tasks.get("dead_letter", 0):
                    err.print(f"dead letters: {status.dead_letter}")
                    return False
                time.sleep(0.25)
        err.print("the demo ran out of time")
        return False

    def _resolve(self, client: Client, blocker: BlockerView) -> None:
        self._say(f"blocker {blocker.blocker_id}: {blocker.description}")
        client.resolve_blocker(blocker.blocker_id, resolution=BLOCKER_ANSWER)
        self._say(f"resolved: {BLOCKER_ANSWER}")

    def _crash_a_worker(self, hosts: list[Any]) -> bool:
        """SIGKILL the executor of some worker at work; True when an attempt failed by it.

        An executor that has handed its result in already is past hurting: then try again.
        """
        import ray

        workers = {
            actor_id: status
            for handle in hosts
            for actor_id, status in ray.get(handle.status.remote()).items()
            if actor_id.startswith("worker:")
        }
        if any(status["failed"] for status in workers.values()):
            return True
        for actor_id, status in workers.items():
            pid = status["executor_pid"]
            if pid and pid not in self._killed:
                self._killed.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self._say(f"crash: killed the executor of {actor_id} (pid {pid})")
                break
        return False

    def _kill_the_coordinator(self, settings: Settings) -> bool:
        """SIGKILL the coordinator's process; Ray starts it again and it replays its journal."""
        import ray

        from actors import coordinator

        pid = ray.get(coordinator.launch(settings).pid.remote())
        os.kill(pid, signal.SIGKILL)
        self._say(f"chaos: killed the coordinator (pid {pid})")
        return True

    def _remote_agents(self, client: Client, settings: Settings, stop: threading.Event) -> None:
        # With it comes the MCP SDK, which the demo alone needs.
        from pm_agent.cli.demo_agent import run_remote_agents

        secrets = {}
        for name, _ in self.remote:
            owner = {"kind": "agent", "id": f"A-{name}", "role": "worker"}
            secrets[name] = client.issue_token(owner=owner, label="demo").token
        asyncio.run(
            run_remote_agents(
                f"{settings.url}/mcp",
                self.remote,
                secrets,
                argv=(sys.executable, str(EXAMPLE / "worker.py")),
                repository=self.repository,
                folder=self.folder,
                stop=stop,
            )
        )

    # -- the proof ----------------------------------------------------------------------------

    def _prove(self, settings: Settings) -> bool:
        report = asyncio.run(verify_journal(settings))
        checked = subprocess.run(
            [sys.executable, str(CHECKER), str(settings.journal_path), str(self.repository)],
            capture_output=True,
            text=True,
            check=False,
        )
        found: Json = json.loads(checked.stdout or "{}")
        tests = subprocess.run(
            [sys.executable, "-m", "unittest", "discover", "-q"],
            cwd=self.repository,
            capture_output=True,
            text=True,
            check=False,
        )
        n_factors = len(found.get("varying_factors", ()))
        problems = [*report.problems]
        if tests.returncode:
            problems.append(f"the program's own tests fail: {tests.stderr[-500:]}")
        if checked.returncode:
            problems.append(f"the checker disagrees: {checked.stdout}{checked.stderr}")
        if n_factors < N_FACTORS:
            problems.append(f"only {found.get('varying_factors')} vary across candidates")
        if not found.get("failed_attempts"):
            problems.append("the injected crash left no trace")
        if not found.get("blockers"):
            problems.append("no blocker was reported")
        ok = not problems
        took_s = getattr(self, "took_s", time.monotonic() - self.began_s)
        line = (
            f"demo: {found.get('done')}/{found.get('tasks')} tasks done by {found.get('agents')} "
            f"agents in {took_s:.1f} s, {found.get('doubles')} double assignments, "
            f"journal {'verified' if report.is_clean else 'NOT verified'}"
        )
        if self.as_json:
            print_json(
                {
                    "ok": ok,
                    "seconds": round(took_s, 1),
                    "problems": problems,
                    "verify": msgspec.to_builtins(report),
                    "checker": found,
                    "summary": line,
                }
            )
            return ok
        out.print(by_agent_table(found.get("by_agent", {})))
        ran = tests.stderr.strip().splitlines()
        out.print(f"the program's own tests: {ran[-3] if len(ran) > 2 else ran}")  # noqa: PLR2004 - unittest's summary
        for problem in problems:
            err.print(f"[red]problem[/] {problem}", highlight=False)
        out.print(line, highlight=False, soft_wrap=True)
        return ok

    # -- small things -------------------------------------------------------------------------

    def _write_workers(self) -> Path:
        """The workers file that ``pm-agent up --workers`` would take too."""
        entries = []
        for name, skills in self.team:
            entries.append(
                "[[worker]]\n"
                f"name = {json.dumps(name)}\n"
                f"skills = {{ {', '.join(f'{s} = {n}' for s, n in skills.items())} }}\n"
                f"folder = {json.dumps(str(self.folder / 'work' / name))}\n"
                f"repository = {json.dumps(str(self.repository))}\n"
                "[worker.executor]\n"
                'kind = "shell"\n'
                f"argv = {json.dumps([sys.executable, str(EXAMPLE / 'worker.py')])}\n"
            )
        path = self.folder / "workers.toml"
        path.write_text("\n".join(entries))
        return path

    def _until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while not is_so():
            if time.monotonic() > deadline:
                message = "The agents did not register in time."
                raise StartError(message)
            time.sleep(0.2)

    def _say(self, text: str) -> None:
        line = f"[dim]{time.monotonic() - self.began_s:6.1f} s[/]  {text}"
        self.log.append(line)
        if not self.as_json:
            out.print(line, highlight=False)


N_FACTORS = 6


class _nothing:  # noqa: N801 - stands where a context manager does
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def shuffled_skills(
    team: tuple[tuple[str, dict[str, int]], ...], rng: random.Random
) -> tuple[tuple[str, dict[str, int]], ...]:
    """The same skill sets, held by other members."""
    skills = [held for _, held in team]
    rng.shuffle(skills)
    return tuple((name, held) for (name, _), held in zip(team, skills, strict=True))


def by_agent_table(by_agent: Json) -> Table:
    """One row an agent: assigned, done, and attempts that ended otherwise."""
    table = Table(box=None, pad_edge=False)
    for column in ("agent", "assigned", "done", "failed"):
        table.add_column(column, justify="left" if column == "agent" else "right")
    for agent, counts in by_agent.items():
        cells = (counts.get(c, 0) for c in ("assigned", "done", "lost"))
        table.add_row(agent, *map(str, cells))
    return table


def git(cwd: Path, *argv: str) -> None:
    """Run one of the example's programs; its output is shown only when it fails."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{argv[1]} failed: {done.stderr[-500:]}"
        raise StartError(message)
