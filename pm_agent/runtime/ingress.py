"""The ingress: where requests become commands, replies are enriched, and waiting agents are parked.

It keeps a replica of the world by following the coordinator, so queries cost no hop; commands go
to the coordinator in micro-batches. While the coordinator cannot be reached or cannot write,
queries go on and are marked stale.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from random import Random
from typing import Any, Literal
from uuid import uuid4

import msgspec

from pm_agent.domain.access import NoteKeysUsed, NoteRefusals, Refusals
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import ClaimTask, TaskAssigned, WaitForTask, WithdrawOffer
from pm_agent.domain.envelope import SYSTEM, Command, Event, Principal
from pm_agent.domain.errors import (
    HandingOver,
    Overloaded,
    PMError,
    RateLimited,
    Unavailable,
)
from pm_agent.domain.ids import AgentId
from pm_agent.domain.notice import notice_for
from pm_agent.domain.time import SECOND_US
from pm_agent.domain.world import World
from pm_agent.features.assignment.decide import given_by
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import Reply
from pm_agent.ports import Clock
from pm_agent.runtime.admission import Admission, Lane, Limits, Work
from pm_agent.runtime.backend import Coordinator, Feed, Health
from pm_agent.runtime.batcher import Batcher
from pm_agent.runtime.credentials import Credentials, Grant
from pm_agent.runtime.event_log import EventLog
from pm_agent.runtime.jobs import Jobs
from pm_agent.runtime.secret import RecentSecrets
from pm_agent.runtime.token_bucket import TokenBuckets

log = logging.getLogger(__name__)
audit = logging.getLogger("pm_agent.audit")  # who was refused, and why; one line each

RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
KEPT_BODIES = 50_000
EVENTS_A_SLICE = 200  # applied before other requests get a turn
REACH_S = 2.0
WATCH_S = 1.0  # between looks at the coordinator's health
HEALTH_S = 3.0  # for its answer: a frozen process never gives one
NOTE_S = 10.0  # between notes about access in the journal
MAX_REFUSALS = (
    100  # different ones in a note; strangers must not make the journal grow as they like
)
STANDS_S = 30.0  # between two looks whether a listening agent still waits for tasks
# Agents that came together go apart again: a wait ends up to a fifth early. Never late, for the
# time that was asked for is the most that the caller's own client waits.
WAIT_JITTER = 0.2

# What takes on new work; a server that is handing over refuses it first.
_TAKES_ON = (ClaimTask, WaitForTask, RegisterAgent)

# The event that leases a task to the waiter; a newer wait of the same agent took over; the
# coordinator is a new one, so the offer has to be made again; or it ended with nothing.
Wake = Event | Literal["replaced", "again", "nothing"]


class Ingress:
    """One replica's door to the coordinator.

    Attributes
    ----------
    world : World
        Replica; read only. `reach` waits until it holds a position.
    is_following, can_write
        Whether the replica hears of new events, and whether the coordinator can write them.
    leaving
        How far a handover to another server has come: nothing new is taken on, or it is done.
    secrets
        Access secrets made here a moment ago, for retries of the requests that made them.
    credentials
        What lets somebody in.
    events
        The newest events, for those who listen.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        random: Random | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.coordinator = coordinator
        self.credentials = credentials or Credentials()
        self.events = EventLog()
        self.clock = clock
        self.world = World()
        self.is_following = False
        self.can_write = True
        self.leaving: Literal["", "draining", "done"] = ""
        self.secrets = RecentSecrets()
        self.jobs: Jobs[Any] = Jobs()
        self.is_behind_haproxy = False  # of our own: its word on who connected counts
        self._random = random or Random()
        self._batcher = Batcher(coordinator)
        self._callers = TokenBuckets(limits.claims_per_s, limits.claims_burst)
        self._strangers = TokenBuckets(limits.strangers_per_s, limits.strangers_burst)
        self._requests = TokenBuckets(limits.requests_per_s, limits.requests_burst)
        self._requests_burst = limits.requests_burst
        self.burst_s = max(1, round(limits.requests_burst / limits.requests_per_s))
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._notes: dict[str, Command] = {}  # by request id: sent, and not answered yet
        self._streams: Counter[Principal] = Counter()
        self._max_streams = limits.streams
        self._tasks: list[asyncio.Task[None]] = []
        self._handover: asyncio.Task[Health] | None = None
        self._bodies: OrderedDict[str, str] = OrderedDict()
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._parked: dict[AgentId, asyncio.Future[Wake]] = {}
        self._standing = Counter[AgentId]()  # listeners that stand for an agent
        self.admission = Admission(lambda: self._batcher.n_waiting)
        self.written = 0  # highest position in a reply that went through here

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow(), name="follower"),
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._note_access(), name="notes"),
            asyncio.create_task(self.admission.lag.measure(), name="lag"),
        ]

    async def stop(self) -> None:
        await self.jobs.stop()
        await self._batcher.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def release_waiters(self) -> None:
        """End all parked waits with nothing, and all streams: the server is about to stop."""
        self._wake_all("nothing")
        self.events.end()

    async def hand_over(self, drain_s: float) -> Health:
        """Let another server take over; called again, wait for the same handover.

        First nothing new is taken on, for ``drain_s`` seconds in which load balancers see that
        this server is not ready and agents can still say what they have done. Then nothing is
        written any more: what is under way is finished, and the coordinator saves a snapshot.

        Raises
        ------
        Unavailable
            The coordinator could not be reached; this server goes on as before.
        """
        if self._handover is None:
            self._handover = asyncio.create_task(self._hand_over(drain_s), name="handover")
        return await asyncio.shield(self._handover)

    async def _hand_over(self, drain_s: float) -> Health:
        self.leaving = "draining"
        self.release_waiters()
        try:
            await asyncio.sleep(drain_s)
            self.leaving = "done"
            await self._batcher.settle()
            return await self.coordinator.hand_over()
        except BaseException:
            self.leaving = ""
            self._handover = None
            raise

    @property
    def is_stale(self) -> bool:
        """Whether the truth may be ahead of this replica for reasons other than time."""
        return not (self.is_following and self.can_write)

    @property
    def workspace_id(self) -> str:
        return self.world.tables.workspace_id

    @property
    def n_parked(self) -> int:
        return len(self._parked)

    def now_us(self) -> int:
        return self.clock.now_us()

    # -- who --------------------------------------------------------------------------------

    def authenticate(self, credential: str) -> Grant:
        """Return what a credential of ours allows.

        Raises
        ------
        Unauthenticated
            It is missing, unknown or over.
        """
        return self.credentials.verify(credential, self.world, self.now_us())

    def hear(self, principal: Principal) -> None:
        """Note a sign of life that comes with a query; it goes with the next batch."""
        if principal.kind == "agent":
            self._batcher.hear(principal.id)

    # -- admission ----------------------------------------------------------------------------

    def enter(self, work: Work) -> Lane:
        """Let a request queue for a slot, for an ``async with``.

        Raises
        ------
        Overloaded
            There is so much to do that such work is refused.
        """
        return self.admission.enter(work)

    def require_pace(self, principal: Principal, work: Work) -> None:
        """Refuse an agent that takes on work, or tries to, faster than an agent can.

        Raises
        ------
        RateLimited
        """
        if work == "claim" and principal.kind == "agent":
            _require_token(self._callers, principal.id, f"Agent {principal.id} asks too often.")

    def require_requests(self, grant: Grant) -> None:
        """Refuse a key or token that is used faster than any caller needs.

        Raises
        ------
        RateLimited
        """
        _require_token(self._requests, grant.credential, "This key or token asks too often.")

    def rate_left(self, grant: Grant) -> tuple[int, int, int]:
        """Requests in a full bucket of a key or token, those left now, and seconds until full."""
        left, full_in_s = self._requests.left(grant.credential)
        return self._requests_burst, left, ceil(full_in_s)

    @contextmanager
    def listening(self, grant: Grant) -> Iterator[None]:
        """Count an event stream while it lasts.

        Raises
        ------
        RateLimited
            The principal listens often enough already.
        """
        principal = grant.principal
        if self._streams[principal] >= self._max_streams:
            message = f"{principal} has {self._max_streams} event streams open already."
            refusal = RateLimited(message, "Close one of them first.")
            refusal.retry_after_s = 1.0
            raise refusal
        self._streams[principal] += 1
        try:
            yield
        finally:
            self._streams[principal] -= 1
            if not self._streams[principal]:
                del self._streams[principal]

    def refuse_stranger(self, address: str, reason: str = "") -> None:
        """Count a request without a valid token against the address it came from.

        Raises
        ------
        RateLimited
        """
        audit.warning("refused %s: %s", address, reason)
        known = (reason, address)
        if known not in self._refusals and len(self._refusals) >= MAX_REFUSALS:
            known = ("more", "elsewhere")
        self._refusals[known] += 1
        message = "Too many requests without a valid access token came from this address."
        _require_token(self._strangers, address, message)

    async def _note_access(self) -> None:
        """Write into the journal now and then who was refused, and which keys are in use."""
        while True:
            await asyncio.sleep(NOTE_S)
            with suppress(PMError):
                await self.note_access()

    async def note_access(self) -> None:
        """Write it now.

        Raises
        ------
        Unavailable
            What could not be written is kept, and sent again as it was, since it may have been
            written all the same.
        """
        if not self._notes and self.can_write and not self.leaving:
            self._notes = {note.request_id: note for note in self._new_notes()}
        for note in list(self._notes.values()):
            await self.submit(note)
            self._notes.pop(note.request_id, None)

    def _new_notes(self) -> Iterator[Command]:
        if self._refusals:
            counted, self._refusals = self._refusals, Counter()
            refusals = tuple(Refusals(why, where, n) for (why, where), n in counted.items())
            yield NoteRefusals(request_id=uuid4().hex, principal=SYSTEM, refusals=refusals)
        used = self.credentials.take_used()
        if used:
            yield NoteKeysUsed(request_id=uuid4().hex, principal=SYSTEM, key_ids=used)

    # -- commands -----------------------------------------------------------------------------

    async def submit(self, command: Command) -> Reply:
        """Send a command with the next batch and wait for its durable reply.

        Raises
        ------
        Unavailable
            The coordinator could not be reached; the same request may be sent again.
        """
        if self.leaving and (self.leaving == "done" or isinstance(command, _TAKES_ON)):
            raise HandingOver
        return await self._send(command)

    async def _send(self, command: Command) -> Reply:
        try:
            reply = await self._batcher.submit(command)
        except Overloaded:
            raise
        except Unavailable:
            self._note_writing(is_possible=False)
            raise
        if not self.can_write:
            self._note_writing(is_possible=True)
        self.written = max(self.written, reply.position)
        return reply

    async def wait_for_task(self, command: WaitForTask) -> Reply:
        """Claim, or park until a task is offered, the time is up or the caller goes away.

        The task that wakes a waiter is leased to it already, and the event that did it says all
        there is to tell. Nothing here is a sign of life: the connection may be dead and nobody be
        told. The agent confirms by its next call; one that has vanished leaves the lease
        unconfirmed, and the task is free again.
        """
        left_us = command.until_us - self.clock.now_us()
        early_us = int(left_us * self._random.uniform(0, WAIT_JITTER))
        command = msgspec.structs.replace(command, until_us=command.until_us - early_us)
        while True:
            reply, wake = await self._stand(command)
            # A replica that lags may tell of a lease from before this wait, which is over by now.
            is_old = isinstance(wake, Event) and wake.position <= reply.position
            if wake != "again" and not is_old:
                break
        return self._woken(command, wake) if isinstance(wake, Event) else reply

    def _woken(self, command: WaitForTask, event: Event) -> Reply:
        """Answer a wait with the lease that ended it."""
        assert isinstance(event.data, TaskAssigned), event
        told = notice_for(self.world, command.agent_id)
        return Reply(
            request_id=command.request_id,
            position=event.position,
            result=msgspec.json.encode(given_by(event.data, event.at_us)),
            directives=told.directives,
            inbox=told.inbox,
        )

    async def stand_for(self, agent_id: AgentId) -> None:
        """Wait for tasks in the name of an agent that listens to its events, until cancelled.

        What it is offered it sees in its events, and confirms by its next call. Nothing here is a
        sign of life: a listener that went without a word keeps no task and no lease.
        """
        # The same as of no other listener, in this process or one before.
        listener, n_asked, renew_us = f"{self._random.getrandbits(64):016x}", 0, 0
        self._standing[agent_id] += 1
        stood: tuple[object, ...] | None = None
        try:
            while True:
                position, now_us = self.events.position, self.clock.now_us()
                stands = self._may_stand(agent_id)
                if stands is not None and (stands != stood or now_us >= renew_us):
                    n_asked += 1
                    renew_us = now_us + round(STANDS_S * SECOND_US)
                    wait = WaitForTask(
                        request_id=f"system:listener:{listener}:{n_asked}",
                        principal=SYSTEM,
                        agent_id=agent_id,
                        until_us=now_us + 2 * round(STANDS_S * SECOND_US),
                    )
                    with suppress(Unavailable):
                        await self.submit(wait)
                stood = stands
                await self.events.wait(position, STANDS_S)
        finally:
            self._standing[agent_id] -= 1
            # Who came back listens already when the connection before is found dead.
            if not self._standing[agent_id]:
                del self._standing[agent_id]
                if n_asked and agent_id not in self._parked:
                    self._batcher.submit_soon(_withdrawal(agent_id, f"system:listener:{listener}"))

    def _may_stand(self, agent_id: AgentId) -> tuple[object, ...] | None:
        """What a standing offer of a listening agent depends on; None: it may not stand now."""
        known = self.world.agents.get(agent_id)
        filters = self.world.watchlists.of_agent.get(agent_id)
        if known is None or filters is None or len(known.active) >= known.capacity:
            return None
        return known.active, tuple(filters)

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
                async with asyncio.timeout(max(left_s, 0)):
                    wake = await woken
                if wake == "nothing":  # told to end early: the offer would stand on
                    self._batcher.submit_soon(_withdrawal(agent_id, command.request_id))
                return reply, wake
        except asyncio.CancelledError:
            if self._parked.get(agent_id) is woken:  # else the offer is a newer wait's
                self._batcher.submit_soon(_withdrawal(agent_id, command.request_id))
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

    async def signs(self, agent_ids: Iterable[AgentId]) -> Signs | None:
        """Last signs of life of some agents; None while the coordinator is away."""
        wanted = sorted(set(agent_ids))
        if not wanted:
            return None
        with suppress(Unavailable):
            return await self.coordinator.signs(wanted)
        return None

    async def history(self, subject: str, limit: int = 200) -> list[Event]:
        return [unseal(stored) for stored in await self.coordinator.history(subject, limit)]

    async def event_at(self, position: int) -> Event | None:
        stored = await self.coordinator.event_at(position)
        return unseal(stored) if stored else None

    async def reply_to(self, principal: str, request_id: str) -> Reply | None:
        return await self.coordinator.reply_to(principal, request_id)

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
                    self.events.begin(self.world.position)
                    self._woken_by_position()
                self.is_following = True
                async for feed in self.coordinator.follow(self.world.position):
                    await self._take(feed)
                    pause_s = RETRY_FIRST_S
            except Unavailable as error:
                log.info("coordinator away: %s", error.message)
            except Exception:
                # A bug: this replica stays where it is, is marked stale, and is not ready.
                log.exception("the replica stops at position %d", self.world.position)
                self.is_following = False
                raise
            self.is_following = False
            # A new coordinator knows nothing of the offers that stood with the old one.
            self._wake_all("again")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def _watch(self) -> None:
        """Learn in time when the coordinator cannot write: its followers hear nothing then."""
        while True:
            try:
                # Not wait_for: in Python 3.11 it can lose a cancellation, and stop would hang.
                async with asyncio.timeout(HEALTH_S):
                    health = await self.coordinator.health()
                self._note_writing(is_possible=health.is_writable)
            except (Unavailable, TimeoutError):
                self._note_writing(is_possible=False)
            await asyncio.sleep(WATCH_S)

    def _note_writing(self, *, is_possible: bool) -> None:
        self.can_write = is_possible
        self.admission.is_away = not is_possible

    async def _take(self, feed: Feed) -> None:
        for body in feed.bodies:
            self._keep(body.ref, body.text)
        for index, stored in enumerate(feed.events):
            if stored.position <= self.world.position:
                continue
            event = unseal(stored)
            self.world.apply(event)
            self.events.add(event)
            self.world.ready.fresh.clear()  # offers are the coordinator's matter
            data = event.data
            if isinstance(data, TaskAssigned) and data.is_offered:
                waiter = self._parked.get(data.agent_id)
                if waiter is not None and not waiter.done():
                    waiter.set_result(event)
            if index % EVENTS_A_SLICE == EVENTS_A_SLICE - 1:
                self._woken_by_position()
                await asyncio.sleep(0)
        self._woken_by_position()

    def _wake_all(self, wake: Wake) -> None:
        for waiter in list(self._parked.values()):
            if not waiter.done():
                waiter.set_result(wake)

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


def _withdrawal(agent_id: AgentId, request_id: str) -> Command:
    return WithdrawOffer(request_id=f"{request_id}:gone", principal=SYSTEM, agent_id=agent_id)


def _require_token(buckets: TokenBuckets, key: str, message: str) -> None:
    wait_s = buckets.take(key)
    if wait_s:
        refusal = RateLimited(message)
        refusal.retry_after_s = wait_s
        raise refusal
