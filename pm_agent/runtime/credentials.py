"""What lets somebody in: access tokens, API keys and short-lived tokens become a grant.

What was verified once is remembered until it ends or any access is taken away, so that a request
costs one SHA-256 and a look into a dictionary, whatever it carries. Comparisons of secrets take the
same time wherever they differ.
"""

import hashlib
import hmac
import secrets as random_secrets
from typing import TYPE_CHECKING, Any

import msgspec

from pm_agent.adapters.secrets_memory import SecretsInMemory
from pm_agent.adapters.tokens_jwt import ShortTokens, issuer_of
from pm_agent.domain.access import ROLE_SCOPES, SCOPES, Scope
from pm_agent.domain.envelope import Principal, PrincipalKind, Role
from pm_agent.domain.errors import Unauthenticated
from pm_agent.domain.ids import ProjectId
from pm_agent.domain.time import HOUR_US, SECOND_US
from pm_agent.domain.world import World
from pm_agent.ports import Secret, Secrets
from pm_agent.runtime.secret import digest_of

if TYPE_CHECKING:
    from pm_agent.adapters.issuer_oauth import OutsideIssuer

Json = dict[str, Any]

PEPPER, CURSOR, RANDOM_BYTES = "pepper", "cursor", 32
KEY_PREFIX = "pmk_"
KEY_ID_BYTES, KEY_BYTES = 6, 32
MAX_REMEMBERED = 20_000
# Longer is no token of ours or of anybody's; hashing megabytes for strangers is not our work.
MAX_CREDENTIAL = 8_192
EVERYTHING: frozenset[ProjectId] = frozenset()


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what the credential at hand allows."""

    principal: Principal
    scopes: frozenset[Scope]
    credential: str  # names it in limits and logs: token:…, key:…, jwt:…; nothing secret
    project_ids: frozenset[ProjectId] = EVERYTHING  # empty: all
    until_us: int = 0  # its end; 0: until it is revoked
    parent: str = ""  # of a short-lived token: what it was exchanged for


def grant_of(principal: Principal, credential: str = "") -> Grant:
    """Everything that a principal's role allows."""
    scopes = ROLE_SCOPES[principal.role]
    return Grant(principal=principal, scopes=scopes, credential=credential or str(principal))


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made; its secret is shown once."""

    key_id: str
    secret: str
    mac: str
    pepper: str


class Credentials:
    """Knows what is valid, with the world of the replica at hand.

    Parameters
    ----------
    secrets
        Holds the pepper of keys, and through ``tokens`` the signing keys.
    tokens
        Makes and reads our short-lived tokens.
    outside
        An authorisation server whose tokens count too.
    """

    def __init__(
        self,
        secrets: Secrets | None = None,
        tokens: ShortTokens | None = None,
        outside: "OutsideIssuer | None" = None,
    ) -> None:
        self.secrets = secrets or SecretsInMemory()
        self.tokens = tokens or ShortTokens(self.secrets, "pm-agent", ("pm-agent",))
        self.outside = outside
        self._verified: dict[bytes, Grant] = {}
        self._seen: tuple[World | None, int] = (None, 0)
        self._used: dict[str, int] = {}  # key id -> instant of its last use, not noted yet

    # -- verifying ----------------------------------------------------------------------------

    def remembered(self, credential: str, world: World, now_us: int) -> Grant | None:
        """Return the grant of a credential that was verified before and still counts."""
        changes = world.access_changes
        if self._seen[1] != changes or self._seen[0] is not world:
            self._verified.clear()
            self._seen = (world, changes)
            return None
        known = self._verified.get(hashlib.sha256(credential.encode()).digest())
        if known is None or 0 < known.until_us <= now_us:
            return None
        return known

    def verify(self, credential: str, world: World, now_us: int) -> Grant:
        """Verify a credential of ours, and remember it.

        Raises
        ------
        Unauthenticated
        """
        known = self.remembered(credential, world, now_us)
        if known is None:
            known = self._verify(credential, world, now_us)
            self._remember(credential, known)
        if known.credential.startswith("key:"):
            self._note_use(known.credential[4:], world, now_us)
        return known

    def is_outside(self, credential: str) -> bool:
        """Whether only the authorisation server outside can say what a token is worth."""
        if self.outside is None or not _looks_like_jwt(credential):
            return False
        return issuer_of(credential) == self.outside.issuer

    async def verify_outside(self, credential: str, world: World, now_us: int) -> Grant:
        """Verify a token of the authorisation server outside, and remember it.

        Raises
        ------
        Unauthenticated, Unavailable
        """
        known = self.remembered(credential, world, now_us)
        if known is None:
            assert self.outside is not None
            claims = await self.outside.verify(credential, now_us // SECOND_US)
            known = _grant_from_outside(claims)
            if not is_live(known, world, now_us):
                message = "The access token was shut out."
                raise Unauthenticated(message)
            self._remember(credential, known)
        return known

    def _verify(self, credential: str, world: World, now_us: int) -> Grant:
        if not credential:
            message = "The request carries no access token."
            raise Unauthenticated(message)
        if len(credential) > MAX_CREDENTIAL:
            message = "The access token is too long."
            raise Unauthenticated(message)
        if credential.startswith(KEY_PREFIX):
            return self._verify_key(credential, world, now_us)
        if _looks_like_jwt(credential):
            return self._verify_short(credential, world, now_us)
        digest = digest_of(credential)
        known = world.tokens.get(digest)
        if known is None:
            message = "The access token is unknown or was revoked."
            raise Unauthenticated(message)
        return grant_of(known.owner, f"token:{digest}")

    def _verify_key(self, credential: str, world: World, now_us: int) -> Grant:
        key_id, _, secret = credential.removeprefix(KEY_PREFIX).partition("_")
        known = world.api_keys.get(key_id)
        pepper = self._pepper(known.pepper) if known is not None else b""
        # Compared also when there is no such key: an id that exists must not answer later.
        mac = _mac(pepper, credential)
        is_same = hmac.compare_digest(mac, known.mac if known is not None else "0" * len(mac))
        if known is None or not pepper or not secret or not is_same:
            message = "The API key is unknown or was revoked."
            raise Unauthenticated(message)
        if 0 < known.expires_at_us <= now_us:
            message = f"The API key {known.id} has expired."
            raise Unauthenticated(message, "Ask an administrator for another one.")
        return Grant(
            principal=known.owner,
            scopes=frozenset(known.scopes) & ROLE_SCOPES[known.owner.role],
            credential=f"key:{known.id}",
            project_ids=frozenset(known.project_ids),
            until_us=known.expires_at_us,
        )

    def _verify_short(self, credential: str, world: World, now_us: int) -> Grant:
        claims = self.tokens.verify(credential, now_us // SECOND_US)
        grant = _grant_from_claims(claims)
        if not is_live(grant, world, now_us):
            message = "The access token was shut out, or the key that it was exchanged for was."
            raise Unauthenticated(message)
        return grant

    def _remember(self, credential: str, grant: Grant) -> None:
        if len(self._verified) >= MAX_REMEMBERED:
            self._verified.clear()  # verifying anew is cheap enough for so rare a case
        self._verified[hashlib.sha256(credential.encode()).digest()] = grant

    # -- making -------------------------------------------------------------------------------

    def exchange(
        self, grant: Grant, scopes: frozenset[Scope], lasts_s: int, now_us: int
    ) -> tuple[str, int]:
        """Make a short-lived token with some of a grant's rights; return it and its end."""
        now_s = now_us // SECOND_US
        if grant.until_us:
            lasts_s = min(lasts_s, grant.until_us // SECOND_US - now_s)
        principal = grant.principal
        claims: Json = {
            "sub": str(principal),
            "role": principal.role,
            "scope": " ".join(sorted(scopes)),
            "parent": grant.credential,
        }
        if grant.project_ids:
            claims["projects"] = sorted(grant.project_ids)
        return self.tokens.issue(claims, now_s, lasts_s), now_s + lasts_s

    def new_key(self, now_us: int) -> NewKey:
        """Make an API key; the world is told its id and MAC only."""
        key_id = random_secrets.token_hex(KEY_ID_BYTES)
        secret = f"{KEY_PREFIX}{key_id}_{random_secrets.token_urlsafe(KEY_BYTES)}"
        pepper = self._newest(PEPPER, now_us)
        return NewKey(key_id, secret, _mac(pepper.value, secret), str(pepper.version))

    def cursor_key(self, now_us: int) -> bytes:
        """Key that seals the cursors of pages."""
        return self._newest(CURSOR, now_us).value

    def _newest(self, name: str, now_us: int) -> Secret:
        held = self.secrets.read(name) or self.secrets.add(
            name, random_secrets.token_bytes(RANDOM_BYTES), now_us // SECOND_US, first=True
        )
        return held[0]

    def _pepper(self, version: str) -> bytes:
        held = self.secrets.read(PEPPER)
        return next((one.value for one in held if str(one.version) == version), b"")

    # -- last use -----------------------------------------------------------------------------

    def take_used(self) -> tuple[str, ...]:
        """Keys whose use shall be noted in the journal now."""
        used = tuple(sorted(self._used))
        self._used.clear()
        return used

    def _note_use(self, key_id: str, world: World, now_us: int) -> None:
        known = world.api_keys.get(key_id)
        if known is not None and now_us - known.used_at_us >= HOUR_US:  # an event an hour is enough
            self._used[key_id] = now_us


def _mac(pepper: bytes, credential: str) -> str:
    return hmac.new(pepper, credential.encode(), hashlib.sha256).hexdigest()


def _looks_like_jwt(credential: str) -> bool:
    return credential.startswith("ey") and credential.count(".") == 2  # noqa: PLR2004 - three parts


def is_live(grant: Grant, world: World, now_us: int) -> bool:
    """Whether what was granted still holds: it has not ended, and nobody has taken it away."""
    if 0 < grant.until_us <= now_us:
        return False
    kind, _, identifier = grant.credential.partition(":")
    if kind == "jwt":
        if identifier in world.denied:
            return False
        if not grant.parent:  # of another issuer
            return True
        kind, _, identifier = grant.parent.partition(":")
    if kind == "key":
        key = world.api_keys.get(identifier)
        return key is not None and not 0 < key.expires_at_us <= now_us
    return identifier in world.tokens


def _grant_from_claims(claims: Json) -> Grant:
    """Read the claims of one of our own tokens, whose signature has been verified."""
    kind, _, identifier = str(claims["sub"]).partition(":")
    role: Role = claims["role"]
    given = frozenset(str(claims["scope"]).split())
    return Grant(
        principal=Principal(kind, identifier, role),  # type: ignore[arg-type]  # we signed it
        scopes=ROLE_SCOPES[role] & given,
        credential=f"jwt:{claims['jti']}",
        project_ids=frozenset(claims.get("projects", ())),
        until_us=int(claims["exp"]) * SECOND_US,
        parent=str(claims["parent"]),
    )


def _grant_from_outside(claims: Json) -> Grant:
    """Read the claims of another issuer's token: its scopes say what role it amounts to.

    ``sub`` is taken as an agent's when it begins with ``agent:``, else as a person's.
    """
    given = frozenset(str(claims.get("scope", "")).split())
    scopes: frozenset[Scope] = frozenset(one for one in SCOPES if one in given)
    role: Role = "worker"
    if "pm:access" in scopes or "pm:operate" in scopes:
        role = "admin"
    elif "pm:plan" in scopes or "pm:hold" in scopes:
        role = "lead"
    subject = str(claims["sub"])
    kind: PrincipalKind = "agent" if subject.startswith("agent:") else "person"
    return Grant(
        principal=Principal(kind, subject.removeprefix(f"{kind}:"), role),
        scopes=scopes,
        credential=f"jwt:{claims['jti']}",
        project_ids=_projects_in(claims),
        until_us=int(claims["exp"]) * SECOND_US,
    )


def _projects_in(claims: Json) -> frozenset[ProjectId]:
    """Projects that a token is limited to. A limit that cannot be read must not mean: all."""
    if "pm_projects" not in claims:
        return EVERYTHING
    named = claims["pm_projects"]
    if not isinstance(named, list) or not named or not all(isinstance(one, str) for one in named):
        message = "The claim pm_projects is not a list of project ids."
        raise Unauthenticated(message)
    return frozenset(named)
