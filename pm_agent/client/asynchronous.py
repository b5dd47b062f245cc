"""The client for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Self

import httpx

from pm_agent.api.handlers.assignments import ClaimAnswer
from pm_agent.api.handlers.slow import OperationAnswer
from pm_agent.client.backoff import backoff_s, pause_after, pause_without_task
from pm_agent.client.errors import ApiError, Json
from pm_agent.client.methods import Operations
from pm_agent.client.request import R, Request
from pm_agent.client.sender import LONG_POLL_S, PATIENCE_S, STREAM_S
from pm_agent.client.stream import event_in, require_stream, stream_of


class AsyncClient(Operations):
    """The same for asyncio; operations are awaited. Parameters as for `Client`."""

    refused = ApiError

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(token, patience_s)
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(base_url=base_url, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def tasks(
        self, agent_id: str, *, project_id: str | None = None, timeout_s: int = LONG_POLL_S
    ) -> AsyncIterator[ClaimAnswer]:
        """Every task that is given to an agent, waiting again and again; it never ends by itself.

        Finish or release a task before asking the iterator for the next one. An unreachable server
        is waited for; a refusal is raised.
        """
        while True:
            try:
                claimed = await self.wait_for_task(
                    agent_id, project_id=project_id, timeout_s=timeout_s
                )
            except ApiError as error:
                await asyncio.sleep(pause_after(error))
                continue
            if claimed.outcome == "assigned":
                yield claimed
            elif claimed.outcome == "none":
                await asyncio.sleep(pause_without_task(claimed))

    async def wait_for_operation(
        self, operation_id: str, *, timeout_s: float = PATIENCE_S
    ) -> OperationAnswer:
        """Ask after a slow operation until it has ended; still ``running`` when the time is up."""
        give_up_at = time.monotonic() + timeout_s
        n_asked = 0
        while True:
            found = await self.get_operation(operation_id)
            pause_s = backoff_s(n_asked)
            if found.state != "running" or time.monotonic() + pause_s > give_up_at:
                return found
            n_asked += 1
            await asyncio.sleep(pause_s)

    async def events(
        self, *, agent_id: str | None = None, after: int | None = None
    ) -> AsyncGenerator[Json]:
        """Events of the workspace, or of what concerns one agent; it never ends by itself.

        ``after`` is a journal position to begin after; left out, it begins with what comes now.
        A broken stream is taken up where it was, and nothing is missed; a refusal is raised.
        """
        path, params = stream_of(agent_id)
        while True:
            params |= {} if after is None else {"after": after}
            try:
                await self._renew()
                async with self._http.stream(
                    "GET", path, params=params, headers=self._credential.headers(), timeout=STREAM_S
                ) as response:
                    if not response.is_success:
                        await response.aread()
                    require_stream(response)
                    async for line in response.aiter_lines():
                        event = event_in(line)
                        if event is not None:
                            after = int(event["position"])
                            yield event
            except (httpx.TransportError, ApiError) as error:
                await asyncio.sleep(self._pause_after(error))

    async def _perform(self, request: Request[R]) -> R:
        while True:
            try:
                if not request.is_exchange:
                    await self._renew()
                response = await self._http.request(
                    request.method,
                    request.path,
                    json=request.json,
                    params=request.params,
                    headers=self._headers(request),
                    timeout=request.timeout_s,
                )
            except httpx.TransportError as error:
                request.lost(error, self.patience_s)
            else:
                self._note(response)
                if self._is_renewed(request, response):
                    continue
                answer = request.read(response, self.patience_s)
                if answer is not None:
                    return answer
            await asyncio.sleep(request.pause_s)

    async def _renew(self) -> None:
        """Exchange a key for a short-lived token when it is time; many calls wait for one."""
        if not self._credential.is_due:
            return
        async with self._renewing:
            if self._credential.is_due:  # else another call has just done it
                made = await self._perform(self._exchange())
                self._credential.take(made.access_token, made.expires_in)
