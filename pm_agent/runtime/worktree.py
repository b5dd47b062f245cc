"""A managed worker's own place to work: a git worktree, or a plain folder without a repository.

Every git command is a fixed list of arguments. What comes from a task is its number alone, and that
is checked; texts such as a summary go in on standard input.
"""

import asyncio
import os
import random
import re
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import NamedTuple

GIT_S = 120.0  # for one git command; a large checkout takes tens of seconds
LONGEST_SUBJECT = 100
# While one worktree is being added, git commands in another may find it half made and fail
# ("failed to read commondir", git 2.39); a moment later they succeed.
N_TRIES = 5
PAUSE_S = 0.2

_TASK_ID = re.compile(r"T-[0-9]{1,12}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,100}")


class GitError(Exception):
    """A git command failed."""


class Committed(NamedTuple):
    """Where committed work is."""

    commit: str  # hash; empty in a plain folder
    branch: str


class Worktree:
    """The folder of one worker; it does one task at a time.

    Parameters
    ----------
    folder
        Where the work happens. Made when needed; files not committed are lost with every new task.
    repository
        To which the worktree belongs; None for a plain folder, which is left as it is.
    main
        Branch from which work starts.
    author
        Name on the commits.
    """

    def __init__(
        self, folder: Path, repository: Path | None, *, main: str = "main", author: str = "worker"
    ) -> None:
        if not _BRANCH.fullmatch(main):
            raise ValueError(f"{main!r} cannot be the name of a main branch.")
        self.folder = folder
        self._repository = repository
        self._main = f"refs/heads/{main}"
        self._author = re.sub(r"[^\w .-]", "", author).strip() or "worker"

    async def prepare(self, task_id: str, lease_token: int) -> Path:
        """Start a task: a clean checkout of the main branch on a branch of the attempt's own.

        Raises
        ------
        GitError
        ValueError
            The task's id is not one.
        """
        branch = branch_of(task_id, lease_token)
        if self._repository is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.folder
        for n_failures in range(N_TRIES):
            try:
                await self._check_out(self._repository, branch)
            except GitError:
                if n_failures == N_TRIES - 1:
                    raise
                await asyncio.sleep(random.uniform(0, PAUSE_S * 2**n_failures))
            else:
                break
        return self.folder

    async def _check_out(self, repository: Path, branch: str) -> None:
        if not (self.folder / ".git").exists():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            await self._git(
                repository,
                *("worktree", "add", "--force", "--detach", "--", str(self.folder), self._main),
            )
        await self._git(self.folder, "reset", "--quiet", "--hard")
        await self._git(self.folder, "clean", "--quiet", "-ffdx")
        # By its hash: given a branch that moves meanwhile, checkout fills the folder from its old
        # place and starts the new branch at the new one (git 2.39), and the next commit undoes all
        # that lies between.
        start = await self._git(repository, "rev-parse", "--verify", f"{self._main}^{{commit}}")
        await self._git(self.folder, "checkout", "--quiet", "--no-track", "-B", branch, start, "--")

    async def commit(self, task_id: str, lease_token: int, summary: str) -> Committed:
        """Commit all changes and return where they are; without changes that is where it began.

        Raises
        ------
        GitError
        """
        branch = branch_of(task_id, lease_token)
        if self._repository is None:
            return Committed("", "")
        await self._git(self.folder, "add", "--all")
        if await self._git(self.folder, "status", "--porcelain"):
            subject = " ".join(summary.split())[:LONGEST_SUBJECT]
            await self._git(
                self.folder,
                *("commit", "--quiet", "--no-verify", "--no-gpg-sign", "--file=-"),
                stdin=f"{task_id}: {subject}\n",
            )
        return Committed(await self._git(self.folder, "rev-parse", "HEAD"), branch)

    async def remove(self) -> None:
        """Take the worktree away; its branches stay."""
        if self._repository is not None and self.folder.exists():
            await self._git(
                self._repository, "worktree", "remove", "--force", "--", str(self.folder)
            )

    async def _git(self, cwd: Path, *arguments: str, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            "git",
            *("-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null"),
            *arguments,
            cwd=cwd,
            env=self._environment(),
            # Without input no pipe: uvloop fails when git ends before the pipe is closed.
            stdin=PIPE if stdin else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            async with asyncio.timeout(GIT_S):
                printed, errors = await process.communicate(stdin.encode() or None)
        except BaseException:  # a timeout or a cancelled task: leave no git behind
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode != 0:
            raise GitError(f"git {arguments[0]} failed: {errors.decode(errors='replace').strip()}")
        return printed.decode(errors="replace").strip()

    def _environment(self) -> dict[str, str]:
        """Return this process's variables without those that point git at another repository."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        email = "worker@pm-agent.invalid"
        return kept | {
            "GIT_AUTHOR_NAME": self._author,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": self._author,
            "GIT_COMMITTER_EMAIL": email,
            "GIT_TERMINAL_PROMPT": "0",
        }


def branch_of(task_id: str, lease_token: int) -> str:
    """``task/T-142/a3``: one branch for every lease of a task.

    Raises
    ------
    ValueError
        The task's id is not of the form ``T-142``.
    """
    if not _TASK_ID.fullmatch(task_id):
        raise ValueError(f"{task_id!r} is not a task's id.")
    return f"task/{task_id}/a{int(lease_token)}"
