"""Wrap paragraphs to a width."""

from textkit.errors import require

DEFAULT_WIDTH = 0  # columns


def wrap(text: str, width: int = DEFAULT_WIDTH) -> list[str]:
    """Lines of at most ``width`` characters; a longer word stands alone on its line."""
    require(width > 0, f"The width must be positive, not {width}.")
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if line and len(joined) > width:
            lines.append(line)
            line = word
        else:
            line = joined
    return [*lines, line] if line else lines


def wrap_paragraphs(text: str, width: int = DEFAULT_WIDTH) -> str:
    """A text with each of its paragraphs wrapped; an empty line lies between two of them."""
    paragraphs = [p for p in text.split("\n\n") if p.strip()]
    return "\n\n".join("\n".join(wrap(p, width)) for p in paragraphs)
