import asyncio
import subprocess
from pathlib import Path

import pytest

from pm_agent.runtime.worktree import GitError, Worktree, branch_of


def git(folder: Path, *arguments: str) -> str:
    argv = ["git", "-c", "user.name=T", "-c", "user.email=t@example.invalid", *arguments]
    done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "a.txt").write_text("a\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


async def test_work_is_committed_on_a_branch_of_its_lease(tmp_path: Path, repository: Path) -> None:
    worktree = Worktree(tmp_path / "w", repository, author="Ada <x>\n")
    folder = await worktree.prepare("T-7", 3)
    (folder / "b.txt").write_text("b\n")
    done = await worktree.commit("T-7", 3, "--amend; $(rm)\nsecond line")
    assert done.branch == "task/T-7/a3"
    assert git(repository, "rev-parse", done.branch) == done.commit
    assert git(repository, "log", "-1", "--format=%s|%an", done.commit) == (
        "T-7: --amend; $(rm) second line|Ada x"
    )
    assert git(repository, "show", "--name-only", "--format=", done.commit) == "b.txt"
    assert (repository / "a.txt").exists()
    assert not (repository / "b.txt").exists()


async def test_the_next_task_starts_clean_from_the_main_branch(
    tmp_path: Path, repository: Path
) -> None:
    worktree = Worktree(tmp_path / "w", repository)
    folder = await worktree.prepare("T-1", 1)
    (folder / "a.txt").write_text("changed\n")
    (folder / "left.txt").write_text("left\n")
    await worktree.prepare("T-2", 1)
    assert (folder / "a.txt").read_text() == "a\n"
    assert not (folder / "left.txt").exists()


async def test_a_task_without_changes_ends_where_it_began(tmp_path: Path, repository: Path) -> None:
    worktree = Worktree(tmp_path / "w", repository)
    await worktree.prepare("T-1", 1)
    done = await worktree.commit("T-1", 1, "nothing")
    assert done.commit == git(repository, "rev-parse", "main")


async def test_the_same_lease_can_be_prepared_again(tmp_path: Path, repository: Path) -> None:
    for _ in range(2):
        await Worktree(tmp_path / "w", repository).prepare("T-1", 1)


async def test_two_workers_have_places_of_their_own(tmp_path: Path, repository: Path) -> None:
    one, two = Worktree(tmp_path / "1", repository), Worktree(tmp_path / "2", repository)
    (await one.prepare("T-1", 1) / "x").write_text("1")
    assert not (await two.prepare("T-2", 1) / "x").exists()
    await one.remove()
    assert not (tmp_path / "1").exists()


async def test_many_workers_may_begin_at_the_same_moment(tmp_path: Path, repository: Path) -> None:
    worktrees = [Worktree(tmp_path / str(n), repository) for n in range(6)]
    async with asyncio.TaskGroup() as group:
        for n, worktree in enumerate(worktrees):
            group.create_task(worktree.prepare(f"T-{n}", 1))


async def test_work_starts_from_one_state_though_main_moves_meanwhile(
    tmp_path: Path, repository: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "b.txt").write_text("b\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=second")
    second = git(repository, "rev-parse", "HEAD")
    worktree = Worktree(tmp_path / "w", repository)
    moves = (
        f"while :; do for c in {first} {second}; do git update-ref refs/heads/main $c; done; done"
    )
    mover = await asyncio.create_subprocess_exec("sh", "-c", moves, cwd=repository)
    try:
        for attempt in range(1, 16):
            folder = await worktree.prepare("T-1", attempt)
            assert git(folder, "status", "--porcelain") == ""
    finally:
        mover.kill()
        await mover.wait()


async def test_git_variables_of_this_process_do_not_reach_it(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    folder = await Worktree(tmp_path / "w", repository).prepare("T-1", 1)
    assert (folder / "a.txt").exists()


async def test_without_a_repository_it_is_a_plain_folder(tmp_path: Path) -> None:
    worktree = Worktree(tmp_path / "plain", None)
    folder = await worktree.prepare("T-1", 1)
    (folder / "kept").write_text("x")
    assert await worktree.commit("T-1", 1, "done") == ("", "")
    await worktree.prepare("T-2", 1)
    assert (folder / "kept").exists()


async def test_a_folder_that_is_no_repository_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pm_agent.runtime.worktree.PAUSE_S", 0.001)
    with pytest.raises(GitError):
        await Worktree(tmp_path / "w", tmp_path).prepare("T-1", 1)


@pytest.mark.parametrize("task_id", ["--help", "T-1 x", "T-", "T-1/../..", "t-1", "T-1\n"])
def test_what_is_no_task_id_names_no_branch(task_id: str) -> None:
    with pytest.raises(ValueError, match="task's id"):
        branch_of(task_id, 1)


def test_an_option_is_no_main_branch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="main branch"):
        Worktree(tmp_path, None, main="--orphan")
