"""Micro-batches to the coordinator: one call in flight, all that waits meanwhile goes in the next.

A call between processes costs about a millisecond, however little it carries. There is no timer:
the batch gathers by itself while the call before it is under way.
"""

import asyncio
import logging
from contextlib import suppress

from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import PMError, Unavailable
from pm_agent.domain.ids import AgentId
from pm_agent.kernel.types import Reply
from pm_agent.runtime.backend import Coordinator

log = logging.getLogger(__name__)

MAX_IN_BATCH = 256
# Longer than a coordinator's restart; retries are safe because every command has a request id.
GIVE_UP_S = 20.0
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
# The callers hear of these at once: it may last, or another server has to be asked.
HOPELESS = frozenset({"journal_unavailable", "fenced"})


class Batcher:
    """Sends commands of many callers in few calls."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._commands: list[tuple[Command, asyncio.Future[Reply]]] = []
        self._heard: set[AgentId] = set()
        self._sender: asyncio.Task[None] | None = None

    @property
    def n_waiting(self) -> int:
        """Commands that are not on their way yet."""
        return len(self._commands)

    async def settle(self) -> None:
        """Return when all that waits now was answered or refused."""
        while self._sender is not None and not self._sender.done():
            await asyncio.wait({self._sender})

    async def stop(self) -> None:
        """Give up what waits."""
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender

    async def submit(self, command: Command) -> Reply:
        """Send a command with the next batch and wait for its durable reply.

        Raises
        ------
        Unavailable
            The coordinator could not be reached; the same request may be sent again.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._put(command, future)
        return await future

    def submit_soon(self, command: Command) -> None:
        """Send a command whose reply nobody waits for."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda f: f.cancelled() or f.exception())
        self._put(command, future)

    def hear(self, agent_id: AgentId) -> None:
        """Note a sign of life without a command; it goes with the next batch."""
        self._heard.add(agent_id)
        self._ensure_sender()

    def _put(self, command: Command, future: "asyncio.Future[Reply]") -> None:
        self._commands.append((command, future))
        self._ensure_sender()

    def _ensure_sender(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(), name="sender")

    async def _send(self) -> None:
        while self._commands or self._heard:
            batch, self._commands = self._commands[:MAX_IN_BATCH], self._commands[MAX_IN_BATCH:]
            heard, self._heard = list(self._heard), set()
            try:
                replies = await self._deliver([command for command, _ in batch], heard)
            except PMError as error:
                _fail(batch, error)
                continue
            except Exception:
                # Not a refusal but a bug; it must not leave callers waiting for ever.
                log.exception("a batch could not be delivered")
                _fail(batch, Unavailable("The batch could not be delivered."))
                continue
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    async def _deliver(self, commands: list[Command], heard: list[AgentId]) -> list[Reply]:
        """Send one batch, again and again while the coordinator is away."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + GIVE_UP_S
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await self._coordinator.submit(commands, heard)
            except Unavailable as error:
                if error.code in HOPELESS or loop.time() + pause_s > give_up:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)


def _fail(batch: "list[tuple[Command, asyncio.Future[Reply]]]", error: PMError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
