"""What all methods and both clients share: making requests, and what goes with each."""

import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import update_wrapper, wraps
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

import httpx
import msgspec

from pm_agent.api.handlers.access import ExchangeAnswer
from pm_agent.api.handlers.slow import OperationAnswer
from pm_agent.client.backoff import pause_after
from pm_agent.client.credential import Credential
from pm_agent.client.errors import UNAUTHENTICATED, ApiError
from pm_agent.client.request import Request
from pm_agent.domain.notice import NO_NOTICE, Notice

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Sender")
Scope = Literal["workspace", "project", "agent", "task"]
Skills = Iterable[str | Mapping[str, Any]]

PATIENCE_S = 60.0  # longer than a restart of the server with Ray, measured at 10 to 20 s
REQUEST_S = 30.0
LONG_POLL_S = 50  # proxies and load balancers commonly cut at 60 s
POLL_SLACK_S = 15.0
STREAM_S = 45.0  # a quiet stream gives a sign of life every 15 s
POSITION_HEADER = "X-PM-Position"


class Blocking(Protocol):
    """A client whose methods return their result."""

    def _perform(self, request: Request[R]) -> R: ...


class Asynchronous(Protocol):
    """A client whose methods are awaited."""

    def _perform(self, request: Request[R]) -> Coroutine[Any, Any, R]: ...


class operation(Generic[S, P, R]):  # noqa: N801 - a decorator
    """Make a method of a function that says which request it is.

    Written once, it returns the result on a blocking client and is awaited on the other.
    """

    def __init__(self, describe: Callable[Concatenate[S, P], Request[R]]) -> None:
        self._describe = describe
        update_wrapper(self, describe)

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: Asynchronous, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        describe = self._describe

        @wraps(describe)
        def perform(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client._perform(describe(client, *args, **kwargs))  # noqa: SLF001 - its own

        return perform

    def __call__(self, client: S, *args: P.args, **kwargs: P.kwargs) -> Request[R]:
        """Describe the request, sending nothing."""
        return self._describe(client, *args, **kwargs)


class Sender:
    """Makes requests of methods' arguments; each client performs them in its way.

    Attributes
    ----------
    position
        Highest journal position seen; queries wait until the server's replica holds it.
    notice
        What the newest answer told an agent beside its result: orders to obey, and how many
        messages wait.
    """

    def __init__(self, token: str, patience_s: float) -> None:
        self.patience_s = patience_s
        self.position = 0
        self.notice: Notice = NO_NOTICE
        self._credential = Credential(token)

    def _write(
        self, result: type[R], method: str, path: str, request_id: str | None, **fields: Any
    ) -> Request[R]:
        wait_s = fields.pop("wait_s", 0)
        body = {name: value for name, value in fields.items() if value is not None}
        body["request_id"] = request_id or uuid.uuid4().hex
        timeout_s = wait_s + POLL_SLACK_S if wait_s else REQUEST_S
        return Request(result, method, path, json=body, timeout_s=timeout_s)

    def _delete(self, result: type[R], path: str, request_id: str | None) -> Request[R]:
        params = {"request_id": request_id or uuid.uuid4().hex}  # a DELETE has no body
        return Request(result, "DELETE", path, params=params, timeout_s=REQUEST_S)

    def _query(self, result: type[R], path: str, **filters: Any) -> Request[R]:
        params = {name: value for name, value in filters.items() if value is not None}
        return Request(result, "GET", path, params=params, timeout_s=REQUEST_S)

    def _begin(
        self, method: str, path: str, request_id: str | None, **fields: Any
    ) -> Request[OperationAnswer]:
        request = self._write(OperationAnswer, method, path, request_id, **fields)
        request.prefer = "respond-async"
        return request

    def _exchange(self, request_id: str | None = None, **fields: Any) -> Request[ExchangeAnswer]:
        request = self._write(ExchangeAnswer, "POST", "/v1/token", request_id, **fields)
        request.is_exchange = True
        return request

    def _headers(self, request: Request[Any] | None = None) -> dict[str, str]:
        is_exchange = request is not None and request.is_exchange
        headers = self._credential.headers(is_exchange=is_exchange)
        if self.position:
            headers[POSITION_HEADER] = str(self.position)
        if request is not None and request.prefer:
            headers["Prefer"] = request.prefer
        return headers

    def _is_renewed(self, request: Request[Any], response: httpx.Response) -> bool:
        """Whether a short-lived token was refused, so that the request goes again with another."""
        if response.status_code != UNAUTHENTICATED or request.is_exchange or request.is_renewed:
            return False
        request.is_renewed = True
        return self._credential.drop()

    def _pause_after(self, error: Exception) -> float:
        """Pause before a stream is taken up again; none when only its token was over."""
        is_over = isinstance(error, ApiError) and error.status == UNAUTHENTICATED
        return 0.0 if is_over and self._credential.drop() else pause_after(error)

    def _note(self, response: httpx.Response) -> None:
        """Keep what an answer says beside its result."""
        seen = response.headers.get(POSITION_HEADER, "")
        if seen.isdecimal():
            self.position = max(self.position, int(seen))
        if response.is_success and b'"inbox":' in response.content:
            try:
                told = _told(response.content)
            except msgspec.DecodeError:
                return
            if told.inbox is not None:
                self.notice = Notice(told.directives, told.inbox)


class _Told(msgspec.Struct, frozen=True, gc=False):
    directives: tuple[str, ...] = ()
    inbox: int | None = None  # None: the answer is to somebody who is no agent


_told = msgspec.json.Decoder(_Told).decode
