"""One request, and whether it is sent again."""

import time

import httpx

from pm_agent.client.backoff import backoff_s
from pm_agent.client.errors import (
    BUSY,
    NOT_FOUND,
    SERVER_ERROR,
    UNREACHABLE_NEXT,
    ApiError,
    Json,
    json_of,
    refusal,
)


class Request:
    """One request and the decision, after each answer, whether to send it again."""

    def __init__(
        self, method: str, path: str, *, json: Json | None, params: Json | None, timeout_s: float
    ) -> None:
        self.method = method
        self.path = path
        self.json = json
        self.params = params
        self.timeout_s = timeout_s
        self.pause_s = 0.0
        self._n_failures = 0
        self._give_up_at: float | None = None

    def read(self, response: httpx.Response, patience_s: float) -> Json | None:
        """Return the answer, or None when the call is to be repeated after ``pause_s``.

        Raises
        ------
        ApiError
            PM Agent refused, or patience is used up.
        """
        body = json_of(response)
        if response.is_success and body is not None:
            return body
        is_ours = body is not None and isinstance(body.get("code"), str)
        status = response.status_code
        error = refusal(status, body if is_ours and body is not None else {})
        is_bare = not is_ours and (status in (NOT_FOUND, *BUSY) or status >= SERVER_ERROR)
        if not (status in BUSY or is_bare or response.is_success):
            raise error
        self._plan(patience_s, _retry_after_s(response), error)
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
