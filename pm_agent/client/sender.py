"""What all methods and both clients share: making requests, and what goes with each."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

import httpx

from pm_agent.client.request import Request

Answer = TypeVar("Answer")  # Json, or a coroutine of it
Scope = Literal["workspace", "project", "agent", "task"]
Skills = Iterable[str | Mapping[str, Any]]

PATIENCE_S = 60.0  # longer than a restart of the server with Ray, measured at 10 to 20 s
REQUEST_S = 30.0
LONG_POLL_S = 50  # proxies and load balancers commonly cut at 60 s
POLL_SLACK_S = 15.0
STREAM_S = 45.0  # a quiet stream gives a sign of life every 15 s
POSITION_HEADER = "X-PM-Position"


class Sender(Generic[Answer]):
    """Makes requests of methods' arguments; each client performs them in its way."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.position = 0  # highest journal position seen; queries wait until they hold it

    def _perform(self, call: Request) -> Answer:
        raise NotImplementedError

    def _write(self, method: str, path: str, request_id: str | None, **fields: Any) -> Answer:
        wait_s = fields.pop("wait_s", 0)
        body = {name: value for name, value in fields.items() if value is not None}
        body["request_id"] = request_id or uuid.uuid4().hex
        timeout_s = wait_s + POLL_SLACK_S if wait_s else REQUEST_S
        return self._perform(Request(method, path, json=body, params=None, timeout_s=timeout_s))

    def _delete(self, path: str, request_id: str | None) -> Answer:
        params = {"request_id": request_id or uuid.uuid4().hex}  # a DELETE has no body
        return self._perform(Request("DELETE", path, json=None, params=params, timeout_s=REQUEST_S))

    def _query(self, path: str, **filters: Any) -> Answer:
        params = {name: value for name, value in filters.items() if value is not None}
        return self._perform(Request("GET", path, json=None, params=params, timeout_s=REQUEST_S))

    def _headers(self) -> dict[str, str]:
        return {POSITION_HEADER: str(self.position)} if self.position else {}

    def _note_position(self, response: httpx.Response) -> None:
        seen = response.headers.get(POSITION_HEADER, "")
        if seen.isdecimal():
            self.position = max(self.position, int(seen))


def authorization(token: str) -> dict[str, str]:
    """Header that goes with every request."""
    return {"Authorization": f"Bearer {token}"} if token else {}
