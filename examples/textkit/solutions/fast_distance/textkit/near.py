"""Edit distance with a limit: stops as soon as two texts are too far apart."""

from textkit.distance import levenshtein


def within(left: str, right: str, limit: int) -> int | None:
    """The distance, or None when it is above ``limit``. Only a band of the table is filled.

    Ukkonen, 1985.
    """
    if abs(len(left) - len(right)) > limit:
        return None
    if limit >= max(len(left), len(right)):
        return levenshtein(left, right)
    far = limit + 1
    row = [j if j <= limit else far for j in range(len(right) + 1)]
    for i, a in enumerate(left, 1):
        low, high = max(1, i - limit), min(len(right), i + limit)
        new = [far] * (len(right) + 1)
        if i <= limit:
            new[0] = i
        for j in range(low, high + 1):
            new[j] = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (a != right[j - 1]), far)
        if min(new[max(0, low - 1) : high + 1]) >= far:
            return None
        row = new
    return row[-1] if row[-1] <= limit else None
