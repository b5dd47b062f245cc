"""How often words and letters occur."""

from collections import Counter

from textkit.normalize import fold, letters
from textkit.tokens import words


def word_counts(text: str) -> Counter[str]:
    """Words without case and accents, with their numbers."""
    return Counter(fold(word) for word in words(text))


def top_words(text: str, n: int = 10) -> list[tuple[str, int]]:
    """The most frequent words; ties in alphabetical order."""
    return sorted(word_counts(text).items(), key=lambda item: (-item[1], item[0]))[:n]


def letter_shares(text: str) -> dict[str, float]:
    """Share of each letter among all letters of a text."""
    found = Counter(c for c in letters(text) if c.isalpha())
    total = found.total()
    return {letter: n / total for letter, n in sorted(found.items())}
