"""The concise form of an answer: what a language model can read without filling its context.

One rule for every long result, whatever its struct: long texts are cut and say so, long lists are
cut and counted in ``left_out``, and a few fields stand in the detailed form alone. The fields stay
the same, so one schema describes both forms.
"""

from collections import Counter
from typing import Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel

from pm_agent.api.schemas.pieces import LongAnswer
from pm_agent.features.assignment.view import ExplainedCandidate
from pm_agent.kernel.types import Result

Format = Literal["concise", "detailed"]
R = TypeVar("R", bound=Result)

CHARS = 2_000  # of one text; about 500 tokens
ITEMS = 20  # of one list; a default page
NEWEST_LAST = frozenset({"events", "steps"})  # lists of which the end counts
OF_NO_USE_CUT = frozenset({"uri", "where"})
# Of each candidate some 30 numbers; its factors say in a dozen what they came to.
DETAILS: dict[type[Result], frozenset[str]] = {ExplainedCandidate: frozenset({"facts"})}


def is_concise(given: BaseModel, default: Format) -> bool:
    """Whether an input asks for the concise form; ``default`` is that of the door it came by."""
    return isinstance(given, LongAnswer) and (given.response_format or default) == "concise"


def shortened(result: R, *, is_page_asked: bool = False) -> tuple[R, dict[str, int]]:
    """Return a result's concise form, and how many items of each list it leaves out.

    Parameters
    ----------
    is_page_asked
        Whether the caller said how many it wants: the result's own lists are as long as that.
    """
    left_out: Counter[str] = Counter()
    return _struct(result, left_out, is_whole=is_page_asked), dict(left_out)


def _struct(struct: R, left_out: Counter[str], *, is_whole: bool = False) -> R:
    details = DETAILS.get(type(struct), ())
    changes: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if name in details:
            left_out[name] += len(value)
            changes[name] = type(value)()
        elif isinstance(value, str | list | dict | msgspec.Struct):
            changes[name] = _value(name, value, left_out, is_whole=is_whole)
    return msgspec.structs.replace(struct, **changes)


def _value(name: str, value: Any, left_out: Counter[str], *, is_whole: bool = False) -> Any:
    if isinstance(value, str):
        return value if name in OF_NO_USE_CUT else _text(value)
    if isinstance(value, list):
        kept = value
        if len(value) > ITEMS and not is_whole:
            left_out[name] += len(value) - ITEMS
            kept = value[-ITEMS:] if name in NEWEST_LAST else value[:ITEMS]
        return [_value(name, one, left_out) for one in kept]
    if isinstance(value, dict):
        return {key: _value(name, one, left_out) for key, one in value.items()}
    return _struct(value, left_out) if isinstance(value, Result) else value


def _text(text: str) -> str:
    if len(text) <= CHARS:
        return text
    return f"{text[:CHARS]} … ({len(text)} characters; ask for 'detailed' to get them all)"
