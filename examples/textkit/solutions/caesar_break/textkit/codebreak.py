"""Break a Caesar cipher by the frequencies of letters."""

from textkit.caesar import ALPHABET, decrypt
from textkit.counts import letter_shares
from textkit.errors import require

# Shares of a to z in English; Lewand, Cryptological Mathematics, 2000.
ENGLISH = dict(
    zip(
        ALPHABET,
        (
            *(0.082, 0.015, 0.028, 0.043, 0.127, 0.022, 0.020, 0.061, 0.070, 0.002, 0.008, 0.040),
            *(0.024, 0.067, 0.075, 0.019, 0.001, 0.060, 0.063, 0.091, 0.028, 0.010, 0.024, 0.002),
            *(0.020, 0.001),
        ),
        strict=True,
    )
)


def find_key(text: str) -> int:
    """The key under which the text looks most like English (least chi-squared distance)."""
    require(bool(letter_shares(text)), "There is no letter to count.")
    return min(range(len(ALPHABET)), key=lambda key: _distance(decrypt(text, key)))


def crack(text: str) -> str:
    """The text in clear."""
    return decrypt(text, find_key(text))


def _distance(text: str) -> float:
    shares = letter_shares(text)
    return sum((shares.get(c, 0.0) - expected) ** 2 / expected for c, expected in ENGLISH.items())
