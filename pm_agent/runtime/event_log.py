"""The newest events in memory, for those who listen: one list for all, a position for each.

A listener keeps nothing here but its place, so a thousand of them cost no copies, and one that is
slow harms nobody: when its place has fallen out of the list it reads on from the journal.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from pm_agent.domain.envelope import Event

MAX_KEPT = 20_000  # some minutes of a busy workspace
MAX_TAKEN = 500  # events a turn, so that other requests get theirs


class EventLog:
    """Events in order; who has heard them all waits for the next."""

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._events: deque[Event] = deque(maxlen=max_kept)
        self._news = asyncio.Event()
        self.position = 0  # of the newest event
        self.is_over = False  # the server stops: streams end, and their clients go elsewhere

    def begin(self, position: int) -> None:
        """Begin after a world that was loaded whole."""
        self._events.clear()
        self.position = position

    def add(self, event: Event) -> None:
        """Keep an event; `wake` lets the listeners know."""
        self._events.append(event)
        self.position = event.position

    def wake(self) -> None:
        """Let all who wait have a look."""
        self._news.set()

    def end(self) -> None:
        """End all listening."""
        self.is_over = True
        self.wake()

    def after(self, position: int) -> Sequence[Event] | None:
        """Return the first events after a position, or None when they are not kept any more."""
        first = position - (self.position - len(self._events))  # positions have no gaps
        if first < 0:
            return None
        last = min(first + MAX_TAKEN, len(self._events))
        return [self._events[index] for index in range(first, last)]

    async def wait(self, position: int, timeout_s: float) -> None:
        """Return when there may be an event after a position, or the time is up."""
        if self.is_over or position < self.position:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return
