"""Instants are integer microseconds UTC (``_us``); ISO 8601 appears at the edges only."""

from datetime import UTC, datetime
from functools import lru_cache

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def iso(instant_us: int) -> str:
    """ISO 8601 with milliseconds and ``Z``."""
    second, rest_us = divmod(instant_us, SECOND_US)
    return f"{_iso_second(second)}.{rest_us // 1000:03}Z"


@lru_cache(4096)  # replies name deadlines all the time, and many share their second
def _iso_second(instant_s: int) -> str:
    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
