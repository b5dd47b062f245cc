"""Texts of people and agents, made fit to stand inside a text of ours: data, never instructions."""

import re
import unicodedata

from pm_agent.ports import MAX_LINE

MAX_BLOCK = 8_000  # characters of a text in a block of its own
ROOM = 4  # what is looked at for each character kept: cleaning makes texts shorter

_NEWLINES = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_TAG_START = re.compile(r"<(?=[a-zA-Z/!?|])")  # </instructions>, <!--, <|end|>
OPENING = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
_FENCE = re.compile(r"~{3,}")
# Control, format (zero width, bidirectional, tags), surrogate, private use, unassigned.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: str) -> str:
    """Take away what hides in a text or breaks out of a quotation; words stay as they are."""
    text = _NEWLINES.sub("\n", text)
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)
    return _FENCE.sub("--", _TAG_START.sub(OPENING, text.replace("`", "'")))


def one_line(text: str, longest: int = MAX_LINE) -> str:
    """Return a cleaned text without line breaks."""
    return cut(" ".join(clean(text[: longest * ROOM]).split()), longest)


def quoted(text: str, longest: int = MAX_BLOCK) -> list[str]:
    """Markdown block quotation of a text, every line of it marked."""
    lines = cut(clean(text[: longest * ROOM]).strip(), longest).split("\n")
    return [f"> {line}".rstrip() for line in lines]


def cut(text: str, longest: int) -> str:
    """Shorten a text that is too long, and show that it was."""
    return text if len(text) <= longest else text[: longest - 6].rstrip() + " […]"
