"""Virtual actors: objects with an id, a mailbox and a life, many in one process.

A process an agent would cost about 56 MiB and half a percent of a core when idle; a thousand
objects in one host start in milliseconds and need a megabyte. Each takes its messages one at a
time, in order, so it needs no locks; objects of one host run side by side.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

log = logging.getLogger(__name__)

MAX_MAILBOX = 1_000


class VirtualActor(Protocol):
    """What lives in a host under an id."""

    async def start(self) -> None:
        """Begin to live; called once, before the first message."""
        ...

    async def receive(self, message: Any) -> Any:
        """Take one message and answer it."""
        ...

    async def stop(self) -> None: ...


class MailboxFull(Exception):
    """The actor takes its messages too slowly."""


Message = tuple[Any, "asyncio.Future[Any]"]


class Mailboxes:
    """The virtual actors of one host, by id."""

    def __init__(self) -> None:
        self._inboxes: dict[str, asyncio.Queue[Message | None]] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, actor_id: str) -> bool:
        return actor_id in self._inboxes

    def ids(self) -> list[str]:
        return sorted(self._inboxes)

    def activate(self, actor_id: str, make: Callable[[], VirtualActor]) -> bool:
        """Bring an actor to life; False when it lives already."""
        if actor_id in self._inboxes:
            return False
        inbox: asyncio.Queue[Message | None] = asyncio.Queue(MAX_MAILBOX)
        self._inboxes[actor_id] = inbox
        self._lives[actor_id] = asyncio.create_task(
            self._live(actor_id, make(), inbox), name=actor_id
        )
        return True

    async def ask(self, actor_id: str, message: Any) -> Any:
        """Send a message and wait for its answer.

        Raises
        ------
        KeyError
            No such actor lives here.
        MailboxFull
            Too many messages wait for it.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self._inboxes[actor_id].put_nowait((message, answer))
        except asyncio.QueueFull as error:
            raise MailboxFull(actor_id) from error
        return await answer

    async def passivate(self, actor_id: str) -> None:
        """Let an actor take what waits for it, then end its life."""
        inbox = self._inboxes.pop(actor_id, None)
        if inbox is None:
            return
        life = self._lives.pop(actor_id)
        await inbox.put(None)
        with suppress(asyncio.CancelledError):
            await life

    async def stop(self) -> None:
        await asyncio.gather(*(self.passivate(actor_id) for actor_id in self.ids()))

    async def _live(
        self, actor_id: str, actor: VirtualActor, inbox: asyncio.Queue[Message | None]
    ) -> None:
        try:
            await actor.start()
            while (received := await inbox.get()) is not None:
                message, answer = received
                try:
                    result = await actor.receive(message)
                except Exception as error:  # noqa: BLE001 - goes to whoever asked
                    if not answer.done():
                        answer.set_exception(error)
                else:
                    if not answer.done():
                        answer.set_result(result)
        except Exception:
            log.exception("virtual actor %s failed", actor_id)
            raise
        finally:
            if self._inboxes.get(actor_id) is inbox:  # a successor may live under the id already
                del self._inboxes[actor_id]
            while not inbox.empty():
                left = inbox.get_nowait()
                if left is not None and not left[1].done():
                    left[1].set_exception(KeyError(actor_id))
            await actor.stop()
