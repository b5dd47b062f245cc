"""Short-lived tokens of our own: JSON Web Tokens, signed with Ed25519, by PyJWT.

The algorithm is fixed, never read from the token. Signing keys are secrets with versions; a new one
signs at once, and the ones before it verify until the last token they signed has ended.

References
----------
RFC 7519 (JWT), RFC 8037 (EdDSA keys), RFC 7638 (thumbprints as key ids), RFC 8725 (pitfalls).
"""

import hashlib
from typing import Any
from uuid import uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from pm_agent.domain.errors import Unauthenticated
from pm_agent.ports import Secrets

Json = dict[str, Any]

ALGORITHM = "EdDSA"
TTL_S = 15 * 60  # so long a stolen token lasts that nobody knows of
SLACK_S = 30  # clocks of two machines differ
SIGNING = "signing"
NEEDED = ("iss", "aud", "sub", "exp", "iat", "jti")


class ShortTokens:
    """Makes and reads the short-lived tokens of one workspace.

    Parameters
    ----------
    secrets
        Holds the signing keys; the first one is made when it is needed.
    issuer
        Our own address, which stands in every token.
    audiences
        Addresses that a token is good for; one made for another is refused.
    """

    def __init__(self, secrets: Secrets, issuer: str, audiences: tuple[str, ...]) -> None:
        self._secrets = secrets
        self.issuer = issuer
        self._audiences = audiences
        self._keys: dict[bytes, tuple[str, Ed25519PrivateKey]] = {}  # seed -> key id, key

    def issue(self, claims: Json, now_s: int, lasts_s: int = TTL_S) -> str:
        """Sign claims; issuer, audience, id and instants are added."""
        held = self._secrets.read(SIGNING) or self._secrets.add(
            SIGNING, Ed25519PrivateKey.generate().private_bytes_raw(), now_s, first=True
        )
        key_id, key = self._key(held[0].value)
        added = {
            "iss": self.issuer,
            "aud": list(self._audiences),
            "jti": uuid4().hex,
            "iat": now_s,
            "exp": now_s + lasts_s,
        }
        return jwt.encode({**added, **claims}, key, ALGORITHM, headers={"kid": key_id})

    def verify(self, token: str, now_s: int) -> Json:
        """Return the claims of a token of ours.

        Raises
        ------
        Unauthenticated
        """
        key_id = header_of(token).get("kid")
        key = next((key for known, key in self._verifying(now_s) if known == key_id), None)
        if key is None:
            message = "The access token was signed with a key that is not ours, or not any more."
            raise Unauthenticated(message)
        return claims_of(
            token,
            key.public_key(),
            (ALGORITHM,),
            issuer=self.issuer,
            audiences=self._audiences,
            now_s=now_s,
        )

    def jwks(self, now_s: int) -> Json:
        """Return the public keys that verify now (RFC 7517)."""
        return {
            "keys": [
                {**_public(key), "kid": key_id, "use": "sig", "alg": ALGORITHM}
                for key_id, key in self._verifying(now_s)
            ]
        }

    def rotate(self, now_s: int) -> str:
        """Sign with a new key from now on; forget those whose tokens have all ended."""
        verifying = {key_id for key_id, _ in self._verifying(now_s)}
        for secret in self._secrets.read(SIGNING):
            if self._key(secret.value)[0] not in verifying:
                self._secrets.drop(SIGNING, secret.version)
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        return self._key(self._secrets.add(SIGNING, seed, now_s)[0].value)[0]

    def _verifying(self, now_s: int) -> list[tuple[str, Ed25519PrivateKey]]:
        """Keys that verify, with their ids: the newest, and those it took over from lately."""
        found = []
        for secret in self._secrets.read(SIGNING):
            found.append(self._key(secret.value))
            if secret.made_at_s + TTL_S + SLACK_S < now_s:
                break  # what is older signed nothing that still lives
        return found

    def _key(self, seed: bytes) -> tuple[str, Ed25519PrivateKey]:
        if seed not in self._keys:
            key = Ed25519PrivateKey.from_private_bytes(seed)
            public = msgspec.json.encode(_public(key), order="sorted")
            self._keys[seed] = (
                jwt.utils.base64url_encode(hashlib.sha256(public).digest()).decode(),
                key,
            )
        return self._keys[seed]


def claims_of(
    token: str,
    key: Any,
    algorithms: tuple[str, ...],
    *,
    issuer: str,
    audiences: tuple[str, ...],
    now_s: int,
) -> Json:
    """Verify a token with a known key, and its claims against a clock that tests can move.

    Raises
    ------
    Unauthenticated
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            issuer=issuer,
            audience=audiences,
            options={
                "require": list(NEEDED),
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        ends_s, begins_s = int(claims["exp"]), int(claims.get("nbf", claims["iat"]))
    except jwt.InvalidAudienceError as error:
        message = "The access token was made for another server."
        raise Unauthenticated(message) from error
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        message = f"The access token is not valid: {type(error).__name__}."
        raise Unauthenticated(message) from error
    if ends_s <= now_s:
        message = "The access token has expired."
        raise Unauthenticated(message, "Exchange your key for a new one at POST /v1/token.")
    if begins_s > now_s + SLACK_S:
        message = "The access token is not valid yet."
        raise Unauthenticated(message)
    return claims


def header_of(token: str) -> Json:
    """Return a token's header, which nothing has verified yet.

    Raises
    ------
    Unauthenticated
    """
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        message = "The access token is not well formed."
        raise Unauthenticated(message) from error


def issuer_of(token: str) -> str:
    """Return who a token says it is from, which nothing has verified yet; empty when unreadable."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return ""
    return str(claims.get("iss", ""))


def _public(key: Ed25519PrivateKey) -> Json:
    """Return the public key's own members, as RFC 7638 wants them."""
    found = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: found[name] for name in ("crv", "kty", "x")}
