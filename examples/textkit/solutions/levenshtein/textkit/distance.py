"""Edit distance between two texts."""


def levenshtein(left: str, right: str) -> int:
    """Fewest insertions, deletions and replacements that make one text of the other.

    Wagner and Fischer, 1974, with one row kept.
    """
    if len(left) < len(right):
        left, right = right, left
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def similarity(left: str, right: str) -> float:
    """1.0 for equal texts, 0.0 for texts that share nothing."""
    longest = max(len(left), len(right))
    return 1.0 - levenshtein(left, right) / longest if longest else 1.0
