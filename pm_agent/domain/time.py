"""Instants are integer microseconds UTC (``_us``); ISO 8601 appears at the edges only."""

from datetime import UTC, datetime

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def iso(instant_us: int) -> str:
    """ISO 8601 with milliseconds and ``Z``."""
    text = datetime.fromtimestamp(instant_us / SECOND_US, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def clock_time(instant_us: int) -> str:
    """``14:05:10 UTC``, for messages to people and models."""
    return datetime.fromtimestamp(instant_us / SECOND_US, UTC).strftime("%H:%M:%S UTC")
