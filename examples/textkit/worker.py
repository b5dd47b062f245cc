"""The program that a demo worker runs on every task: ``python examples/textkit/worker.py``.

It stands in for a coding agent. It reads the task as a line of JSON on standard input, writes that
task's code and tests into the present folder in small steps, runs the tests, and tells about it in
lines of JSON on standard output. What it writes lies ready in ``solutions/``; everything else is
real: files, tests, commits, a question that has to be answered.

Environment: ``TEXTKIT_PACE`` scales its pauses (1: about a second a task; 0: none).
``TEXTKIT_FLAW`` names a task whose first attempt hands in broken work, for the gate to find.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SOLUTIONS = Path(__file__).resolve().parent / "solutions"
PIECE_LINES = 25  # written at once
PAUSES_S = (0.03, 0.12)  # between pieces
TESTS_S = 60
COST_USD_PER_TOKEN = 3e-6

DECISIONS = {
    "errors": "All refusals are TextkitError, a ValueError, so callers need to know one name.",
    "tokenizer": "An apostrophe or hyphen inside a word belongs to it: don't is one word.",
    "normalize": "Folding decomposes with NFKD first, so that accents and ligatures compare equal.",
    "registry": "Commands are found by looking into textkit/commands; no list has to be edited.",
    "fast_distance": "A band of the table suffices: cells far from the diagonal pass the limit.",
    "markdown_table": "Widths are counted in terminal columns, not in characters.",
    "caesar_break": "Chi-squared distance rather than the most frequent letter: short texts work.",
}
ARTIFACTS = {
    "tokenizer": "textkit/tokens.py",
    "word_counts": "textkit/counts.py",
    "markdown_table": "textkit/tables.py",
    "cli": "textkit/cli.py",
    "readme": "README.md",
    "packaging": "pyproject.toml",
}
# The wrapping task cannot be finished without an answer that only a person can give.
QUESTIONS = (
    "What is the maximum line width? It becomes DEFAULT_WIDTH in textkit/wrapping.py.",
    "I need the maximum line width as a plain number of columns from 20 to 200. What is it?",
)
WIDTHS = range(20, 201)


def main() -> int:
    """Do one task."""
    task = json.loads(sys.stdin.readline())
    key = str(task.get("key", ""))
    known = {folder.name: folder for folder in SOLUTIONS.iterdir() if folder.is_dir()}
    if key not in known:  # the key is looked up, never used as a path
        print(f"There is no solution for the task {key!r}.", file=sys.stderr)
        return 1
    return Work(key, known[key], task).do()


class Work:
    """One task being done."""

    def __init__(self, key: str, solution: Path, task: dict[str, Any]) -> None:
        self.key = key
        self.files = {
            str(path.relative_to(solution)): path.read_text(encoding="utf-8")
            for path in sorted(solution.rglob("*"))
            if path.is_file() and path.suffix != ".pyc"
        }
        self.is_flawed = (
            os.environ.get("TEXTKIT_FLAW") == key and int(task.get("attempt") or 1) == 1
        )
        self.chance = random.Random(f"{key} {task.get('attempt')}")
        self.pace = float(os.environ.get("TEXTKIT_PACE", "1"))
        self.n_tokens = 0

    def do(self) -> int:
        """Write, test and report; return the exit code."""
        say("progress", percent=5, note=f"Read the task; {len(self.files)} files to write.")
        self.pause()
        if self.key == "wrap":
            self.fill_in_width()
        if self.is_flawed:
            name = next(name for name in self.files if not name.startswith("tests/"))
            self.files[name] += "\nassert False, 'left unfinished'\n"
        self.write()
        if self.key in DECISIONS:
            say("decision", text=DECISIONS[self.key])
        n_tests = self.test() if not self.is_flawed else 0
        if n_tests is None:
            return 1
        if self.key in ARTIFACTS:
            say("artifact", name=self.key, uri=ARTIFACTS[self.key], note="Ready to build on.")
        self.use(self.chance.randint(300, 900))
        names = ", ".join(self.files)
        say("result", summary=f"Wrote {names}; {n_tests} tests pass.", evidence={"links": []})
        return 0

    def fill_in_width(self) -> None:
        """Ask for the width until the answer is a number, and put it into the code."""
        for question in QUESTIONS:
            width = width_in(ask(question))
            if width is not None:
                code = self.files["textkit/wrapping.py"]
                self.files["textkit/wrapping.py"] = code.replace(
                    "DEFAULT_WIDTH = 0", f"DEFAULT_WIDTH = {width}"
                )
                say("decision", text=f"Lines are at most {width} columns wide, as answered.")
                return
        sys.exit("No answer names a width that can be used.")

    def write(self) -> None:
        """Write the files piece by piece."""
        pieces = []
        for name, text in self.files.items():
            lines = text.splitlines(keepends=True)
            starts = range(0, len(lines), PIECE_LINES)
            pieces += [
                (name, start, "".join(lines[start : start + PIECE_LINES])) for start in starts
            ]
        for number, (name, start, piece) in enumerate(pieces, 1):
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if start else "w", encoding="utf-8") as file:
                file.write(piece)
            self.use(len(piece) // 3 + self.chance.randint(100, 400))
            percent = 10 + 60 * number // len(pieces)
            say("progress", percent=percent, note=f"Writing {name}, from line {start + 1}.")
            self.pause()

    def test(self) -> int | None:
        """Run this task's own tests; return how many passed, or None after a failure."""
        modules = [n[:-3].replace("/", ".") for n in self.files if n.startswith("tests/")]
        say("progress", percent=80, note=f"Running {', '.join(modules)}.")
        done = subprocess.run(
            [sys.executable, "-m", "unittest", *modules],
            capture_output=True,
            text=True,
            timeout=TESTS_S,
            check=False,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        if done.returncode != 0:
            print(done.stderr[-3000:], file=sys.stderr)
            return None
        found = re.search(r"^Ran (\d+) test", done.stderr, re.MULTILINE)
        n_tests = int(found[1]) if found else 0
        say("progress", percent=95, note=f"{n_tests} tests pass.")
        self.pause()
        return n_tests

    def pause(self) -> None:
        time.sleep(self.pace * self.chance.uniform(*PAUSES_S))

    def use(self, tokens: int) -> None:
        """Report tokens as a coding agent would have used them."""
        say("usage", tokens=tokens, cost_usd=round(tokens * COST_USD_PER_TOKEN, 6))


def say(kind: str, **fields: object) -> None:
    """Print a line of JSON."""
    print(json.dumps({"type": kind, **fields}), flush=True)


def ask(question: str) -> str:
    """Report a blocker and wait for its resolution; judge what is offered until then."""
    say("blocker", description=question, severity="medium", tries_fixes=True)
    while line := sys.stdin.readline():
        told = json.loads(line)
        if told["type"] == "resolution":
            return str(told["text"])
        has_helped = "columns" in told["text"] and width_in(told["text"]) is not None
        say("fixed", worked=has_helped, note="" if has_helped else "It names no width.")
    return ""


def width_in(text: str) -> int | None:
    """The width that a text names, if it can be used."""
    found = re.search(r"\d+", text)
    return int(found[0]) if found and int(found[0]) in WIDTHS else None


if __name__ == "__main__":
    sys.exit(main())
