"""The ingress: where requests become commands, replies are enriched, and waiting agents are parked.

It keeps a replica of the world by following the coordinator, so queries cost no hop; commands go
to the coordinator in micro-batches. While the coordinator cannot be reached or cannot write,
queries go on and are marked stale.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any, Literal

from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import ClaimTask, WaitForTask
from pm_agent.domain.envelope import Command, Event, Principal
from pm_agent.domain.errors import HandingOver, Overloaded, Unavailable
from pm_agent.domain.ids import AgentId
from pm_agent.domain.world import World
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import Reply
from pm_agent.ports import Clock
from pm_agent.runtime.access_notes import AccessNotes
from pm_agent.runtime.admission import Admission, Lane, Limits, Work
from pm_agent.runtime.backend import Coordinator, Health
from pm_agent.runtime.batcher import Batcher
from pm_agent.runtime.credentials import Credentials, Grant
from pm_agent.runtime.event_log import EventLog
from pm_agent.runtime.jobs import Jobs
from pm_agent.runtime.pace import Pace
from pm_agent.runtime.replica import Replica
from pm_agent.runtime.secret import RecentSecrets
from pm_agent.runtime.waiters import Waiters

WATCH_S = 1.0  # between looks at the coordinator's health
HEALTH_S = 3.0  # for its answer: a frozen process never gives one

# What takes on new work; a server that is handing over refuses it first.
_TAKES_ON = (ClaimTask, WaitForTask, RegisterAgent)


class Ingress:
    """One replica's door to the coordinator.

    Attributes
    ----------
    can_write : bool
        Whether the coordinator can write new events.
    leaving
        How far a handover to another server has come: nothing new is taken on, or it is done.
    secrets
        Access secrets made here a moment ago, for retries of the requests that made them.
    credentials
        What lets somebody in.
    pace
        How fast a caller may ask.
    waiters
        Agents that wait for a task here.
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
        self.clock = clock
        self.can_write = True
        self.leaving: Literal["", "draining", "done"] = ""
        self.secrets = RecentSecrets()
        self.jobs: Jobs[Any] = Jobs()
        self.is_behind_haproxy = False  # of our own: its word on who connected counts
        self.pace = Pace(limits)
        self._batcher = Batcher(coordinator)
        self._replica = Replica(coordinator)
        self._notes = AccessNotes(self.credentials, self.submit)
        self.waiters = Waiters(
            self._replica, self.submit, self._batcher.submit_soon, clock, random or Random()
        )
        self.admission = Admission(lambda: self._batcher.n_waiting)
        self._tasks: list[asyncio.Task[None]] = []
        self._handover: asyncio.Task[Health] | None = None
        self.written = 0  # highest position in a reply that went through here

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        following = self._replica.follow(self.waiters.see, lambda: self.waiters.wake_all("again"))
        self._tasks = [
            asyncio.create_task(following, name="follower"),
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._notes.run(self._may_note), name="notes"),
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
        self.waiters.wake_all("nothing")
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

    def enter(self, work: Work) -> Lane:
        """Let a request queue for a slot, for an ``async with``.

        Raises
        ------
        Overloaded
            There is so much to do that such work is refused.
        """
        return self.admission.enter(work)

    def refuse_stranger(self, address: str, reason: str = "") -> None:
        """Count a request without a valid token against the address it came from.

        Raises
        ------
        RateLimited
        """
        self._notes.refused(address, reason)
        self.pace.require_stranger(address)

    async def note_access(self) -> None:
        """Write into the journal who was refused and which keys are in use, now.

        Raises
        ------
        Unavailable
        """
        await self._notes.write(is_new=self._may_note())

    def _may_note(self) -> bool:
        return self.can_write and not self.leaving

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

    # -- reading ------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """The replica; read only. `reach` waits until it holds a position."""
        return self._replica.world

    @property
    def events(self) -> EventLog:
        """The newest events, for those who listen."""
        return self._replica.events

    @property
    def is_following(self) -> bool:
        """Whether the replica hears of new events."""
        return self._replica.is_following

    @property
    def is_stale(self) -> bool:
        """Whether the truth may be ahead of this replica for reasons other than time."""
        return not (self.is_following and self.can_write)

    @property
    def workspace_id(self) -> str:
        return self.world.tables.workspace_id

    async def reach(self, position: int) -> bool:
        """Wait, at most two seconds, until the replica holds a position. False when it does not."""
        return await self._replica.reach(position)

    async def catch_up(self, position: int = 0) -> None:
        """Wait until the replica holds every write that was answered here, and a position."""
        await self.reach(max(position, self.written))

    async def texts(self, refs: Iterable[str | None]) -> dict[str, str]:
        """Bodies by reference, from memory or the journal; erased ones are left out."""
        return await self._replica.texts(refs)

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
