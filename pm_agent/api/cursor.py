"""Cursors of pages: where the next page begins, sealed so that nobody makes one up.

A cursor holds the key of the page's last row, so a page costs the same however far it is, and rows
that come or go between pages shift nothing. It is good for the same question alone: operation and
filters are part of what is authenticated.
"""

import base64
import hashlib
import hmac
from typing import Any

import msgspec
from pydantic import BaseModel

from pm_agent.domain.errors import InvalidInput

MAC_BYTES = 16
_PLACE = frozenset({"cursor", "limit", "response_format"})  # where and how one reads, not what


def seal(key: bytes, operation: str, given: BaseModel, place: str) -> str:
    """Make the cursor after a row; empty for an empty place, which means that it was the last."""
    if not place:
        return ""
    raw = place.encode()
    return base64.urlsafe_b64encode(_mac(key, operation, given, raw) + raw).decode().rstrip("=")


def unseal(key: bytes, operation: str, given: Any) -> str:
    """Return the place that an input's cursor means; empty when it has none.

    Raises
    ------
    InvalidInput
    """
    cursor: str = given.cursor
    if not cursor:
        return ""
    try:
        both = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        both = b""
    mac, raw = both[:MAC_BYTES], both[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, operation, given, raw)):
        message = "cursor: it is not one that this question got."
        raise InvalidInput(message, "Send next_cursor of the page before, with the same filters.")
    return raw.decode()


def _mac(key: bytes, operation: str, given: BaseModel, raw: bytes) -> bytes:
    asked = given.model_dump(mode="json", exclude=set(_PLACE))
    about = msgspec.json.encode([operation, asked, raw.hex()], order="deterministic")
    return hmac.new(key, about, hashlib.sha256).digest()[:MAC_BYTES]
