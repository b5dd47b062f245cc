"""Access secrets: made here, shown once, and known to the world by their digest alone."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

M = TypeVar("M")

N_BYTES = 32  # random; so long that a plain SHA-256 is as good as a slow hash
# How long the secret made for a request is kept for its retries: far above a client's patience.
KEPT_S = 300.0
MAX_KEPT = 10_000


def new_secret() -> str:
    """Return a fresh access token for an agent or a person."""
    return f"pma_{secrets.token_urlsafe(N_BYTES)}"


def digest_of(secret: str) -> str:
    """Return the digest by which the world knows an access token: SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


class RecentSecrets:
    """The secrets made for requests of the last minutes, in memory alone.

    A secret leaves in one reply and is kept nowhere else: if that reply is lost, the retry has to
    find the same secret, or the caller is left with a token that nobody knows.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._made: OrderedDict[tuple[str, str], tuple[float, Any]] = OrderedDict()

    def __contains__(self, request: tuple[str, str]) -> bool:
        self._forget()
        return request in self._made

    def of(self, request: tuple[str, str]) -> str:
        """Return the secret of a request (principal, request id); a new one the first time."""
        return self.made_for(request, new_secret)

    def made_for(self, request: tuple[str, str], make: Callable[[], M]) -> M:
        """Return what was made for a request; the first time it is made."""
        self._forget()
        if request not in self._made:
            self._made[request] = (self._clock_s(), make())
        made: M = self._made[request][1]
        return made

    def _forget(self) -> None:
        before_s = self._clock_s() - KEPT_S
        while self._made:
            made_s, _ = next(iter(self._made.values()))
            if made_s > before_s and len(self._made) < MAX_KEPT:
                return
            self._made.popitem(last=False)
