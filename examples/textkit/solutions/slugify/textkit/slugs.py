"""Names for addresses and files."""

import re

from textkit.errors import require
from textkit.normalize import fold

_OTHER = re.compile(r"[^a-z0-9]+")


def slugify(text: str, longest: int = 60) -> str:
    """Lower-case letters, digits and single dashes; cut at a dash where possible."""
    slug = _OTHER.sub("-", fold(text)).strip("-")
    require(bool(slug), f"{text!r} has no letter or digit to make a name of.")
    if len(slug) <= longest:
        return slug
    cut = slug[: longest + 1].rfind("-")
    return slug[: cut if cut > 0 else longest]
