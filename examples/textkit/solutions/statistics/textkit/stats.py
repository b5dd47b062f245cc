"""Numbers that describe a text."""

from dataclasses import dataclass
from statistics import fmean

from textkit.counts import word_counts
from textkit.tokens import sentences, words


@dataclass(frozen=True)
class TextStats:
    words: int
    distinct: int
    sentences: int
    mean_word: float  # letters
    mean_sentence: float  # words

    @property
    def richness(self) -> float:
        """Share of distinct words, 0 to 1."""
        return self.distinct / self.words if self.words else 0.0


def describe(text: str) -> TextStats:
    """Count and measure a text."""
    found = words(text)
    parts = sentences(text)
    return TextStats(
        words=len(found),
        distinct=len(word_counts(text)),
        sentences=len(parts),
        mean_word=fmean(map(len, found)) if found else 0.0,
        mean_sentence=len(found) / len(parts) if parts else 0.0,
    )
