"""Virtual time: a heap of what happens when. Nothing waits; the clock jumps to the next happening.

Happenings of one instant come in the order in which they were put, so a run depends on its seed
alone.
"""

import heapq
from collections.abc import Callable
from typing import Any

Happening = Callable[..., None]


class Timeline:
    """What is going to happen, by instant.

    Parameters
    ----------
    start_us
        Where virtual time begins: microseconds since 1970 UTC.

    Attributes
    ----------
    now_us : int
        Instant of the happening under way. Never goes back.
    """

    def __init__(self, start_us: int = 0) -> None:
        self.now_us = start_us
        self._heap: list[tuple[int, int, Happening, tuple[Any, ...]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, at_us: int, happening: Happening, *args: Any) -> None:
        """Let something happen at an instant; at once when that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(at_us, self.now_us), self._count, happening, args))

    def after(self, delay_us: int, happening: Happening, *args: Any) -> None:
        """Let something happen after a while."""
        self._count += 1
        at_us = self.now_us + max(delay_us, 0)
        heapq.heappush(self._heap, (at_us, self._count, happening, args))

    def advance(self) -> bool:
        """Jump to the next happening and let it happen; False when there is none."""
        if not self._heap:
            return False
        self.now_us, _, happening, args = heapq.heappop(self._heap)
        happening(*args)
        return True

    def advance_until(self, until_us: int) -> bool:
        """Let all happen that is due up to an instant; False when nothing is left after it."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until_us:
            self.now_us, _, happening, args = pop(heap)
            happening(*args)
        return bool(heap)
