"""Words and sentences of a text."""

import re

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9\"'(\[])")


def words(text: str) -> list[str]:
    """Words in their order; an apostrophe or hyphen inside a word belongs to it."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """Sentences in their order, with their punctuation."""
    return [part.strip() for part in _SENTENCE_END.split(text.strip()) if part.strip()]
