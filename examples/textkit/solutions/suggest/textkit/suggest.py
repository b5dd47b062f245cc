"""Which word was meant?"""

from collections.abc import Mapping

from textkit.counts import word_counts
from textkit.near import within
from textkit.normalize import fold


class Speller:
    """Suggests words of a text it has read; frequent words first among equally near ones."""

    def __init__(self, corpus: str) -> None:
        self.known: Mapping[str, int] = word_counts(corpus)

    def suggest(self, word: str, limit: int = 2, n: int = 3) -> list[str]:
        """At most ``n`` known words within ``limit`` edits; the word itself if it is known."""
        wanted = fold(word)
        if wanted in self.known:
            return [wanted]
        near = []
        for known, count in self.known.items():
            distance = within(wanted, known, limit)
            if distance is not None:
                near.append((distance, -count, known))
        return [known for _, _, known in sorted(near)[:n]]
