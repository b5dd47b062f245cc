"""Messages that may wait: gathered for a moment, sent as one batch, half the price.

A batch that is not over in time is cancelled. One that was under way when the process ended is not
looked for again: its questions are asked anew, as effects are done at least once.
"""

import asyncio

from anthropic import AsyncAnthropic
from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request


class BatchFailed(Exception):
    """A message of a batch was not answered."""


class Batches:
    """Gathers messages and sends them together.

    Parameters
    ----------
    client
        The SDK's client.
    gather_s, poll_s, timeout_s
        Seconds to gather, between two looks at a batch, and until one is given up.
    """

    MOST = 1_000  # messages of one batch

    def __init__(
        self, client: AsyncAnthropic, *, gather_s: float, poll_s: float, timeout_s: float
    ) -> None:
        self._client = client
        self._gather_s, self._poll_s, self._timeout_s = gather_s, poll_s, timeout_s
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
            task = asyncio.create_task(self._send(), name="batch of messages")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return await future

    async def close(self) -> None:
        """Stop waiting for batches."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self) -> None:
        await asyncio.sleep(self._gather_s)
        sent, self._waiting = self._waiting[: self.MOST], self._waiting[self.MOST :]
        futures = [future for _, future in sent]
        try:
            answers = await self._answers([params for params, _ in sent])
        except Exception as error:  # noqa: BLE001 - each asker handles it as if it had called alone
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        else:
            for number, future in enumerate(futures):
                answer = answers.get(str(number))
                if future.done():
                    continue
                if answer is None:
                    future.set_exception(BatchFailed("no answer in the batch"))
                else:
                    future.set_result(answer)

    async def _answers(self, sent: list[MessageCreateParamsNonStreaming]) -> dict[str, Message]:
        batches = self._client.messages.batches
        requests = [Request(custom_id=str(n), params=params) for n, params in enumerate(sent)]
        batch = await batches.create(requests=requests)
        try:
            async with asyncio.timeout(self._timeout_s):
                while batch.processing_status != "ended":
                    await asyncio.sleep(self._poll_s)
                    batch = await batches.retrieve(batch.id)
        except TimeoutError:
            await batches.cancel(batch.id)
            raise
        return {
            one.custom_id: one.result.message
            async for one in await batches.results(batch.id)
            if one.result.type == "succeeded"
        }
