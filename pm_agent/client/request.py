"""One request, and whether it is sent again."""

import time
from typing import Generic, TypeVar

import httpx
import msgspec

from pm_agent.client.backoff import backoff_s
from pm_agent.client.errors import (
    BUSY,
    NOT_FOUND,
    SERVER_ERROR,
    UNREACHABLE_NEXT,
    ApiError,
    Json,
    problem_in,
    refusal,
)

R = TypeVar("R")


class Request(Generic[R]):
    """One request and the decision, after each answer, whether to send it again.

    Parameters
    ----------
    result
        What the answer is: the very struct that the server renders.
    method, path, json, params, timeout_s
        As HTTP wants them.

    Attributes
    ----------
    prefer
        How it is to be answered, for the header of that name.
    is_exchange
        Whether it goes with the key itself, even where that is exchanged for short-lived tokens.
    is_renewed
        Whether it was sent again with another short-lived token.
    """

    def __init__(
        self,
        result: type[R],
        method: str,
        path: str,
        *,
        json: Json | None = None,
        params: Json | None = None,
        timeout_s: float,
    ) -> None:
        self.result = result
        self.method = method
        self.path = path
        self.json = json
        self.params = params
        self.timeout_s = timeout_s
        self.prefer = ""
        self.is_exchange = False
        self.is_renewed = False
        self.pause_s = 0.0
        self._n_failures = 0
        self._give_up_at: float | None = None

    def read(self, response: httpx.Response, patience_s: float) -> R | None:
        """Return the answer, or None when the request is to be repeated after ``pause_s``.

        Raises
        ------
        ApiError
            PM Agent refused, or patience is used up.
        """
        if response.is_success:
            try:
                return msgspec.json.decode(response.content, type=self.result)
            except msgspec.ValidationError as error:  # JSON, but not of this release
                message = f"{self.method} {self.path} was answered in another form: {error}."
                next_step = "Use the client of the server's release."
                status = response.status_code
                raise ApiError("unknown_form", message, next_step, status) from error
            except msgspec.DecodeError:
                pass  # a page of a proxy
        problem, status = problem_in(response), response.status_code
        refused = refusal(status, problem)
        is_bare = not problem and (status in (NOT_FOUND, *BUSY) or status >= SERVER_ERROR)
        if not (status in BUSY or is_bare or response.is_success):
            raise refused
        self._plan(patience_s, _retry_after_s(response), refused)
        return None

    def lost(self, cause: httpx.TransportError, patience_s: float) -> None:
        """No answer came: plan another try.

        Raises
        ------
        ApiError
            Patience is used up.
        """
        what = f"No answer to {self.method} {self.path} ({type(cause).__name__})."
        self._plan(patience_s, 0.0, ApiError("unreachable", what, UNREACHABLE_NEXT))

    def _plan(self, patience_s: float, at_least_s: float, error: ApiError) -> None:
        now = time.monotonic()
        if self._give_up_at is None:  # a long poll may fail late: patience begins with trouble
            self._give_up_at = now + patience_s
        self.pause_s = at_least_s + backoff_s(self._n_failures)
        self._n_failures += 1
        if now + self.pause_s > self._give_up_at:
            raise error


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:  # absent, or a date
        return 0.0
