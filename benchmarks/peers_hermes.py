"""A rival, if it is installed: the kanban board of the PyPI package ``hermes-agent``.

Claims through its own Python API on one SQLite file, as its workers do: each client is a process
that lists the first twenty ready tasks and claims one; after a lost race it tries the next. No
HTTP, authentication, skills or scoring between. The package is no dependency of ours, so usually
this is reported as not installed.
"""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.lifecycles import Run

CLIENTS = (1, 20)
BACKLOG = 1_000  # each is a transaction of its own; a claim costs the same among 10,000
LISTED = 20
DATABASE = "HERMES_KANBAN_DB"


def missing() -> str:
    """Say why it cannot run; empty when it can."""
    return "" if find_spec("hermes_cli") else "hermes-agent is not installed"


def measure(folder: Path, clients: int, seconds: float) -> Run:
    """Claim from a fresh board with a number of processes."""
    home = folder / f"hermes-{clients}"
    home.mkdir()
    environment = {**os.environ, DATABASE: str(home / "kanban.db"), "HERMES_HOME": str(home)}
    environment["HERMES_KANBAN_HOME"] = str(home)
    argv = [sys.executable, "-m", "benchmarks.peers_hermes"]
    subprocess.run([*argv, "fill"], env=environment, check=True)
    start_s = time.time() + 2.0 + 0.5 * clients  # when all of them have imported it
    claim = [*argv, "claim", str(start_s), str(seconds)]
    children = [
        subprocess.Popen(claim, env=environment, stdout=subprocess.PIPE) for _ in range(clients)
    ]
    claims: list[tuple[float, float]] = []  # when asked, seconds taken
    for child in children:
        output, _ = child.communicate()
        claims += msgspec.json.decode(output.splitlines()[-1], type=list[tuple[float, float]])
    # The last claims end after the window: they count, and so does the time they took.
    elapsed_s = max((asked_s + taken_s - start_s for asked_s, taken_s in claims), default=seconds)
    return Run(len(claims), elapsed_s, [taken_s for _, taken_s in claims])


def _fill(kanban: Any) -> None:
    connection = kanban.connect()
    for index in range(BACKLOG):
        kanban.create_task(connection, title=f"Task {index}", assignee="worker", priority=index % 4)


def _claim(kanban: Any, start_s: float, seconds: float) -> list[tuple[float, float]]:
    connection = kanban.connect()
    claimer = f"benchmark:{os.getpid()}"
    claims: list[tuple[float, float]] = []
    time.sleep(max(0.0, start_s - time.time()))
    while (asked := time.time()) < start_s + seconds:
        ready = kanban.list_tasks(connection, status="ready", limit=LISTED)
        if not ready:
            break
        for task in ready:
            if kanban.claim_task(connection, task.id, claimer=claimer) is not None:
                claims.append((asked, time.time() - asked))
                break
    return claims


def main() -> None:
    """One process of the rival: ``fill``, or ``claim START SECONDS``."""
    from hermes_cli import kanban_db  # type: ignore[import-not-found]  # noqa: PLC0415 - optional

    if sys.argv[1] == "fill":
        _fill(kanban_db)
        return
    claims = _claim(kanban_db, float(sys.argv[2]), float(sys.argv[3]))
    sys.stdout.write(msgspec.json.encode(claims).decode() + "\n")


if __name__ == "__main__":
    main()
