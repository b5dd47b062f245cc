"""Agents that wait for a task at one replica, parked until an event tells that they got one.

The coordinator offers a task to a waiter by leasing it; the replica that follows its events sees
the lease and wakes the request.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Literal

import msgspec

from pm_agent.domain.assignment import TaskAssigned, WaitForTask, WithdrawOffer
from pm_agent.domain.envelope import SYSTEM, Command, Event
from pm_agent.domain.errors import Unavailable
from pm_agent.domain.ids import AgentId
from pm_agent.domain.notice import notice_for
from pm_agent.domain.time import SECOND_US
from pm_agent.domain.world import World
from pm_agent.features.assignment.decide import given_by
from pm_agent.kernel.types import Reply
from pm_agent.ports import Clock
from pm_agent.runtime.replica import Replica

STANDS_S = 30.0  # between two looks whether a listening agent still waits for tasks
# Agents that came together go apart again: a wait ends up to a fifth early. Never late, for the
# time that was asked for is the most that the caller's own client waits.
WAIT_JITTER = 0.2

# The event that leases a task to the waiter; a newer wait of the same agent took over; the
# coordinator is a new one, so the offer has to be made again; or it ended with nothing.
Wake = Event | Literal["replaced", "again", "nothing"]


class Waiters:
    """Parked waits and standing listeners.

    Parameters
    ----------
    submit
        Sends a command and waits for its reply.
    submit_soon
        Sends a command that nobody waits for.
    """

    def __init__(
        self,
        replica: Replica,
        submit: Callable[[Command], Awaitable[Reply]],
        submit_soon: Callable[[Command], None],
        clock: Clock,
        random: Random,
    ) -> None:
        self._replica = replica
        self._submit, self._submit_soon = submit, submit_soon
        self._clock = clock
        self._random = random
        self._parked: dict[AgentId, asyncio.Future[Wake]] = {}
        self._standing = Counter[AgentId]()  # listeners that stand for an agent

    @property
    def n_parked(self) -> int:
        """Requests that are parked."""
        return len(self._parked)

    def see(self, event: Event) -> None:
        """Wake the waiter that an event leases a task to."""
        data = event.data
        if isinstance(data, TaskAssigned) and data.is_offered:
            self.wake(data.agent_id, event)

    def wake(self, agent_id: AgentId, wake: Wake) -> None:
        """Wake the waiter of an agent, if there is one."""
        waiter = self._parked.get(agent_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(wake)

    def wake_all(self, wake: Wake) -> None:
        """Wake everybody."""
        for agent_id in list(self._parked):
            self.wake(agent_id, wake)

    async def wait_for_task(self, command: WaitForTask) -> Reply:
        """Claim, or park until a task is offered, the time is up or the caller goes away.

        The task that wakes a waiter is leased to it already, and the event that did it says all
        there is to tell. Nothing here is a sign of life: the connection may be dead and nobody be
        told. The agent confirms by its next call; one that has vanished leaves the lease
        unconfirmed, and the task is free again.
        """
        left_us = command.until_us - self._clock.now_us()
        early_us = int(left_us * self._random.uniform(0, WAIT_JITTER))
        command = msgspec.structs.replace(command, until_us=command.until_us - early_us)
        while True:
            reply, wake = await self._park(command)
            # A replica that lags may tell of a lease from before this wait, which is over by now.
            is_old = isinstance(wake, Event) and wake.position <= reply.position
            if wake != "again" and not is_old:
                break
        return _woken(self._replica.world, command, wake) if isinstance(wake, Event) else reply

    async def _park(self, command: WaitForTask) -> tuple[Reply, Wake]:
        """Leave a standing offer and wait for what becomes of it."""
        agent_id = command.agent_id
        woken: asyncio.Future[Wake] = asyncio.get_running_loop().create_future()
        self.wake(agent_id, "replaced")
        self._parked[agent_id] = woken
        try:
            reply = await self._submit(command)
            if reply.error is not None or b'"outcome":"waiting"' not in reply.result:
                return reply, "nothing"
            left_s = (command.until_us - self._clock.now_us()) / SECOND_US
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left_s, 0)):
                    wake = await woken
                if wake == "nothing":  # told to end early: the offer would stand on
                    self._submit_soon(_withdrawal(agent_id, command.request_id))
                return reply, wake
        except asyncio.CancelledError:
            if self._parked.get(agent_id) is woken:  # else the offer is a newer wait's
                self._submit_soon(_withdrawal(agent_id, command.request_id))
            raise
        finally:
            if self._parked.get(agent_id) is woken:
                del self._parked[agent_id]
        return reply, "nothing"

    async def stand_for(self, agent_id: AgentId) -> None:
        """Wait for tasks in the name of an agent that listens to its events, until cancelled.

        What it is offered it sees in its events, and confirms by its next call. Nothing here is a
        sign of life: a listener that went without a word keeps no task and no lease.
        """
        # The same as of no other listener, in this process or one before.
        listener, n_asked, renew_us = f"{self._random.getrandbits(64):016x}", 0, 0
        events = self._replica.events
        self._standing[agent_id] += 1
        stood: tuple[object, ...] | None = None
        try:
            while True:
                position, now_us = events.position, self._clock.now_us()
                stands = _may_stand(self._replica.world, agent_id)
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
                        await self._submit(wait)
                stood = stands
                await events.wait(position, STANDS_S)
        finally:
            self._standing[agent_id] -= 1
            # Who came back listens already when the connection before is found dead.
            if not self._standing[agent_id]:
                del self._standing[agent_id]
                if n_asked and agent_id not in self._parked:
                    self._submit_soon(_withdrawal(agent_id, f"system:listener:{listener}"))


def _woken(world: World, command: WaitForTask, event: Event) -> Reply:
    """Answer a wait with the lease that ended it."""
    assert isinstance(event.data, TaskAssigned), event
    told = notice_for(world, command.agent_id)
    return Reply(
        request_id=command.request_id,
        position=event.position,
        result=msgspec.json.encode(given_by(event.data, event.at_us)),
        directives=told.directives,
        inbox=told.inbox,
    )


def _may_stand(world: World, agent_id: AgentId) -> tuple[object, ...] | None:
    """What a standing offer of a listening agent depends on; None: it may not stand now."""
    known = world.agents.get(agent_id)
    filters = world.watchlists.of_agent.get(agent_id)
    if known is None or filters is None or len(known.active) >= known.capacity:
        return None
    return known.active, tuple(filters)


def _withdrawal(agent_id: AgentId, request_id: str) -> Command:
    return WithdrawOffer(request_id=f"{request_id}:gone", principal=SYSTEM, agent_id=agent_id)
