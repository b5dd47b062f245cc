"""What a text is about, as a handful of hashes: enough to tell how alike two texts are.

A sketch is the set of hashed words and pairs of neighbouring words, of which the smallest are kept
(bottom-k). Numbers, paths and hexadecimal ids count as one word each, so that two reports of one
cause are alike although they name other lines and files. The similarity of two sketches estimates
the Jaccard index of their texts; it is exact for texts that fit as a whole.

Sketches stand in events, which outlive an erased text. Hashes of 16 bits are shared by many words,
so no text can be read from one; whoever guesses a text can check the guess.

References
----------
Broder, "On the resemblance and containment of documents", 1997; Cohen and Kaplan, "Summarizing data
using bottom-k sketches", PODC 2007.
"""

import re
from hashlib import blake2b
from itertools import pairwise

SIZE = 48  # hashes kept
HASH_BYTES = 2
MAX_READ = 4_000  # characters; a report says at its beginning what it is about

_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\S*[/\\]\S+|\d[\w.:-]*", re.UNICODE)
# They say nothing of what a text is about.
_EMPTY = frozenset(
    {
        "will",
        "and",
        "has",
        "the",
        "its",
        "it",
        "a",
        "for",
        "can",
        "of",
        "this",
        "not",
        "you",
        "by",
        "with",
        "be",
        "then",
        "there",
        "have",
        "that",
        "was",
        "while",
        "do",
        "me",
        "as",
        "are",
        "but",
        "i",
        "to",
        "my",
        "which",
        "so",
        "we",
        "in",
        "been",
        "on",
        "when",
        "if",
        "or",
        "what",
        "does",
        "no",
        "an",
        "at",
        "too",
        "from",
        "is",
    }
)


def sketch(text: str) -> tuple[int, ...]:
    """Sketch of a text: at most 48 hashes, sorted."""
    words = [_normal(word) for word in _WORD.findall(text[:MAX_READ].lower())]
    words = [word for word in words if word not in _EMPTY]
    features = {*words, *(f"{first} {second}" for first, second in pairwise(words))}
    hashes = {
        int.from_bytes(blake2b(f.encode(), digest_size=HASH_BYTES).digest()) for f in features
    }
    return tuple(sorted(hashes)[:SIZE])


def similarity(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """How alike two texts are, 0 to 1.

    Examples
    --------
    >>> similarity(sketch("No space left on /dev/sda1"), sketch("no space left on /tmp/x"))
    1.0
    """
    if not one or not other:
        return 0.0
    first, second = set(one), set(other)
    union = sorted(first | second)
    if len(one) == SIZE or len(other) == SIZE:  # cut off: only below the cut both are known
        union = union[:SIZE]
    shared = first & second
    return sum(h in shared for h in union) / len(union)


def _normal(word: str) -> str:
    if "/" in word or "\\" in word:
        return "<path>"
    return "<number>" if word[0].isdigit() else word
