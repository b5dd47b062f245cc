"""Shows a page in a real browser: what it looks like, and where its parts lie."""

import html
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import msgspec
import numpy as np
from numpy.typing import NDArray

FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may be run by root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_S = 60


class Rect(msgspec.Struct, frozen=True):
    """Part of a page, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: "Rect") -> bool:
        inside_x = self.left <= other.left and other.right <= self.right
        return inside_x and self.top <= other.top and other.bottom <= self.bottom

    def meets(self, other: "Rect") -> bool:
        meets_x = self.left < other.right and other.left < self.right
        return meets_x and self.top < other.bottom and other.top < self.bottom


class Chromium:
    """A browser for pages in files; each call is a process of its own.

    Parameters
    ----------
    folder
        For its profile, and for what it makes.
    size
        Width and height of its window.
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        program = shutil.which("chromium")
        assert program, "there is no chromium: make test-services installs it"
        self._folder = folder
        width, height = size
        self._command = [
            program,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},{height}",
        ]

    def screenshot(self, page: Path) -> NDArray[np.uint8]:
        """Red, green and blue of every pixel."""  # (height, width, 3)
        picture = self._folder / "screenshot.png"
        self._run(f"--screenshot={picture}", page.as_uri())
        pixels = np.asarray(matplotlib.image.imread(picture))[:, :, :3]
        return np.round(pixels * 255).astype(np.uint8)

    def evaluate(self, page: Path, expression: str) -> Any:
        """Value of a JavaScript expression in the loaded page."""
        script = (
            "<script>addEventListener('load', () => {"
            "const told = document.createElement('output'); told.id = 'told';"
            f"told.textContent = JSON.stringify({expression}); document.body.append(told)"
            "})</script>"
        )
        asked = self._folder / "asked.html"
        asked.write_text(page.read_text() + script)
        shown = self._run("--dump-dom", asked.as_uri())
        told = shown.rpartition('<output id="told">')[2].partition("</output>")[0]
        return msgspec.json.decode(html.unescape(told))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, timeout=WAIT_S, check=True
        )
        return done.stdout
