"""Numbered headings and a table of contents for Markdown."""

import re

from textkit.roman import to_roman
from textkit.slugs import slugify

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)


def headings(text: str) -> list[tuple[int, str]]:
    """Level and title of each heading."""
    return [(len(marks), title) for marks, title in _HEADING.findall(text)]


def contents(text: str) -> str:
    """A list with links; headings of the first level get Roman numbers."""
    lines = []
    chapter = 0
    for level, title in headings(text):
        number = ""
        if level == 1:
            chapter += 1
            number = f"{to_roman(chapter)}. "
        lines.append(f"{'  ' * (level - 1)}- {number}[{title}](#{slugify(title)})")
    return "\n".join(lines)
