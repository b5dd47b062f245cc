"""Who may enter and what they may do: scopes, access tokens, API keys, and tokens shut out early.

A role gives scopes, and the column ``scope`` of ``pm_agent.api.operations`` says which one an
operation needs: together they are the table of who may do what. What is not in it is refused.
"""

from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData, Principal, Role
from pm_agent.domain.ids import ProjectId

if TYPE_CHECKING:
    from pm_agent.domain.world import World

Scope = Literal[
    "pm:read",  # board, agents, history
    "pm:work",  # register, take tasks, report on them, add new ones
    "pm:talk",  # messages, help, handoffs
    "pm:plan",  # projects, changes of tasks, judging work
    "pm:hold",  # stop and let go on
    "pm:access",  # tokens and keys
    "pm:operate",  # the server itself
]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_WORKER: frozenset[Scope] = frozenset({"pm:read", "pm:work", "pm:talk"})
_LEAD: frozenset[Scope] = _WORKER | {"pm:plan", "pm:hold"}
ROLE_SCOPES: dict[Role, frozenset[Scope]] = {
    "worker": _WORKER,
    "lead": _LEAD,
    "admin": frozenset(SCOPES),
    "system": frozenset(SCOPES),
}


def least_role(scope: Scope) -> Role:
    """Return the first role that has a scope."""
    return next(role for role, scopes in ROLE_SCOPES.items() if scope in scopes)


# -- access tokens --------------------------------------------------------------------------------


class AccessToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A random secret of an agent or a person that lasts until it is revoked."""

    sha256: str  # hex, of the secret; the secret itself is shown once and kept nowhere
    owner: Principal
    label: str = ""
    issued_at_us: int = 0


class IssueToken(Command, frozen=True, kw_only=True):
    sha256: str
    owner: Principal
    label: str = ""


class RevokeToken(Command, frozen=True, kw_only=True):
    sha256: str


class TokenIssued(EventData, frozen=True, kw_only=True):
    sha256: str
    owner: Principal
    label: str = ""


class TokenRevoked(EventData, frozen=True, kw_only=True):
    sha256: str


# -- API keys -------------------------------------------------------------------------------------


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret with limits: what it may do, where, and until when. Written ``pmk_ID_SECRET``."""

    id: str  # stands in the key itself, so that one lookup finds it
    mac: str  # hex HMAC-SHA256 of the whole key under a pepper that the journal does not hold
    pepper: str  # which one
    owner: Principal
    scopes: tuple[Scope, ...]  # never more than the owner's role has
    project_ids: tuple[ProjectId, ...] = ()  # empty: all
    label: str = ""
    issued_at_us: int = 0
    expires_at_us: int = 0  # 0: never
    used_at_us: int = 0  # last use, to the hour; 0: never


class IssueKey(Command, frozen=True, kw_only=True):
    key_id: str
    mac: str
    pepper: str
    owner: Principal
    scopes: tuple[Scope, ...] = ()  # empty: all of the owner's role
    project_ids: tuple[ProjectId, ...] = ()
    label: str = ""
    lasts_us: int = 0  # 0: for ever


class RotateKey(Command, frozen=True, kw_only=True):
    """Make another key with the same rights; the old one lasts a while longer."""

    key_id: str
    new_key_id: str
    mac: str
    pepper: str
    overlap_us: int


class RevokeKey(Command, frozen=True, kw_only=True):
    key_id: str


class NoteKeysUsed(Command, frozen=True, kw_only=True):
    key_ids: tuple[str, ...]


class KeyIssued(EventData, frozen=True, kw_only=True):
    key_id: str
    mac: str
    pepper: str
    owner: Principal
    scopes: tuple[Scope, ...]
    project_ids: tuple[ProjectId, ...] = ()
    label: str = ""
    expires_at_us: int = 0


class KeyExpirySet(EventData, frozen=True, kw_only=True):
    key_id: str
    expires_at_us: int


class KeyRevoked(EventData, frozen=True, kw_only=True):
    key_id: str


class KeysUsed(EventData, frozen=True, kw_only=True):
    key_ids: tuple[str, ...]


# -- short tokens, and refusals -------------------------------------------------------------------


class DenyToken(Command, frozen=True, kw_only=True):
    """Shut a short-lived token out before its end."""

    token_id: str
    until_us: int  # its own end: after that nobody need remember it


class TokenDenied(EventData, frozen=True, kw_only=True):
    token_id: str
    until_us: int


class Refusals(msgspec.Struct, frozen=True, gc=False):
    """Requests that were refused for the same reason, from the same address."""

    reason: str
    address: str
    n: int


class NoteRefusals(Command, frozen=True, kw_only=True):
    refusals: tuple[Refusals, ...]


class AccessRefused(EventData, frozen=True, kw_only=True):
    """Failed authentications of some seconds, for those who look for break-ins."""

    refusals: tuple[Refusals, ...]


# -- the fold -------------------------------------------------------------------------------------


def _issued(world: "World", event: Event, data: TokenIssued) -> None:
    world.tokens[data.sha256] = AccessToken(data.sha256, data.owner, data.label, event.at_us)


def _revoked(world: "World", event: Event, data: TokenRevoked) -> None:
    world.tokens.pop(data.sha256, None)
    world.access_changes += 1


def _key_issued(world: "World", event: Event, data: KeyIssued) -> None:
    world.api_keys[data.key_id] = ApiKey(
        id=data.key_id,
        mac=data.mac,
        pepper=data.pepper,
        owner=data.owner,
        scopes=data.scopes,
        project_ids=data.project_ids,
        label=data.label,
        issued_at_us=event.at_us,
        expires_at_us=data.expires_at_us,
    )


def _key_expiry_set(world: "World", event: Event, data: KeyExpirySet) -> None:
    old = world.api_keys[data.key_id]
    world.api_keys[data.key_id] = msgspec.structs.replace(old, expires_at_us=data.expires_at_us)
    world.access_changes += 1


def _key_revoked(world: "World", event: Event, data: KeyRevoked) -> None:
    world.api_keys.pop(data.key_id, None)
    world.access_changes += 1


def _keys_used(world: "World", event: Event, data: KeysUsed) -> None:
    for key_id in data.key_ids:
        old = world.api_keys.get(key_id)
        if old is not None:
            world.api_keys[key_id] = msgspec.structs.replace(old, used_at_us=event.at_us)


def _denied(world: "World", event: Event, data: TokenDenied) -> None:
    for token_id, until_us in list(world.denied.items()):
        if until_us < event.at_us:
            del world.denied[token_id]
    world.denied[data.token_id] = data.until_us
    world.access_changes += 1


def _refused(world: "World", event: Event, data: AccessRefused) -> None:
    """Nothing decides by it: it is for the history."""


APPLY = {
    TokenIssued: _issued,
    TokenRevoked: _revoked,
    KeyIssued: _key_issued,
    KeyExpirySet: _key_expiry_set,
    KeyRevoked: _key_revoked,
    KeysUsed: _keys_used,
    TokenDenied: _denied,
    AccessRefused: _refused,
}
