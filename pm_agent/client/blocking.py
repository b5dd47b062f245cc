"""The client for programs without asyncio."""

import time
from collections.abc import Generator, Iterator
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


class Client(Operations):
    """A blocking client.

    Parameters
    ----------
    base_url
        Of the server, such as ``http://127.0.0.1:8000``.
    token
        Access token of an agent or a person.
    patience_s
        How long a call is retried, counted from its first failure.
    transport
        Another way to the server; for tests.

    Raises
    ------
    ApiError
        From every operation.
    """

    refused = ApiError

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(token, patience_s)
        self._http = httpx.Client(base_url=base_url, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def tasks(
        self, agent_id: str, *, project_id: str | None = None, timeout_s: int = LONG_POLL_S
    ) -> Iterator[ClaimAnswer]:
        """Every task that is given to an agent, as `AsyncClient.tasks`."""
        while True:
            try:
                claimed = self.wait_for_task(agent_id, project_id=project_id, timeout_s=timeout_s)
            except ApiError as error:
                time.sleep(pause_after(error))
                continue
            if claimed.outcome == "assigned":
                yield claimed
            elif claimed.outcome == "none":
                time.sleep(pause_without_task(claimed))

    def wait_for_operation(
        self, operation_id: str, *, timeout_s: float = PATIENCE_S
    ) -> OperationAnswer:
        """Ask after a slow operation until it has ended; still ``running`` when the time is up."""
        give_up_at = time.monotonic() + timeout_s
        n_asked = 0
        while True:
            found = self.get_operation(operation_id)
            pause_s = backoff_s(n_asked)
            if found.state != "running" or time.monotonic() + pause_s > give_up_at:
                return found
            n_asked += 1
            time.sleep(pause_s)

    def events(self, *, agent_id: str | None = None, after: int | None = None) -> Generator[Json]:
        """Events as they happen, as `AsyncClient.events`."""
        path, params = stream_of(agent_id)
        while True:
            params |= {} if after is None else {"after": after}
            try:
                self._renew()
                with self._http.stream(
                    "GET", path, params=params, headers=self._credential.headers(), timeout=STREAM_S
                ) as response:
                    if not response.is_success:
                        response.read()
                    require_stream(response)
                    for line in response.iter_lines():
                        event = event_in(line)
                        if event is not None:
                            after = int(event["position"])
                            yield event
            except (httpx.TransportError, ApiError) as error:
                time.sleep(self._pause_after(error))

    def _perform(self, request: Request[R]) -> R:
        while True:
            try:
                if not request.is_exchange:
                    self._renew()
                response = self._http.request(
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
            time.sleep(request.pause_s)

    def _renew(self) -> None:
        """Exchange a key for a short-lived token when it is time."""
        if self._credential.is_due:
            made = self._perform(self._exchange())
            self._credential.take(made.access_token, made.expires_in)
