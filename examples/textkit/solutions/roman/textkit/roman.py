"""Roman numerals from 1 to 3999."""

from textkit.errors import TextkitError, require

_VALUES = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC")),
    *((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)


def to_roman(number: int) -> str:
    """The numeral of a number."""
    require(1 <= number <= 3999, f"{number} has no Roman numeral.")
    parts = []
    for value, numeral in _VALUES:
        count, number = divmod(number, value)
        parts.append(numeral * count)
    return "".join(parts)


def from_roman(numeral: str) -> int:
    """The number of a numeral; only the usual way of writing it is taken."""
    rest, number = numeral.upper(), 0
    for value, part in _VALUES:
        while rest.startswith(part):
            number += value
            rest = rest[len(part) :]
    if rest or not 1 <= number <= 3999 or to_roman(number) != numeral.upper():
        raise TextkitError(f"{numeral!r} is no Roman numeral.")
    return number
