"""Texts that read the same both ways."""

from textkit.normalize import letters


def is_palindrome(text: str) -> bool:
    """Whether the letters and digits read the same from both ends; one letter is none."""
    kept = letters(text)
    return len(kept) > 1 and kept == kept[::-1]


def longest_palindrome(text: str) -> str:
    """The longest palindrome among the letters; the first of equally long ones, or empty."""
    kept = letters(text)
    best = ""
    for center in range(len(kept)):
        for right in (center, center + 1):
            found = _around(kept, center, right)
            if len(found) > max(1, len(best)):
                best = found
    return best


def _around(text: str, left: int, right: int) -> str:
    while left >= 0 and right < len(text) and text[left] == text[right]:
        left, right = left - 1, right + 1
    return text[left + 1 : right]
