"""Instants are integer microseconds UTC (``_us``); ISO 8601 appears at the edges only."""

from datetime import UTC, datetime
from functools import lru_cache

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def iso(instant_us: int) -> str:
    """ISO 8601 with milliseconds and ``Z``."""
    minute, rest_us = divmod(instant_us, MINUTE_US)
    second, rest_us = divmod(rest_us, SECOND_US)
    return f"{_iso_minute(minute)}:{second:02}.{rest_us // 1000:03}Z"


@lru_cache(4096)  # replies name deadlines all the time, and many share their minute
def _iso_minute(minute: int) -> str:
    return datetime.fromtimestamp(60 * minute, UTC).strftime("%Y-%m-%dT%H:%M")
