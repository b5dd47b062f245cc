"""A report about a text, as Markdown."""

from textkit.counts import top_words
from textkit.stats import describe
from textkit.tables import markdown_table
from textkit.wrapping import wrap_paragraphs


def report(text: str, n: int = 5) -> str:
    """Numbers, the most frequent words, and how the text begins."""
    stats = describe(text)
    numbers = markdown_table(
        ["measure", "value"],
        [
            ["words", stats.words],
            ["distinct words", stats.distinct],
            ["sentences", stats.sentences],
            ["letters a word", f"{stats.mean_word:.1f}"],
            ["words a sentence", f"{stats.mean_sentence:.1f}"],
        ],
    )
    frequent = markdown_table(["word", "count"], top_words(text, n))
    beginning = wrap_paragraphs(" ".join(text.split()[:40])) or "(empty)"
    return (
        f"# Report\n\n{numbers}\n\n## Frequent words\n\n{frequent}\n\n## Beginning\n\n{beginning}\n"
    )
