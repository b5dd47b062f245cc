"""Issue and revoke access tokens."""

from pm_agent.domain.access import IssueToken, RevokeToken, TokenIssued, TokenRevoked
from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import Forbidden, NotFound
from pm_agent.domain.world import World
from pm_agent.kernel.types import Context, Decision, Result


class TokenResult(Result, frozen=True, kw_only=True):
    """Whose token it is."""

    owner: str
    role: str


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


def _result(owner: Principal) -> TokenResult:
    return TokenResult(owner=str(owner), role=owner.role)


def _require_admin(principal: Principal) -> None:
    if principal.role not in ("admin", "system"):
        message = "Only an administrator manages access tokens."
        raise Forbidden(message)
