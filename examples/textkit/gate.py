"""The project's gate: merge a submitted commit, run all tests, and move ``main`` if they pass.

Runs in textkit's repository, with a description of the work as JSON on standard input. The merge
happens in a worktree of the gate's own, so ``main`` never holds a commit whose tests failed: a gate
that dies half-way has changed nothing. Exit code 0 accepts; everything else rejects, with reasons
on standard output. Judging the same commit again gives the same answer.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

GIT_S = 120
TESTS_S = 300
N_TRIES, PAUSE_S = 4, 0.2
SHOWN = 4000  # characters of a failed test run
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Rejected(Exception):
    """The work is not accepted, for this reason."""


def main() -> int:
    """Judge one submission."""
    try:
        commit = str(json.loads(sys.stdin.read())["commit"])
        print(judge(Path.cwd(), commit))
    except Rejected as reason:
        print(f"REJECTED: {reason}")
        return 1
    return 0


def judge(repository: Path, commit: str) -> str:
    """Merge a commit into ``main`` if all tests pass on the result.

    Raises
    ------
    Rejected
    """
    if not _COMMIT.fullmatch(commit):
        raise Rejected(f"The evidence names no commit: {commit!r}. Hand in the commit's hash.")
    own = Path(git(repository, "rev-parse", "--absolute-git-dir"))
    with (own / "textkit-gate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when this process ends, however it ends
        return _judge_alone(repository, own / "textkit-gate", commit)


def _judge_alone(repository: Path, place: Path, commit: str) -> str:
    if not succeeds(repository, "cat-file", "-e", f"{commit}^{{commit}}"):
        raise Rejected(f"Commit {commit} is not in the repository.")
    if commit in git(repository, "rev-list", "--first-parent", "refs/heads/main").split():
        raise Rejected("The commit holds no work: it is a state of main itself.")
    if succeeds(repository, "merge-base", "--is-ancestor", commit, "refs/heads/main"):
        return f"{commit} is part of main already."
    if not (place / ".git").exists():
        git(repository, "worktree", "add", "--force", "--detach", "--", str(place), "main")
    git(place, "reset", "--quiet", "--hard")
    git(place, "clean", "--quiet", "-ffdx")
    git(place, "checkout", "--quiet", "--detach", "refs/heads/main")
    if not succeeds(place, "merge", "--quiet", "--no-edit", "--no-ff", commit):
        conflicts = git(place, "diff", "--name-only", "--diff-filter=U").split()
        succeeds(place, "merge", "--abort")
        raise Rejected(f"It does not merge with main; conflicts in {', '.join(conflicts)}.")
    gone = git(place, "diff", "--name-only", "--diff-filter=D", "refs/heads/main", "--", "tests")
    if gone:
        raise Rejected(f"It takes tests away: {', '.join(gone.split())}.")
    n_tests = run_tests(place)
    merged = git(place, "rev-parse", "HEAD")
    git(repository, "merge", "--quiet", "--ff-only", merged)
    return f"{n_tests} tests pass on the merge; main is {merged}."


def run_tests(folder: Path) -> int:
    """Run all tests and return their number.

    Raises
    ------
    Rejected
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", "."],
            cwd=folder,
            env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=TESTS_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Rejected(f"The tests take longer than {TESTS_S} s.") from None
    found = re.search(r"^Ran (\d+) test", done.stderr, re.MULTILINE)
    n_tests = int(found[1]) if found else 0
    if done.returncode != 0 or n_tests == 0:
        raise Rejected(f"Tests fail after merging with main:\n{done.stderr[-SHOWN:]}")
    return n_tests


def git(folder: Path, *arguments: str) -> str:
    """Run git and return what it printed; every command given here may be repeated.

    Raises
    ------
    Rejected
        It failed.
    """
    for n_failures in range(N_TRIES):
        # Git may fail for a moment while a worker adds its worktree.
        time.sleep(PAUSE_S * n_failures)
        done = _git(folder, arguments)
        if done.returncode == 0:
            return done.stdout.strip()
    raise Rejected(f"git {arguments[0]} failed: {done.stderr.strip()}")


def succeeds(folder: Path, *arguments: str) -> bool:
    """Whether git exits with 0."""
    return _git(folder, arguments).returncode == 0


def environment() -> dict[str, str]:
    """Return the variables without those that point git at another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def _git(folder: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    who = ("-c", "user.name=Gate", "-c", "user.email=gate@example.invalid")
    quiet = ("-c", "commit.gpgsign=false", "-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null")
    return subprocess.run(
        ["git", *who, *quiet, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=GIT_S,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
