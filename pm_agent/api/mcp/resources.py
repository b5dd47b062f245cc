"""Queries of the table by URI, for clients that attach what they read to a conversation."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Annotations,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from pm_agent.api.errors import problem_from
from pm_agent.api.mcp.door import Context, Door
from pm_agent.api.mcp.guide import GUIDE
from pm_agent.api.operations import BY_NAME, Operation

GUIDE_URI = "pm://docs/worker-guide"
JSON = "application/json"
PAGE = 50


@dataclass(frozen=True, slots=True)
class View:
    """A query under a URI with at most one id in it."""

    name: str
    uri: str  # RFC 6570; its variable is a field of the operation's input
    operation: Operation
    help: str
    arguments: dict[str, Any]  # beside the id

    @property
    def field(self) -> str:
        """Name of the id in the URI."""
        return self.uri.partition("{")[2].partition("}")[0]

    def uri_of(self, identifier: str) -> str:
        return self.uri.replace("{" + self.field + "}", identifier)

    def match(self, uri: str) -> str | None:
        """Return the id in a URI of this form."""
        before, _, after = self.uri.partition("{" + self.field + "}")
        inside = uri[len(before) : len(uri) - len(after)]
        is_ours = uri.startswith(before) and uri.endswith(after) and inside and "/" not in inside
        return inside if is_ours else None


def _view(name: str, uri: str, operation: str, what: str, **arguments: Any) -> View:
    return View(name, uri, BY_NAME[operation], what, arguments)


VIEWS = (
    _view(
        "board",
        "pm://projects/{project_id}/board",
        "search_tasks",
        "A project's tasks, newest page first: state, priority, who works on it.",
        limit=100,
    ),
    _view(
        "project",
        "pm://projects/{project_id}",
        "get_project_status",
        "Where a project stands: tasks by state, who works on what, blockers, holds and cost.",
    ),
    _view(
        "task",
        "pm://tasks/{task_id}",
        "get_task_context",
        "All about one task: text, criteria, dependencies, blockers and answers, attempts.",
        response_format="detailed",
    ),
    _view(
        "audit",
        "pm://tasks/{task_id}/audit",
        "get_task_history",
        "What happened to a task, event by event.",
    ),
    _view(
        "agent",
        "pm://agents/{agent_id}",
        "get_agent_status",
        "What an agent can do, and which tasks it holds.",
    ),
    _view(
        "inbox",
        "pm://agents/{agent_id}/inbox",
        "read_messages",
        "Messages that wait for you; reading them here leaves them there.",
    ),
)


class Resources:
    """Lists and reads resources."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def list(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """List the guide and each project's board; all else is found by template."""
        after = _after(params.cursor if params else None)
        board = VIEWS[0]
        world = await self._door.world()
        mine = self._door.grant(context).project_ids or world.projects
        projects = sorted(p for p in world.projects if p > after and p in mine)
        listed = [
            Resource(
                uri=board.uri_of(identifier),
                name=f"{identifier} board",
                description=board.help,
                mime_type=JSON,
            )
            for identifier in projects[:PAGE]
        ]
        if not after:
            listed.insert(0, _GUIDE)
        more = _cursor(projects[PAGE - 1]) if len(projects) > PAGE else None
        return ListResourcesResult(resources=listed, next_cursor=more)

    async def templates(
        self, context: Context, _: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """List the forms of URIs that can be read."""
        scopes = self._door.grant(context).scopes
        return ListResourceTemplatesResult(
            resource_templates=[
                ResourceTemplate(
                    uri_template=view.uri, name=view.name, description=view.help, mime_type=JSON
                )
                for view in VIEWS
                if view.operation.scope in scopes
            ]
        )

    async def read(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Read one resource.

        Raises
        ------
        MCPError
            There is none at this URI, or the sender may not read it; the data says why.
        """
        contents = await self.contents(context, str(params.uri))
        return ReadResourceResult(contents=[contents])

    async def contents(self, context: Context, uri: str) -> TextResourceContents:
        """As `read`, for prompts that carry a resource with them."""
        if uri == GUIDE_URI:
            return TextResourceContents(uri=uri, mime_type="text/markdown", text=GUIDE)
        for view in VIEWS:
            identifier = view.match(uri)
            if identifier is not None:
                arguments = {view.field: identifier, **view.arguments}
                text = await self._perform(context, view.operation, arguments, uri)
                return TextResourceContents(uri=uri, mime_type=JSON, text=text)
        raise _absent(uri, "List the resource templates for the URIs that can be read.")

    async def _perform(
        self, context: Context, operation: Operation, arguments: dict[str, Any], uri: str
    ) -> str:
        try:
            answer = await self._door.perform(operation, arguments, self._door.grant(context))
        except Exception as error:
            problem = problem_from(error, operation.name, self._door.load())
            told = f"{problem.code}: {problem.detail} {problem.next_step}"
            code = INTERNAL_ERROR if problem.status >= 500 else INVALID_PARAMS  # noqa: PLR2004 - HTTP's
            raise MCPError(code, told, {"uri": uri, "code": problem.code}) from error
        return answer.body.decode()


_GUIDE = Resource(
    uri=GUIDE_URI,
    name="Worker's guide",
    description="How an agent works with PM Agent, from registration to the next task.",
    mime_type="text/markdown",
    annotations=Annotations(audience=["assistant"], priority=1.0),
)


def _absent(uri: str, next_step: str) -> MCPError:
    message = f"There is no resource {uri[:200]}. {next_step}"
    return MCPError(INVALID_PARAMS, message, {"uri": uri[:200]})


def _cursor(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def _after(cursor: str | None) -> str:
    """Return where the page before ended.

    Raises
    ------
    MCPError
        The cursor is none of ours.
    """
    if not cursor:
        return ""
    try:
        return base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        message = "The cursor is none of ours. Send next_cursor of the page before, unchanged."
        raise MCPError(INVALID_PARAMS, message) from error
