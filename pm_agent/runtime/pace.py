"""How fast one caller may ask: beyond that it gets 429, however idle the server is."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import RateLimited
from pm_agent.runtime.admission import Limits, Work
from pm_agent.runtime.credentials import Grant
from pm_agent.runtime.token_bucket import TokenBuckets


class Pace:
    """Counts what each caller asks of one replica.

    Attributes
    ----------
    burst_s : int
        Seconds in which an empty bucket of a key or token is full again.
    """

    def __init__(self, limits: Limits) -> None:
        self._claims = TokenBuckets(limits.claims_per_s, limits.claims_burst)
        self._strangers = TokenBuckets(limits.strangers_per_s, limits.strangers_burst)
        self._requests = TokenBuckets(limits.requests_per_s, limits.requests_burst)
        self._requests_burst = limits.requests_burst
        self.burst_s = max(1, round(limits.requests_burst / limits.requests_per_s))
        self.streams: Counter[Principal] = Counter()  # open now
        self.max_streams = limits.streams

    def require_work(self, principal: Principal, work: Work) -> None:
        """Refuse an agent that takes on work, or tries to, faster than an agent can.

        Raises
        ------
        RateLimited
        """
        if work == "claim" and principal.kind == "agent":
            _require_token(self._claims, principal.id, f"Agent {principal.id} asks too often.")

    def require_requests(self, grant: Grant) -> None:
        """Refuse a key or token that is used faster than any caller needs.

        Raises
        ------
        RateLimited
        """
        _require_token(self._requests, grant.credential, "This key or token asks too often.")

    def requests_left(self, grant: Grant) -> tuple[int, int, int]:
        """Requests in a full bucket of a key or token, those left now, and seconds until full."""
        left, full_in_s = self._requests.left(grant.credential)
        return self._requests_burst, left, ceil(full_in_s)

    def require_stranger(self, address: str) -> None:
        """Refuse an address from which too many came without a valid token.

        Raises
        ------
        RateLimited
        """
        message = "Too many requests without a valid access token came from this address."
        _require_token(self._strangers, address, message)

    @contextmanager
    def listening(self, grant: Grant) -> Iterator[None]:
        """Count an event stream while it lasts.

        Raises
        ------
        RateLimited
            The principal listens often enough already.
        """
        principal = grant.principal
        if self.streams[principal] >= self.max_streams:
            message = f"{principal} has {self.max_streams} event streams open already."
            refusal = RateLimited(message, "Close one of them first.")
            refusal.retry_after_s = 1.0
            raise refusal
        self.streams[principal] += 1
        try:
            yield
        finally:
            self.streams[principal] -= 1
            if not self.streams[principal]:
                del self.streams[principal]


def _require_token(buckets: TokenBuckets, key: str, message: str) -> None:
    wait_s = buckets.take(key)
    if wait_s:
        refusal = RateLimited(message)
        refusal.retry_after_s = wait_s
        raise refusal
