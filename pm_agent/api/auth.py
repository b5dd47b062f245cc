"""Who calls, and whether its role allows the operation. Tokens are looked up by the ingress."""

from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.types import Scope

from pm_agent.domain.envelope import Principal, Role
from pm_agent.domain.errors import Forbidden, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from pm_agent.runtime.ingress import Ingress

WORKER: frozenset[Role] = frozenset({"worker", "lead", "admin", "system"})
LEAD: frozenset[Role] = frozenset({"lead", "admin", "system"})
ADMIN: frozenset[Role] = frozenset({"admin", "system"})

_SCHEME = "bearer "


def bearer(authorization: str | None) -> str:
    """Return the secret of an ``Authorization: Bearer`` header, or an empty string."""
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    return authorization[len(_SCHEME) :].strip()


async def authenticate(
    ingress: "Ingress", secret: str, position: int = 0, address: str = ""
) -> Principal:
    """Return the token's owner.

    A token issued a moment ago may not have reached this replica: with the position of that reply
    the caller's own write is waited for.

    Raises
    ------
    Unauthenticated
        The token is missing or unknown.
    RateLimited
        So it is, and too many such requests came from this address.
    Unavailable
        The replica has not read the workspace yet, so no token can be known.
    """
    try:
        return ingress.authenticate(secret)
    except Unauthenticated:
        if secret and max(position, ingress.written) > ingress.world.position:
            await ingress.catch_up(position)
            with suppress(Unauthenticated):
                return ingress.authenticate(secret)
        if secret and ingress.is_stale and ingress.world.position == 0:
            message = "This replica is starting and knows no tokens yet."
            raise Unavailable(message) from None
        ingress.refuse_stranger(address)
        raise


def address_of(scope: Scope) -> str:
    """Return the network address of a request's sender, or of the last proxy before us."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def authorise(principal: Principal, roles: frozenset[Role], operation: str) -> None:
    """Refuse an operation that the role does not allow.

    Raises
    ------
    Forbidden
    """
    if principal.role not in roles:
        least = next(role for role in ("worker", "lead", "admin", "system") if role in roles)
        message = f"{operation} needs the role {least}; this token has the role {principal.role}."
        raise Forbidden(message)
