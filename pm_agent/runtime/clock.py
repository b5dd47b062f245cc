"""The wall clock as the core wants it: integer microseconds that never go back in a process."""

import time


class SystemClock:
    """Microseconds of the system clock, made monotonic."""

    def __init__(self) -> None:
        self._last_us = 0

    def now_us(self) -> int:
        self._last_us = max(self._last_us, time.time_ns() // 1_000)
        return self._last_us
