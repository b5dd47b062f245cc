"""An authorisation server outside: its tokens are verified with the keys that it publishes.

PM Agent is an OAuth 2.1 resource server only: it takes tokens, it makes none for others, and it
passes none on. Keys are fetched when they are needed, kept for a while, and fetched again for an
unknown key id, but not more often than a stranger's made-up ids may cause.

References
----------
RFC 9068 (JWT access tokens), RFC 8414 (server metadata), RFC 9728 (resource metadata).
"""

import logging
import time
from typing import Any

import httpx
import jwt

from pm_agent.adapters.tokens_jwt import claims_of, header_of
from pm_agent.domain.errors import Unauthenticated, Unavailable

log = logging.getLogger(__name__)

Json = dict[str, Any]

# Signatures with a public key alone: a shared secret would let the server's readers sign.
ALGORITHMS = ("EdDSA", "ES256", "ES384", "RS256", "PS256")
KEEP_S = 600.0
AGAIN_S = 30.0
FETCH_S = 5.0


class OutsideIssuer:
    """Verifies the tokens of one authorisation server.

    Parameters
    ----------
    issuer
        Its address, as it stands in its tokens.
    audiences
        Our addresses; a token for anything else is refused.
    jwks_url
        Where its keys are; empty: as its metadata says.
    transport
        Another way to it; for tests.
    """

    def __init__(
        self,
        issuer: str,
        audiences: tuple[str, ...],
        jwks_url: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.issuer = issuer
        self._audiences = audiences
        self._jwks_url = jwks_url
        self._transport = transport
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_s = float("-inf")

    async def verify(self, token: str, now_s: int) -> Json:
        """Return the claims of one of its tokens.

        Raises
        ------
        Unauthenticated
        Unavailable
            Its keys could not be fetched.
        """
        key_id = str(header_of(token).get("kid", ""))
        age_s = time.monotonic() - self._fetched_s
        if age_s > KEEP_S or (key_id not in self._keys and age_s > AGAIN_S):
            await self._fetch()
        key = self._keys.get(key_id)
        if key is None or key.algorithm_name not in ALGORITHMS:
            message = f"The access token names a key that {self.issuer} does not publish."
            raise Unauthenticated(message)
        return claims_of(
            token,
            key.key,
            (key.algorithm_name,),
            issuer=self.issuer,
            audiences=self._audiences,
            now_s=now_s,
        )

    async def _fetch(self) -> None:
        self._fetched_s = time.monotonic()  # also when it fails: nobody makes us ask in a loop
        try:
            async with httpx.AsyncClient(timeout=FETCH_S, transport=self._transport) as http:
                url = self._jwks_url or await self._find_keys(http)
                answer = (await http.get(url)).raise_for_status()
                found = jwt.PyJWKSet.from_dict(answer.json())
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, KeyError, TypeError) as error:
            log.warning("keys of %s could not be read: %s", self.issuer, type(error).__name__)
            if not self._keys:
                message = "The authorisation server's keys could not be fetched."
                raise Unavailable(message) from error
            return
        self._keys = {key.key_id: key for key in found.keys if key.key_id}

    async def _find_keys(self, http: httpx.AsyncClient) -> str:
        base = self.issuer.rstrip("/")
        for known in ("oauth-authorization-server", "openid-configuration"):
            answer = await http.get(f"{base}/.well-known/{known}")
            if answer.is_success:
                return str(answer.json()["jwks_uri"])
        message = "no metadata"
        raise ValueError(message)
