"""Pad texts to a width as a terminal shows it, where wide characters take two columns."""

import unicodedata


def display_width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def pad(text: str, width: int, side: str = "left") -> str:
    """Text with spaces up to a width, aligned ``left``, ``right`` or ``center``."""
    missing = max(0, width - display_width(text))
    if side == "right":
        return " " * missing + text
    if side == "center":
        return " " * (missing // 2) + text + " " * (missing - missing // 2)
    return text + " " * missing
