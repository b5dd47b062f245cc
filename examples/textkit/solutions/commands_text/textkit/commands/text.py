"""Commands on plain text."""

from textkit.diffing import word_diff
from textkit.palindromes import longest_palindrome
from textkit.registry import Command, whole_number
from textkit.slugs import slugify
from textkit.wrapping import DEFAULT_WIDTH, wrap_paragraphs


def _slug(text: str, option: str | None) -> str:
    return slugify(text, whole_number(option, 60))


def _wrap(text: str, option: str | None) -> str:
    return wrap_paragraphs(text, whole_number(option, DEFAULT_WIDTH))


def _diff(text: str, option: str | None) -> str:
    old, _, new = text.partition(option or "\n---\n")
    return word_diff(old, new)


COMMANDS = (
    Command("slug", "Make a name for an address.", _slug, "longest name"),
    Command("wrap", "Wrap paragraphs.", _wrap, "columns"),
    Command("diff", "Compare two texts in one input.", _diff, "line between them"),
    Command("palindrome", "Find the longest palindrome.", lambda text, _: longest_palindrome(text)),
)
