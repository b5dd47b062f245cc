"""A copy of the world that follows the coordinator, so that queries cost no hop."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress

from pm_agent.domain.envelope import Event
from pm_agent.domain.errors import Unavailable
from pm_agent.domain.world import World
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import unseal
from pm_agent.runtime.backend import Coordinator, Feed
from pm_agent.runtime.event_log import EventLog

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
KEPT_BODIES = 50_000
EVENTS_A_SLICE = 200  # applied before other requests get a turn
REACH_S = 2.0


class Replica:
    """Follows a coordinator.

    Attributes
    ----------
    world : World
        Read only.
    events : EventLog
        The newest events, for those who listen.
    is_following : bool
        Whether it hears of new events.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.world = World()
        self.events = EventLog()
        self.is_following = False
        self._bodies: OrderedDict[str, str] = OrderedDict()
        self._reached: list[tuple[int, asyncio.Future[None]]] = []

    async def follow(self, see: Callable[[Event], None], lost: Callable[[], None]) -> None:
        """Follow until cancelled.

        Parameters
        ----------
        see
            Told of every event that was applied.
        lost
            Told when the coordinator went away: the next one knows nothing of what stood with it.
        """
        pause_s = RETRY_FIRST_S
        while True:
            try:
                if self.world.position == 0:
                    saved = await self._coordinator.snapshot()
                    self.world, _ = snapshots.load(saved)
                    self.events.begin(self.world.position)
                    self._woken_by_position()
                self.is_following = True
                async for feed in self._coordinator.follow(self.world.position):
                    await self._take(feed, see)
                    pause_s = RETRY_FIRST_S
            except Unavailable as error:
                log.info("coordinator away: %s", error.message)
            except Exception:
                # A bug: this replica stays where it is, is marked stale, and is not ready.
                log.exception("the replica stops at position %d", self.world.position)
                self.is_following = False
                raise
            self.is_following = False
            lost()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def reach(self, position: int) -> bool:
        """Wait, at most two seconds, until it holds a position. False when it does not."""
        if self.world.position >= position:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reached.append((position, future))
        with suppress(TimeoutError):
            await asyncio.wait_for(future, REACH_S)
        return self.world.position >= position

    async def texts(self, refs: Iterable[str | None]) -> dict[str, str]:
        """Bodies by reference, from memory or the journal; erased ones are left out."""
        wanted = {ref for ref in refs if ref}
        found = {ref: self._bodies[ref] for ref in wanted if ref in self._bodies}
        missing = [ref for ref in wanted if ref not in found]
        if missing:
            for body in await self._coordinator.bodies(missing):
                found[body.ref] = body.text
                self._keep(body.ref, body.text)
        return found

    async def _take(self, feed: Feed, see: Callable[[Event], None]) -> None:
        for body in feed.bodies:
            self._keep(body.ref, body.text)
        for index, stored in enumerate(feed.events):
            if stored.position <= self.world.position:
                continue
            event = unseal(stored)
            self.world.apply(event)
            self.events.add(event)
            self.world.ready.fresh.clear()  # offers are the coordinator's matter
            see(event)
            if index % EVENTS_A_SLICE == EVENTS_A_SLICE - 1:
                self._woken_by_position()
                await asyncio.sleep(0)
        self._woken_by_position()

    def _woken_by_position(self) -> None:
        self.events.wake()
        if not self._reached:
            return
        waiting = []
        for position, future in self._reached:
            if future.done():
                continue
            if position <= self.world.position:
                future.set_result(None)
            else:
                waiting.append((position, future))
        self._reached = waiting

    def _keep(self, ref: str, text: str) -> None:
        self._bodies[ref] = text
        if len(self._bodies) > KEPT_BODIES:
            self._bodies.popitem(last=False)
