"""The newest events in the coordinator's memory, for those who follow it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from pm_agent.domain.envelope import Body
from pm_agent.ports import StoredEvent
from pm_agent.runtime.backend import Feed

KEPT_EVENTS = 20_000  # older ones come from the journal
FEED_EVENTS = 1_000  # at most, in one piece of news
# After news the next is gathered this long: each piece costs a follower two calls between
# processes, and nothing on a claim's way waits for it.
FEED_PAUSE_S = 0.02

# (after, at most) → events of the journal
Read = Callable[[int, int], Awaitable[list[StoredEvent]]]


class Feeds:
    """Durable events in order; who has them all waits for the next."""

    def __init__(self) -> None:
        self._news = asyncio.Condition()
        self._recent: deque[StoredEvent] = deque(maxlen=KEPT_EVENTS)
        self._recent_bodies: deque[tuple[int, Body]] = deque(maxlen=KEPT_EVENTS)

    async def publish(self, stored: list[StoredEvent], bodies: list[Body]) -> None:
        """Add events that have become durable."""
        self._recent.extend(stored)
        position = stored[-1].position
        self._recent_bodies.extend((position, body) for body in bodies)
        await self.wake()

    def restore(self, replayed: Iterable[StoredEvent]) -> None:
        """Add those that were read from the journal and are not here; `wake` tells of them."""
        for event in replayed:
            if not self._recent or event.position == self._recent[-1].position + 1:
                self._recent.append(event)

    async def wake(self) -> None:
        """Let all who wait have a look."""
        async with self._news:
            self._news.notify_all()

    async def news(self) -> None:
        """Wait for the next."""
        async with self._news:
            await self._news.wait()

    async def follow(self, after: int, read: Read) -> AsyncIterator[Feed]:
        """Yield what comes after a position, without end."""
        while True:
            if self._recent and self._recent[0].position <= after + 1:
                last = self._recent[-1].position
                if last <= after:
                    await self.news()
                    continue
                skip = after + 1 - self._recent[0].position
                events = [self._recent[i] for i in range(skip, len(self._recent))][:FEED_EVENTS]
                upto = events[-1].position
                bodies = [b for p, b in self._recent_bodies if after < p <= upto]
            else:
                events = await read(after, FEED_EVENTS)
                bodies = []  # fetched by reference when somebody asks
                if not events:
                    async with self._news:
                        # News may have come while the journal was read.
                        if not self._recent or self._recent[-1].position <= after:
                            await self._news.wait()
                    continue
            after = events[-1].position
            yield Feed(events, bodies)
            await asyncio.sleep(FEED_PAUSE_S)
