"""Comma-separated values as tables."""

import csv
import io

from textkit.errors import require
from textkit.tables import markdown_table


def csv_to_markdown(text: str, delimiter: str = ",") -> str:
    """A Markdown table of CSV; the first line holds the column titles, short rows are filled up."""
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    require(bool(rows), "There is no line in the CSV.")
    header, *body = rows
    for number, row in enumerate(body, 2):
        require(len(row) <= len(header), f"Line {number} has more cells than there are titles.")
    filled = [row + [""] * (len(header) - len(row)) for row in body]
    return markdown_table(header, filled)
