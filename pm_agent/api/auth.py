"""Who calls, and whether that is allowed: the same for every door.

A door asks four things in this order: `authenticate` (whose credential is it), `authorise` (does it
carry the operation's scope), then with the input at hand `require_objects` (is the project among
those it is for). That an agent acts for itself alone is decided in the core (`kernel.fencing`).
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.types import Scope as AsgiScope

from pm_agent.domain.access import ROLE_SCOPES, SCOPES, least_role
from pm_agent.domain.errors import (
    Forbidden,
    InsufficientScope,
    OtherProject,
    Unauthenticated,
    Unavailable,
)
from pm_agent.domain.ids import ProjectId
from pm_agent.domain.world import World
from pm_agent.runtime.credentials import Credentials, Grant

if TYPE_CHECKING:
    from pm_agent.api.operations import Operation
    from pm_agent.runtime.ingress import Ingress

_SCHEME = "bearer "

JWKS_PATH = "/.well-known/jwks.json"
# The metadata of a resource lies under its own path: that of /mcp, and that of the whole server.
METADATA_PATHS = (
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
)


def bearer(authorization: str | None) -> str:
    """Return the secret of an ``Authorization: Bearer`` header, or an empty string."""
    if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    return authorization[len(_SCHEME) :].strip()


async def authenticate(
    ingress: "Ingress", credential: str, position: int = 0, scope: AsgiScope | None = None
) -> Grant:
    """Return what the credential allows.

    One issued a moment ago may not have reached this replica: with the position of that reply the
    caller's own write is waited for.

    Raises
    ------
    Unauthenticated
        The credential is missing, unknown or over.
    RateLimited
        So it is, and too many such requests came from this address; or a key is used too often.
    Unavailable
        The replica has not read the workspace yet, so no credential can be known.
    """
    try:
        grant = await _verified(ingress, credential)
    except Unauthenticated as error:
        grant = await _verified_later(ingress, credential, position, scope or {}, error)
    ingress.pace.require_requests(grant)
    return grant


async def _verified(ingress: "Ingress", credential: str) -> Grant:
    credentials = ingress.credentials
    if credentials.outside is not None and credentials.is_outside(credential):
        return await credentials.verify_outside(credential, ingress.world, ingress.now_us())
    return ingress.authenticate(credential)


async def _verified_later(
    ingress: "Ingress", credential: str, position: int, scope: AsgiScope, error: Unauthenticated
) -> Grant:
    """Verify once more when there may be news; else refuse, and count it."""
    if credential and max(position, ingress.written) > ingress.world.position:
        await ingress.catch_up(position)
        with suppress(Unauthenticated):
            return await _verified(ingress, credential)
    if credential and ingress.is_stale and ingress.world.position == 0:
        message = "This replica is starting and knows no tokens yet."
        raise Unavailable(message) from None
    ingress.refuse_stranger(
        address_of(scope, is_forwarded=ingress.is_behind_haproxy), error.message
    )
    raise error


def address_of(scope: AsgiScope, *, is_forwarded: bool = False) -> str:
    """Return the network address of a request's sender, or of the last proxy before us.

    ``is_forwarded`` says that our own HAProxy has added it to the request: the last address of the
    header is its word; those before it are the sender's, and worth nothing.
    """
    if is_forwarded:
        given = [value for name, value in scope.get("headers", ()) if name == b"x-forwarded-for"]
        if given:
            return str(given[-1].decode("latin-1").rpartition(",")[2].strip()[:45])
    client = scope.get("client")
    return str(client[0]) if client else ""


def authorise(grant: Grant, operation: "Operation") -> None:
    """Refuse an operation whose scope is not granted.

    Raises
    ------
    Forbidden
        The role does not have it.
    InsufficientScope
        The role has it; the key or token at hand does not.
    """
    if operation.scope in grant.scopes:
        return
    role = grant.principal.role
    if operation.scope not in ROLE_SCOPES[role]:
        least = least_role(operation.scope)
        message = f"{operation.name} needs the role {least}; this token has the role {role}."
        raise Forbidden(message)
    message = f"{operation.name} needs the scope {operation.scope}, which this token lacks."
    refusal = InsufficientScope(message)
    refusal.scope = operation.scope
    raise refusal


def require_objects(grant: Grant, operation: "Operation", given: Any, world: World) -> None:
    """Refuse what is not in the projects that a key or token is limited to.

    What an operation is about is read off its input; one that names neither project, task nor
    blocker is about the whole workspace, and refused. Ids are never authority: one that does not
    exist is refused as one of another project is.

    Raises
    ------
    OtherProject
    """
    if not grant.project_ids or operation.is_for_all_projects:
        return
    named = _projects_named(grant, given, world) | _projects_touched(given, world)
    if not named or not named <= grant.project_ids:
        mine = ", ".join(sorted(grant.project_ids))
        message = f"{operation.name}: this key or token is limited to {mine}."
        raise OtherProject(message)


def _projects_named(grant: Grant, given: Any, world: World) -> set[ProjectId | None]:
    task_id = getattr(given, "task_id", None)
    blocker_id = getattr(given, "blocker_id", None)
    if getattr(given, "scope", None) is not None:  # a hold: on what its target is
        return {_project_of_target(given.scope, given.target_id, world)}
    if blocker_id is not None:
        blocker = world.blockers.get(blocker_id)
        task_id = blocker.task_id if blocker is not None else ""
    if task_id is not None:
        return {_project_of_target("task", task_id, world)}
    project_id = getattr(given, "project_id", None)
    if project_id is not None:
        return {project_id}
    project_ids = getattr(given, "project_ids", None)
    if project_ids is not None:  # registering: an empty list would mean all
        return set(project_ids)
    agent_id = getattr(given, "agent_id", None) or grant.principal.id
    agent = world.agents.get(agent_id) if hasattr(given, "agent_id") else None
    return set(agent.project_ids) if agent is not None else set()


def _projects_touched(given: Any, world: World) -> set[ProjectId | None]:
    """Projects of other tasks that an input names; ids of tasks to come belong to none yet."""
    drafts = getattr(given, "tasks", None) or (given,)
    named = [
        task_id
        for one in drafts
        for field in ("dependencies", "affects")
        for task_id in getattr(one, field, None) or ()
    ]
    return {world.tasks[task_id].project_id for task_id in named if task_id in world.tasks}


def _project_of_target(scope: str, target_id: str, world: World) -> ProjectId | None:
    if scope == "project":
        return target_id
    if scope == "task":
        known = world.tasks.get(target_id) or world.tombstones.get(target_id)
        return known.project_id if known is not None else None
    return None


def metadata_url(credentials: Credentials) -> str:
    """Where clients learn who makes tokens for us; empty when only we do."""
    if credentials.outside is None:
        return ""
    return credentials.tokens.issuer + METADATA_PATHS[-1]


def resource_metadata(credentials: Credentials) -> dict[str, object] | None:
    """Protected resource metadata (RFC 9728), or None without an authorisation server.

    Clients that find it start an OAuth flow; without a server to flow to it would mislead them.
    """
    if credentials.outside is None:
        return None
    return {
        "resource": f"{credentials.tokens.issuer}/mcp",
        "resource_name": "PM Agent",
        "authorization_servers": [credentials.outside.issuer],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }
