"""What the operations on tokens and keys do."""

import msgspec

from pm_agent.adapters.tokens_jwt import TTL_S
from pm_agent.api.convert import result_json
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import access as schemas
from pm_agent.domain.access import DenyToken, IssueKey, IssueToken, RotateKey
from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import Conflict, Forbidden, InsufficientScope
from pm_agent.domain.ids import agent_id as agent_id_of
from pm_agent.domain.time import DAY_US, HOUR_US, SECOND_US, iso
from pm_agent.features.access.decide import KeyResult, TokenResult, key_result
from pm_agent.kernel.types import Reply, Result
from pm_agent.runtime.credentials import NewKey
from pm_agent.runtime.secret import digest_of


class IssueAnswer(TokenResult, frozen=True, kw_only=True):
    """A new access token."""

    token: str  # shown once
    sha256: str  # names it, to revoke it


class IssueKeyAnswer(KeyResult, frozen=True, kw_only=True):
    """A new API key."""

    key: str  # shown once


class KeyView(KeyResult, frozen=True, kw_only=True):
    """A key as it is listed; its secret is kept nowhere."""

    label: str = ""
    issued_at: str
    used_at: str = ""  # to the hour; empty: not yet
    is_live: bool


class KeyList(Result, frozen=True, kw_only=True):
    """All keys that were not revoked, oldest first."""

    keys: list[KeyView]


class ExchangeAnswer(Result, frozen=True, kw_only=True):
    """A short-lived token, named as OAuth names its fields."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int  # seconds
    scope: str


async def issue_token(call: Call, given: schemas.IssueTokenInput) -> Answer:
    """Make an access token; its secret leaves in this answer and is not stored."""
    principal = _owner(given.owner)
    secret, sha256, reply = await issue(call, principal, call.request_id, given.label)
    result = IssueAnswer(owner=str(principal), role=principal.role, token=secret, sha256=sha256)
    return call.reply(reply, result)


async def issue(
    call: Call, owner: Principal, request_id: str, label: str
) -> tuple[str, str, Reply]:
    """Make a secret and journal its hash; return secret, hash and reply.

    A retry gets the same secret, as long as this ingress remembers it.
    """
    secret = call.ingress.secrets.of((str(call.principal), request_id))
    sha256 = digest_of(secret)
    command = IssueToken(
        request_id=request_id, principal=call.principal, sha256=sha256, owner=owner, label=label
    )
    return secret, sha256, await call.submit(command)


async def issue_key(call: Call, given: schemas.IssueKeyInput) -> Answer:
    """Make an API key; its secret leaves in this answer and is not stored."""
    owner = _owner(given.owner)
    made = call.ingress.secrets.made_for(
        (str(call.principal), f"{call.request_id}:key"), call.new_key
    )
    command = IssueKey(
        request_id=call.request_id,
        principal=call.principal,
        workspace_id=call.ingress.workspace_id,
        key_id=made.key_id,
        mac=made.mac,
        pepper=made.pepper,
        owner=owner,
        scopes=tuple(given.scopes),
        project_ids=tuple(given.project_ids),
        label=given.label,
        lasts_us=given.lasts_days * DAY_US,
    )
    return _with_key(call, made, await call.submit(command))


async def rotate_key(call: Call, given: schemas.RotateKeyInput) -> Answer:
    """Make a key's successor."""
    made = call.ingress.secrets.made_for(
        (str(call.principal), f"{call.request_id}:key"), call.new_key
    )
    command = RotateKey(
        request_id=call.request_id,
        principal=call.principal,
        workspace_id=call.ingress.workspace_id,
        key_id=given.key_id,
        new_key_id=made.key_id,
        mac=made.mac,
        pepper=made.pepper,
        overlap_us=given.overlap_h * HOUR_US,
    )
    return _with_key(call, made, await call.submit(command))


def _with_key(call: Call, made: NewKey, reply: Reply) -> Answer:
    result = msgspec.json.decode(reply.result, type=KeyResult)
    return call.reply(reply, IssueKeyAnswer(**msgspec.structs.asdict(result), key=made.secret))


def _owner(given: schemas.OwnerInput) -> Principal:
    identifier = given.id
    if given.kind == "agent" and not identifier.startswith("A-"):
        identifier = agent_id_of(identifier)
    return Principal(given.kind, identifier, given.role)


async def list_keys(call: Call, given: schemas.ListKeysInput) -> Answer:
    """Read all keys."""
    now_us = call.ingress.now_us()
    views = [
        KeyView(
            **msgspec.structs.asdict(key_result(key)),
            label=key.label,
            issued_at=iso(key.issued_at_us),
            used_at=iso(key.used_at_us) if key.used_at_us else "",
            is_live=not 0 < key.expires_at_us <= now_us,
        )
        for key in call.world.api_keys.values()
    ]
    return call.read(KeyList(keys=views))


async def exchange(call: Call, given: schemas.ExchangeInput) -> Answer:
    """Make a short-lived token of the key or token that the request carries."""
    grant = call.grant
    if grant.credential.startswith("jwt:"):
        message = "A short-lived token cannot be exchanged for another one."
        raise Forbidden(message, "Send the API key or access token itself.")
    beyond = sorted(set(given.scopes) - grant.scopes)
    if beyond:
        refusal = InsufficientScope(f"This key or token does not carry {', '.join(beyond)}.")
        refusal.scope = beyond[0]
        raise refusal
    scopes = frozenset(given.scopes) or grant.scopes
    now_us = call.ingress.now_us()
    token, ends_s = call.ingress.secrets.made_for(  # a retry gets the same one
        (grant.credential, f"{call.request_id}:exchange"),
        lambda: call.ingress.credentials.exchange(grant, scopes, given.lasts_s, now_us),
    )
    result = ExchangeAnswer(
        access_token=token,
        expires_in=ends_s - now_us // SECOND_US,
        scope=" ".join(sorted(scopes)),
    )
    return Answer(result_json(result, now_us), call.world.position)


async def deny_token(call: Call, given: schemas.DenyTokenInput) -> Answer:
    """Shut a short-lived token out; without an id the one that the request carries."""
    token_id, until_us = given.token_id, call.ingress.now_us() + TTL_S * SECOND_US
    if token_id is None:
        kind, _, token_id = call.grant.credential.partition(":")
        until_us = call.grant.until_us
        if kind != "jwt":
            message = "This request carries no short-lived token, and names none."
            raise Conflict(message, "Say which one in token_id: the claim jti of it.")
    elif "pm:access" not in call.grant.scopes:
        message = "Only an administrator shuts out the token of somebody else."
        raise Forbidden(message, "Leave token_id out to end your own.")
    command = DenyToken(
        request_id=call.request_id,
        principal=call.principal,
        workspace_id=call.ingress.workspace_id,
        token_id=token_id,
        until_us=until_us,
    )
    reply = await call.submit(command)
    await call.ingress.reach(reply.position)  # as in `takes_away`
    return call.reply(reply)
