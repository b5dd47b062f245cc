"""Access secrets: made here, shown once, and known to the world by their digest alone."""

import hashlib
import secrets

N_BYTES = 32  # random; so long that a plain SHA-256 is as good as a slow hash


def new_secret() -> str:
    """Return a fresh access token for an agent or a person."""
    return f"pma_{secrets.token_urlsafe(N_BYTES)}"


def digest_of(secret: str) -> str:
    """Return the digest by which the world knows an access token: SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()
