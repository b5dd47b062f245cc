"""Bring texts into a form in which they can be compared."""

import unicodedata


def strip_accents(text: str) -> str:
    """Letters without their accents: ``é`` becomes ``e``."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.combining(c))


def fold(text: str) -> str:
    """Without case and accents, for comparing."""
    return strip_accents(text).casefold()


def letters(text: str) -> str:
    """Only the folded letters and digits of a text."""
    return "".join(c for c in fold(text) if c.isalnum())
