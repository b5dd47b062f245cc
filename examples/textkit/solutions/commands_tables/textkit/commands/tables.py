"""Commands that print tables and lists."""

from textkit.counts import top_words
from textkit.csvs import csv_to_markdown
from textkit.outline import contents
from textkit.registry import Command, whole_number
from textkit.report import report
from textkit.tables import markdown_table


def _top(text: str, option: str | None) -> str:
    return markdown_table(["word", "count"], top_words(text, whole_number(option, 10)))


COMMANDS = (
    Command("top", "Count the most frequent words.", _top, "how many"),
    Command(
        "table",
        "Make a Markdown table of CSV.",
        lambda t, o: csv_to_markdown(t, o or ","),
        "delimiter",
    ),
    Command("contents", "List the headings of Markdown.", lambda text, _: contents(text)),
    Command(
        "report", "Describe a text.", lambda t, o: report(t, whole_number(o, 5)), "how many words"
    ),
)
