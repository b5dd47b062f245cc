"""Slow requests that go on without their client, in this replica's memory.

How they end is asked for under their request's owner and id. A replica that ends takes nothing
along: what they do is a command with a request id like any other, and its reply is in the journal.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pm_agent.domain.errors import Overloaded

A = TypeVar("A")
Key = tuple[str, str]  # owner and request id

MAX_RUNNING, MAX_KEPT = 16, 1_000


class Jobs(Generic[A]):
    """The slow requests of a replica; the oldest that ended are forgotten first."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Key, asyncio.Future[A]] = OrderedDict()

    def start(self, key: Key, work: Callable[[], Awaitable[A]]) -> None:
        """Begin it, and let it go on by itself; the same request again joins the one under way.

        Raises
        ------
        Overloaded
        """
        known = self._jobs.get(key)
        if known is not None and not known.done():
            return
        running = sum(not job.done() for job in self._jobs.values())
        if running >= MAX_RUNNING:
            message = f"{running} slow operations are under way already."
            raise Overloaded(message)
        self._jobs[key] = asyncio.ensure_future(work())
        while len(self._jobs) > MAX_KEPT:
            oldest = next(key for key, job in self._jobs.items() if job.done())
            del self._jobs[oldest]

    def find(self, key: Key) -> asyncio.Future[A] | None:
        """Return what was begun here under a request's owner and id."""
        return self._jobs.get(key)

    async def stop(self) -> None:
        """End all; their requests can be sent again."""
        for job in self._jobs.values():
            job.cancel()
        await asyncio.gather(*self._jobs.values(), return_exceptions=True)
