"""The Caesar cipher."""

from textkit.errors import require

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def encrypt(text: str, key: int) -> str:
    """Shift the letters a to z by ``key``; case and everything else stay."""
    require(isinstance(key, int), "The key must be a whole number.")
    shift = key % len(ALPHABET)
    moved = ALPHABET[shift:] + ALPHABET[:shift]
    table = str.maketrans(ALPHABET + ALPHABET.upper(), moved + moved.upper())
    return text.translate(table)


def decrypt(text: str, key: int) -> str:
    """Undo `encrypt`."""
    return encrypt(text, -key)
