"""Event streams: what happened, as it happens, over server-sent events.

An event's id is its position in the journal, so ids rise without end and a client that comes back
with ``Last-Event-ID`` misses nothing: what the replica no longer keeps is read from the journal.
Texts of tasks are not in the stream; whoever needs them reads the task. A stream ends when its
token does, when the server stops, or when the client goes away.

References
----------
WHATWG HTML, "Server-sent events".
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.types import Receive, Send

from pm_agent.domain import access
from pm_agent.domain.envelope import Event, EventData
from pm_agent.domain.errors import InvalidInput
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.types import Result
from pm_agent.runtime.credentials import Grant, is_live
from pm_agent.runtime.ingress import Ingress

log = logging.getLogger(__name__)

Wanted = Callable[[Event], bool]

ALIVE_S = 15.0  # between comments on a quiet stream: proxies close silent ones after 30 s or more
COME_BACK_MS = 2_000
ACCESS_EVENTS: frozenset[Any] = frozenset(access.APPLY)
# References of texts, and records that only explain_assignment can make readable.
_LEFT_OUT = frozenset(
    {"type", "decision", "note", "description", "summary", "report", "resolution", "text"}
)


class StreamedEvent(Result, frozen=True, kw_only=True):
    """The data of one event in a stream."""

    position: int
    at: str
    event: str
    by: str
    request_id: str
    fields: dict[str, Any]


class EventStream:
    """One client's stream, ready to be served.

    Parameters
    ----------
    ingress, grant
        Where the events come from, and who listens: events it may not see are left out.
    after
        Position after which to begin; None: with what comes now.
    wanted
        Which events it is about.
    waiting_id
        An agent that waits for tasks as long as it listens, if it has subscriptions.
    """

    def __init__(
        self,
        ingress: Ingress,
        grant: Grant,
        after: int | None,
        wanted: Wanted,
        waiting_id: AgentId | None = None,
    ) -> None:
        self._ingress = ingress
        self._waiting_id = waiting_id
        self._grant = grant
        self._wanted = wanted
        self.position = ingress.world.position if after is None else after

    async def begin(self) -> None:
        """Wait until the replica has reached where the client stands.

        Raises
        ------
        InvalidInput
            There is no such position in this workspace.
        """
        if not await self._ingress.reach(self.position):
            message = f"after: the journal has not come to position {self.position}."
            raise InvalidInput(message, "Leave it out to begin with what comes now.")

    async def serve(
        self, receive: Receive, send: Send, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Send events until the client is gone, the token ends or the server stops.

        Raises
        ------
        RateLimited
            Before anything is sent: the principal listens often enough already.
        """
        with self._ingress.pace.listening(self._grant):
            await self._serve(receive, send, headers)

    async def _serve(
        self, receive: Receive, send: Send, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        start = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would gather them
            *headers,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        gone = asyncio.create_task(_until_gone(receive))
        sending = asyncio.create_task(self._send_all(send))
        tasks = [gone, sending]
        if self._waiting_id is not None:
            tasks.append(asyncio.create_task(self._ingress.waiters.stand_for(self._waiting_id)))
        try:
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():  # whatever ended it: the client comes back and goes on
                await send({"type": "http.response.body", "body": b""})
                if (error := sending.exception()) is not None:
                    log.info("a stream ended early", exc_info=error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        async def push(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        await push(f"retry: {COME_BACK_MS}\n\n")
        async with aclosing(self._batches()) as batches:
            async for events in batches:
                shown = "".join(sse(event) for event in events if self._is_shown(event))
                if events:
                    # A place to come back to, even when nothing of it was for this client.
                    shown = shown or f"id: {events[-1].position}\n\n"
                await push(shown or ": alive\n\n")

    async def _batches(self) -> AsyncGenerator[list[Event]]:
        """Events in order from where the client stands; an empty list is a sign of life."""
        ingress, log = self._ingress, self._ingress.events
        while not log.is_over and is_live(self._grant, ingress.world, ingress.now_us()):
            events = log.after(self.position)
            if events is None:
                async for old in self._from_journal():
                    yield old
                continue
            if not events:
                before = self.position
                await log.wait(self.position, ALIVE_S)
                if log.position == before and not log.is_over:
                    yield []
                continue
            self.position = events[-1].position
            yield list(events)

    async def _from_journal(self) -> AsyncGenerator[list[Event]]:
        """Read on from the journal until the list in memory takes over."""
        async with aclosing(self._ingress.coordinator.follow(self.position)) as feeds:  # type: ignore[type-var]  # it is a generator
            async for feed in feeds:
                events = [unseal(one) for one in feed.events if one.position > self.position]
                if events:
                    self.position = events[-1].position
                    yield events
                if self._ingress.events.after(self.position) is not None:
                    return

    def _is_shown(self, event: Event) -> bool:
        return may_see(self._grant, event, self._ingress.world) and self._wanted(event)


def may_see(grant: Grant, event: Event, world: World) -> bool:
    """Whether an event may be told to the holder of a grant."""
    if type(event.data) in ACCESS_EVENTS and "pm:access" not in grant.scopes:
        return False
    return not grant.project_ids or project_of(event.data, world) in grant.project_ids


def project_of(data: EventData, world: World) -> ProjectId | None:
    """Return the project that an event is about; None: none, or it is not known any more."""
    named = getattr(data, "project_id", None)
    if named:
        return str(named)
    task_id = getattr(data, "task_id", None)
    known = world.tasks.get(task_id) or world.tombstones.get(task_id) if task_id else None
    return known.project_id if known else None


def sse(event: Event) -> str:
    """Write one event as the stream carries it."""
    body = msgspec.json.encode(told(event)).decode()
    return f"id: {event.position}\nevent: {event.kind}\ndata: {body}\n\n"


def told(event: Event) -> StreamedEvent:
    """Return what listeners are told of an event."""
    fields = msgspec.to_builtins(event.data)
    return StreamedEvent(
        position=event.position,
        at=iso(event.at_us),
        event=event.kind,
        by=event.principal,
        request_id=event.cause,
        fields={name: value for name, value in fields.items() if name not in _LEFT_OUT},
    )


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
