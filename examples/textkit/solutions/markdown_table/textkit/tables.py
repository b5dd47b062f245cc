"""Tables in Markdown."""

from collections.abc import Sequence

from textkit.alignment import display_width, pad
from textkit.errors import require


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with padded columns; columns that hold only numbers are aligned to the right."""
    require(bool(header), "A table needs at least one column.")
    cells = [[_cell(value) for value in row] for row in rows]
    for number, row in enumerate(cells, 1):
        require(len(row) == len(header), f"Row {number} has {len(row)} cells, not {len(header)}.")
    titles = [_cell(title) for title in header]
    sides = [
        "right" if _is_numeric([row[i] for row in cells]) else "left" for i in range(len(titles))
    ]
    widths = [
        max(3, *(display_width(row[i]) for row in [titles, *cells])) for i in range(len(titles))
    ]
    rule = [
        "-" * (width - 1) + ":" if side == "right" else "-" * width
        for width, side in zip(widths, sides, strict=True)
    ]
    padded = [
        [pad(cell, width, side) for cell, width, side in zip(row, widths, sides, strict=True)]
        for row in [titles, rule, *cells]
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _is_numeric(column: list[str]) -> bool:
    try:
        return bool(column) and all(float(cell) is not None for cell in column)
    except ValueError:
        return False
