"""Access tokens: random secrets of agents and people, kept as SHA-256 only."""

from typing import TYPE_CHECKING

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData, Principal

if TYPE_CHECKING:
    from pm_agent.domain.world import World


class AccessToken(msgspec.Struct, frozen=True, omit_defaults=True):
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


def _issued(world: "World", event: Event, data: TokenIssued) -> None:
    world.tokens[data.sha256] = AccessToken(data.sha256, data.owner, data.label, event.at_us)


def _revoked(world: "World", event: Event, data: TokenRevoked) -> None:
    world.tokens.pop(data.sha256, None)


APPLY = {TokenIssued: _issued, TokenRevoked: _revoked}
