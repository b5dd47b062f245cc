"""Messages that may wait: gathered for a moment, sent as one batch, half the price.

A batch that is not over in time is cancelled; what it has answered by then is paid for, and used.
One that was under way when the process ended is not looked for again: its questions are asked anew,
as effects are done at least once.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import anthropic
from anthropic import AsyncAnthropic
from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request

# A batch goes on while the service cannot be asked about it.
AWAY = (anthropic.APIConnectionError, anthropic.InternalServerError, anthropic.RateLimitError)
# Why a message of a batch was not answered, by the type of its result.
NOT_ANSWERED = {
    "errored": "batch_errored",
    "expired": "batch_expired",
    "canceled": "batch_cancelled",
}
Answer = Message | str  # or why there is none


class BatchFailed(Exception):
    """A message of a batch was not answered, though the service is there.

    Attributes
    ----------
    reason : str
        One of `NOT_ANSWERED`, or ``batch_failed``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Batches:
    """Gathers messages and sends them together.

    Parameters
    ----------
    client
        The SDK's client.
    gather_s, poll_s, timeout_s
        Seconds to gather, between two looks at a batch, and until one is cancelled.
    cancel_s
        Seconds until a batch that was cancelled is given up.
    """

    MOST = 1_000  # messages of one batch

    def __init__(
        self,
        client: AsyncAnthropic,
        *,
        gather_s: float,
        poll_s: float,
        timeout_s: float,
        cancel_s: float = 600.0,
    ) -> None:
        self._client = client
        self._gather_s, self._poll_s = gather_s, poll_s
        self._timeout_s, self._cancel_s = timeout_s, cancel_s
        self._waiting: list[tuple[MessageCreateParamsNonStreaming, asyncio.Future[Message]]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, params: MessageCreateParamsNonStreaming) -> Message:
        """Answer of one message, whenever its batch is over.

        Raises
        ------
        BatchFailed, anthropic.APIError
        """
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting.append((params, future))
        if len(self._waiting) == 1:
            self._begin()
        return await future

    async def close(self) -> None:
        """Stop waiting for batches."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _begin(self) -> None:
        task = asyncio.create_task(self._send(), name="batch of messages")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self) -> None:
        await asyncio.sleep(self._gather_s)
        sent, self._waiting = self._waiting[: self.MOST], self._waiting[self.MOST :]
        if self._waiting:
            self._begin()
        futures = [future for _, future in sent]
        try:
            answers = await self._answers([params for params, _ in sent])
        except Exception as error:  # noqa: BLE001 - each asker handles it as if it had called alone
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        else:
            for number, future in enumerate(futures):
                answer = answers.get(str(number), "batch_failed")
                if future.done():
                    continue
                if isinstance(answer, str):
                    future.set_exception(BatchFailed(answer))
                else:
                    future.set_result(answer)

    async def _answers(self, sent: Sequence[MessageCreateParamsNonStreaming]) -> dict[str, Answer]:
        batches = self._client.messages.batches
        requests = [Request(custom_id=str(n), params=params) for n, params in enumerate(sent)]
        batch = await batches.create(requests=requests)
        if not await self._is_over(batch.id, self._timeout_s):
            await batches.cancel(batch.id)
            if not await self._is_over(batch.id, self._cancel_s):
                raise TimeoutError
        return {
            one.custom_id: one.result.message
            if one.result.type == "succeeded"
            else NOT_ANSWERED[one.result.type]
            async for one in await batches.results(batch.id)
        }

    async def _is_over(self, batch_id: str, seconds: float) -> bool:
        """Look at a batch again and again; False when it is not over in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await asyncio.sleep(self._poll_s)
                    with suppress(*AWAY):
                        batch = await self._client.messages.batches.retrieve(batch_id)
                        if batch.processing_status == "ended":
                            return True
        return False
