"""Make the repository in which textkit is built: an empty package and one commit on ``main``.

python examples/textkit/init_repo.py FOLDER
"""

import os
import subprocess
import sys
from pathlib import Path

EMPTY = ("textkit/__init__.py", "textkit/commands/__init__.py", "tests/__init__.py")


def init_repo(folder: Path) -> str:
    """Make the repository and return its first commit; a folder that is one already stays."""
    if not (folder / ".git").exists():
        for name in EMPTY:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (folder / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
        _git(folder, "init", "--quiet", "--initial-branch=main")
        _git(folder, "config", "user.name", "Textkit")
        _git(folder, "config", "user.email", "textkit@example.invalid")
        _git(folder, "config", "commit.gpgsign", "false")
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", "--message=An empty package")
    return _git(folder, "rev-parse", "main")


def _git(folder: Path, *arguments: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=kept, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    print(init_repo(Path(sys.argv[1])))
