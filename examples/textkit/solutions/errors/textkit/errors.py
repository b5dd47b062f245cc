"""What textkit refuses: one error, with a message for people."""


class TextkitError(ValueError):
    """Something in the input cannot be worked with."""


def require(condition: bool, message: str) -> None:
    """Raise `TextkitError` unless a condition holds."""
    if not condition:
        raise TextkitError(message)
