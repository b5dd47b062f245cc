"""Issue, rotate and revoke what lets people and agents in."""

from pm_agent.domain.access import (
    ROLE_SCOPES,
    AccessRefused,
    ApiKey,
    DenyToken,
    IssueKey,
    IssueToken,
    KeyExpirySet,
    KeyIssued,
    KeyRevoked,
    KeysUsed,
    NoteKeysUsed,
    NoteRefusals,
    RevokeKey,
    RevokeToken,
    RotateKey,
    TokenDenied,
    TokenIssued,
    TokenRevoked,
)
from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import Forbidden, InvalidInput, NotFound, TooManyKeys
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_project
from pm_agent.kernel.types import Context, Decision, Result

MAX_LIVE_KEYS = 2  # of one owner: the one in use, and the one that takes its place


class TokenResult(Result, frozen=True, kw_only=True):
    """Whose token it is."""

    owner: str
    role: str


class KeyResult(Result, frozen=True, kw_only=True):
    """A key without its secret."""

    key_id: str
    owner: str
    role: str
    scopes: list[str]
    project_ids: list[str] = []
    expires_at: str = ""  # empty: never


class NothingResult(Result, frozen=True, kw_only=True):
    """Nobody reads it."""


class DenyResult(Result, frozen=True, kw_only=True):
    """Which token is shut out, and until when anybody need remember it."""

    token_id: str
    until: str


def issue(world: World, command: IssueToken, context: Context) -> Decision:
    """Let a token in by its digest; a second time changes nothing."""
    _require_admin(command.principal)
    if command.sha256 in world.tokens:
        return Decision(result=_result(command.owner))
    issued = TokenIssued(sha256=command.sha256, owner=command.owner, label=command.label)
    return Decision(events=[issued], result=_result(command.owner))


def revoke(world: World, command: RevokeToken, context: Context) -> Decision:
    """Shut a token out."""
    _require_admin(command.principal)
    known = world.tokens.get(command.sha256)
    if known is None:
        message = "There is no such token."
        raise NotFound(message)
    return Decision(events=[TokenRevoked(sha256=command.sha256)], result=_result(known.owner))


# -- API keys -------------------------------------------------------------------------------------


def issue_key(world: World, command: IssueKey, context: Context) -> Decision:
    """Let a key in by its MAC, with no more rights than its owner's role has."""
    _require_admin(command.principal)
    known = world.api_keys.get(command.key_id)
    if known is not None:  # a retry that a new ingress sends
        return Decision(result=key_result(known))
    allowed = ROLE_SCOPES[command.owner.role]
    beyond = sorted(set(command.scopes) - allowed)
    if beyond:
        message = f"scopes: the role {command.owner.role} does not have {', '.join(beyond)}."
        raise InvalidInput(message, f"Choose among {', '.join(sorted(allowed))}.")
    for project_id in command.project_ids:
        require_project(world, project_id)
    _require_room(world, command.owner, context.now_us)
    issued = KeyIssued(
        key_id=command.key_id,
        mac=command.mac,
        pepper=command.pepper,
        owner=command.owner,
        scopes=tuple(sorted(command.scopes or allowed)),
        project_ids=tuple(sorted(set(command.project_ids))),
        label=command.label,
        expires_at_us=context.now_us + command.lasts_us if command.lasts_us else 0,
    )
    return Decision(events=[issued], result=_issued_result(issued))


