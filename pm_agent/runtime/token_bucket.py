"""Token buckets: how often each caller may ask, with room for a burst.

Kept as the generic cell rate algorithm: one number a caller, the instant at which its bucket will
be full again. It is the same limit as a bucket that drips, without anything that has to drip.

References
----------
ITU-T I.371, annex A: the virtual scheduling form of the generic cell rate algorithm.
"""

import time
from collections.abc import Callable

MAX_KEYS = 10_000  # callers remembered; those with a full bucket are forgotten first


class TokenBuckets:
    """A bucket for each key.

    Parameters
    ----------
    per_s
        Tokens that drip into a bucket each second; positive.
    burst
        Tokens in a full bucket, at least 1.
    clock_s
        Seconds of a clock that never goes back.
    max_keys
        Keys remembered at most.
    """

    def __init__(
        self,
        per_s: float,
        burst: int,
        clock_s: Callable[[], float] = time.monotonic,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._interval_s = 1 / per_s
        self._depth_s = burst / per_s
        self._clock_s = clock_s
        self._max_keys = max_keys
        self._full_at_s: dict[str, float] = {}

    def take(self, key: str) -> float:
        """Take a token of a key: 0.0 when there was one, else the seconds until there is."""
        now_s = self._clock_s()
        full_at_s = max(self._full_at_s.get(key, now_s), now_s) + self._interval_s
        wait_s = full_at_s - now_s - self._depth_s
        if wait_s > self._interval_s * 1e-9:  # rounding must not cost the last token of a burst
            return wait_s
        self._full_at_s[key] = full_at_s
        if len(self._full_at_s) > self._max_keys:
            self._forget(now_s)
        return 0.0

    def left(self, key: str) -> tuple[int, float]:
        """Tokens that a key has left, and the seconds until its bucket is full again."""
        now_s = self._clock_s()
        used_s = max(self._full_at_s.get(key, now_s) - now_s, 0.0)
        return max(0, int((self._depth_s - used_s) / self._interval_s + 1e-6)), used_s

    def __len__(self) -> int:
        return len(self._full_at_s)

    def _forget(self, now_s: float) -> None:
        """Forget full buckets, and the oldest half when all are in use: memory stays bounded."""
        self._full_at_s = {key: at for key, at in self._full_at_s.items() if at > now_s}
        if len(self._full_at_s) > self._max_keys // 2:
            newest = list(self._full_at_s.items())[-(self._max_keys // 2) :]
            self._full_at_s = dict(newest)
