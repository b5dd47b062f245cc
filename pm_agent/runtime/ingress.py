"""The ingress: where requests become commands, replies are enriched, and waiting agents are parked.

It keeps a replica of the world by following the coordinator, so queries cost no hop; commands go
to the coordinator in micro-batches.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal, Self

from pm_agent.domain.assignment import ClaimTask, TaskAssigned, WaitForTask, WithdrawOffer
from pm_agent.domain.envelope import SYSTEM, Command, Event, Principal
from pm_agent.domain.errors import Overloaded, Unauthenticated, Unavailable
from pm_agent.domain.ids import AgentId
from pm_agent.domain.time import SECOND_US
from pm_agent.domain.world import World
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.types import Reply
from pm_agent.ports import Clock
from pm_agent.runtime.backend import Coordinator, Feed, Health
from pm_agent.runtime.batcher import Batcher
from pm_agent.runtime.secret import digest_of

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
KEPT_BODIES = 50_000
EVENTS_A_SLICE = 200  # applied before other requests get a turn
REACH_S = 2.0
# More executing requests than this make HAProxy mode unfair (p99 of seconds was measured at 256);
# the rest wait here in order.
MAX_EXECUTING = 64
MAX_QUEUED = 2_000

# A task is leased to the waiter; a newer wait of the same agent took over; the coordinator is a new
# one, so the offer has to be made again; or it ended with nothing.
Wake = Literal["offered", "replaced", "again", "nothing"]


class Ingress:
    """One replica's door to the coordinator.

    Attributes
    ----------
    world : World
        Replica; read only. `reach` waits until it holds a position.
    """

    def __init__(self, coordinator: Coordinator, clock: Clock) -> None:
        self.coordinator = coordinator
        self.clock = clock
        self.world = World()
        self.is_stale = True
        self._batcher = Batcher(coordinator)
        self._follower: asyncio.Task[None] | None = None
        self._bodies: OrderedDict[str, str] = OrderedDict()
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._parked: dict[AgentId, asyncio.Future[Wake]] = {}
        self._admission = asyncio.Semaphore(MAX_EXECUTING)
        self.n_queued = 0
        self.written = 0  # highest position in a reply that went through here

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        self._follower = asyncio.create_task(self._follow(), name="follower")

    async def stop(self) -> None:
        await self._batcher.stop()
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower

    def release_waiters(self) -> None:
        """End all parked waits with nothing: the server is about to stop."""
        self._wake_all("nothing")

    @property
    def n_parked(self) -> int:
        return len(self._parked)

    def now_us(self) -> int:
        return self.clock.now_us()

    # -- who --------------------------------------------------------------------------------

    def authenticate(self, secret: str) -> Principal:
        """Return the owner of an access token.

        Raises
        ------
        Unauthenticated
            The token is missing or unknown.
        """
        if not secret:
            message = "The request carries no access token."
            raise Unauthenticated(message)
        known = self.world.tokens.get(digest_of(secret))
        if known is None:
            message = "The access token is unknown or was revoked."
            raise Unauthenticated(message)
        return known.owner

    def hear(self, principal: Principal) -> None:
        """Note a sign of life that comes with a query; it goes with the next batch."""
        if principal.kind == "agent":
            self._batcher.hear(principal.id)

    # -- admission ----------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Wait for a turn, first come first served.

        Raises
        ------
        Overloaded
            Too many wait already.
        """
        if self.n_queued >= MAX_QUEUED:
            message = f"{self.n_queued} requests wait already."
            raise Overloaded(message)
        self.n_queued += 1
        try:
            await self._admission.acquire()
        finally:
            self.n_queued -= 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._admission.release()

    # -- commands -----------------------------------------------------------------------------

    async def submit(self, command: Command) -> Reply:
        """Send a command with the next batch and wait for its durable reply.

        Raises
        ------
        Unavailable
            The coordinator could not be reached; the same request may be sent again.
        """
        reply = await self._batcher.submit(command)
        self.written = max(self.written, reply.position)
        return reply

    async def wait_for_task(self, command: WaitForTask) -> Reply:
        """Claim, or park until a task is offered, the time is up or the caller goes away.

        The task that wakes a waiter is leased to it already; claiming again fetches that lease, and
        is the sign of life that confirms it. A waiter that vanished leaves the lease unconfirmed,
        and it ends within a minute.
        """
        while True:
            reply, wake = await self._stand(command)
            if wake != "again":
                break
        if wake != "offered":
            return reply
        fetch = ClaimTask(
            request_id=f"{command.request_id}:woken",
            principal=command.principal,
            agent_id=command.agent_id,
            project_id=command.project_id,
        )
        return await self.submit(fetch)

    async def _stand(self, command: WaitForTask) -> tuple[Reply, Wake]:
        """Leave a standing offer and wait for what becomes of it."""
        agent_id = command.agent_id
        woken: asyncio.Future[Wake] = asyncio.get_running_loop().create_future()
        before = self._parked.get(agent_id)
        if before is not None and not before.done():
            before.set_result("replaced")
        self._parked[agent_id] = woken
        try:
            reply = await self.submit(command)
            if reply.error is not None or b'"outcome":"waiting"' not in reply.result:
                return reply, "nothing"
            left_s = (command.until_us - self.clock.now_us()) / SECOND_US
            with suppress(TimeoutError):
                return reply, await asyncio.wait_for(woken, max(left_s, 0))
        except asyncio.CancelledError:
            if self._parked.get(agent_id) is woken:  # else the offer is a newer wait's
                self._batcher.submit_soon(_withdrawal(command))
            raise
        finally:
            if self._parked.get(agent_id) is woken:
                del self._parked[agent_id]
        return reply, "nothing"

    # -- reading ------------------------------------------------------------------------------

    async def reach(self, position: int) -> bool:
        """Wait, at most two seconds, until the replica holds a position. False when it does not."""
        if self.world.position >= position:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reached.append((position, future))
        with suppress(TimeoutError):
            await asyncio.wait_for(future, REACH_S)
        return self.world.position >= position

    async def catch_up(self, position: int = 0) -> None:
        """Wait until the replica holds every write that was answered here, and a position."""
        await self.reach(max(position, self.written))

    async def texts(self, refs: Iterable[str | None]) -> dict[str, str]:
        """Bodies by reference, from memory or the journal; erased ones are left out."""
        wanted = {ref for ref in refs if ref}
        found = {ref: self._bodies[ref] for ref in wanted if ref in self._bodies}
        missing = [ref for ref in wanted if ref not in found]
        if missing:
            for body in await self.coordinator.bodies(missing):
                found[body.ref] = body.text
                self._keep(body.ref, body.text)
        return found

    async def history(self, subject: str, limit: int = 200) -> list[Event]:
        return [unseal(stored) for stored in await self.coordinator.history(subject, limit)]

    async def event_at(self, position: int) -> Event | None:
        stored = await self.coordinator.event_at(position)
        return unseal(stored) if stored else None

    async def health(self) -> Health:
        return await self.coordinator.health()

    # -- following ----------------------------------------------------------------------------

    async def _follow(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                if self.world.position == 0:
                    saved = await self.coordinator.snapshot()
                    self.world, _ = snapshots.load(saved)
                    self._woken_by_position()
                self.is_stale = False
                async for feed in self.coordinator.follow(self.world.position):
                    await self._take(feed)
                    pause_s = RETRY_FIRST_S
            except Unavailable as error:
                log.info("coordinator away: %s", error.message)
            self.is_stale = True
            # A new coordinator knows nothing of the offers that stood with the old one.
            self._wake_all("again")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def _take(self, feed: Feed) -> None:
        for body in feed.bodies:
            self._keep(body.ref, body.text)
        for index, stored in enumerate(feed.events):
            if stored.position <= self.world.position:
                continue
            event = unseal(stored)
            self.world.apply(event)
            self.world.ready.fresh.clear()  # offers are the coordinator's matter
            data = event.data
            if isinstance(data, TaskAssigned) and data.is_offered:
                waiter = self._parked.get(data.agent_id)
                if waiter is not None and not waiter.done():
                    waiter.set_result("offered")
            if index % EVENTS_A_SLICE == EVENTS_A_SLICE - 1:
                self._woken_by_position()
                await asyncio.sleep(0)
        self._woken_by_position()

    def _wake_all(self, wake: Wake) -> None:
        for waiter in list(self._parked.values()):
            if not waiter.done():
                waiter.set_result(wake)

    def _woken_by_position(self) -> None:
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


def _withdrawal(command: WaitForTask) -> Command:
    return WithdrawOffer(
        request_id=f"{command.request_id}:gone", principal=SYSTEM, agent_id=command.agent_id
    )