def rotate_key(world: World, command: RotateKey, context: Context) -> Decision:
    """Issue a key's successor; for a while both let in, so that nothing stops meanwhile."""
    _require_admin(command.principal)
    old = _require_key(world, command.key_id)
    if command.new_key_id in world.api_keys:
        return Decision(result=key_result(world.api_keys[command.new_key_id]))
    _require_room(world, old.owner, context.now_us)
    lasted_us = old.expires_at_us - old.issued_at_us if old.expires_at_us else 0
    issued = KeyIssued(
        key_id=command.new_key_id,
        mac=command.mac,
        pepper=command.pepper,
        owner=old.owner,
        scopes=old.scopes,
        project_ids=old.project_ids,
        label=old.label,
        expires_at_us=context.now_us + lasted_us if lasted_us else 0,
    )
    ends_us = context.now_us + command.overlap_us
    if old.expires_at_us:
        ends_us = min(ends_us, old.expires_at_us)
    ending = KeyExpirySet(key_id=old.id, expires_at_us=ends_us)
    return Decision(events=[issued, ending], result=_issued_result(issued))


def revoke_key(world: World, command: RevokeKey, context: Context) -> Decision:
    """Shut a key out, and with it every short-lived token that it was exchanged for."""
    _require_admin(command.principal)
    known = _require_key(world, command.key_id)
    return Decision(events=[KeyRevoked(key_id=known.id)], result=key_result(known))


def note_keys_used(world: World, command: NoteKeysUsed, context: Context) -> Decision:
    """Remember roughly when keys were used last, for those who clear up unused ones."""
    _require_system(command.principal)
    known = tuple(key_id for key_id in command.key_ids if key_id in world.api_keys)
    return Decision(events=[KeysUsed(key_ids=known)] if known else [], result=NothingResult())


# -- short tokens, and refusals -------------------------------------------------------------------


def deny(world: World, command: DenyToken, context: Context) -> Decision:
    """Shut out one short-lived token; who may name another's is decided by scope, at the edge."""
    result = DenyResult(token_id=command.token_id, until=iso(command.until_us))
    if command.token_id in world.denied or command.until_us <= context.now_us:
        return Decision(result=result)
    denied = TokenDenied(token_id=command.token_id, until_us=command.until_us)
    return Decision(events=[denied], result=result)


def note_refusals(world: World, command: NoteRefusals, context: Context) -> Decision:
    """Write failed authentications into the history."""
    _require_system(command.principal)
    events = [AccessRefused(refusals=command.refusals)] if command.refusals else []
    return Decision(events=[*events], result=NothingResult())


# -- pieces ---------------------------------------------------------------------------------------


def key_result(key: ApiKey) -> KeyResult:
    """Describe a key without what proves it."""
    return KeyResult(
        key_id=key.id,
        owner=str(key.owner),
        role=key.owner.role,
        scopes=list(key.scopes),
        project_ids=list(key.project_ids),
        expires_at=iso(key.expires_at_us) if key.expires_at_us else "",
    )


def _issued_result(issued: KeyIssued) -> KeyResult:
    return KeyResult(
        key_id=issued.key_id,
        owner=str(issued.owner),
        role=issued.owner.role,
        scopes=list(issued.scopes),
        project_ids=list(issued.project_ids),
        expires_at=iso(issued.expires_at_us) if issued.expires_at_us else "",
    )


def _result(owner: Principal) -> TokenResult:
    return TokenResult(owner=str(owner), role=owner.role)


def _require_key(world: World, key_id: str) -> ApiKey:
    known = world.api_keys.get(key_id)
    if known is None:
        message = f"There is no key {key_id}."
        raise NotFound(message, "List the keys for the right id.")
    return known


def _require_room(world: World, owner: Principal, now_us: int) -> None:
    live = [
        key.id
        for key in world.api_keys.values()
        if str(key.owner) == str(owner) and (not key.expires_at_us or key.expires_at_us > now_us)
    ]
    if len(live) >= MAX_LIVE_KEYS:
        message = f"{owner} has {len(live)} live keys already: {', '.join(live)}."
        raise TooManyKeys(message)


def _require_admin(principal: Principal) -> None:
    if principal.role not in ("admin", "system"):
        message = "Only an administrator manages access."
        raise Forbidden(message)


def _require_system(principal: Principal) -> None:
    if principal.role != "system":
        message = "Only PM Agent itself notes this."
        raise Forbidden(message)
