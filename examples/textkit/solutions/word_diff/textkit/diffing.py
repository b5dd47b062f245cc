"""What changed between two texts, word by word."""

from difflib import SequenceMatcher

from textkit.tokens import words


def word_diff(old: str, new: str) -> str:
    """The new text's words with changes marked: ``[-gone-]`` and ``{+added+}``."""
    before, after = words(old), words(new)
    parts: list[str] = []
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            parts += after[c:d]
            continue
        if a < b:
            parts.append(f"[-{' '.join(before[a:b])}-]")
        if c < d:
            parts.append(f"{{+{' '.join(after[c:d])}+}}")
    return " ".join(parts)
