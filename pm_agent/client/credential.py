"""What a client proves itself with: a token as it is, or a key as the short-lived tokens of it."""

import time

KEY_PREFIX = "pmk_"
EARLY = 0.2  # share of a token's life in which it is replaced already: none ends under way


class Credential:
    """A token that goes with each request, or a key that is exchanged for such tokens.

    A key sent with every request would lie in more places, and every request would cost the server
    a check of it. A token lasts 15 minutes and is replaced before it ends.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._short = ""
        self._until = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the key has to be exchanged before the next request."""
        return self._secret.startswith(KEY_PREFIX) and time.monotonic() >= self._until

    def take(self, token: str, lasts_s: float) -> None:
        """Use a token that the key was exchanged for."""
        self._short = token
        self._until = time.monotonic() + lasts_s * (1 - EARLY)

    def drop(self) -> bool:
        """Forget the short-lived token, since it was refused; False when there was none."""
        had_one, self._short, self._until = bool(self._short), "", 0.0
        return had_one

    def headers(self, *, is_exchange: bool = False) -> dict[str, str]:
        """Headers that prove who asks."""
        bearer = self._secret if is_exchange or not self._short else self._short
        return {"Authorization": f"Bearer {bearer}"} if bearer else {}
