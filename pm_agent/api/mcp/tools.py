"""The table's rows as tools."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, NamedTuple, get_args

import anyio
import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CancelledNotificationParams,
    ListToolsResult,
    PaginatedRequestParams,
    RequestId,
    TextContent,
    Tool,
    ToolAnnotations,
)

from pm_agent.api.convert import result_schema
from pm_agent.api.errors import Problem, problem_from
from pm_agent.api.mcp.door import Context, Door
from pm_agent.api.operations import BY_NAME, OPERATIONS, Operation, Tier
from pm_agent.domain.envelope import Role
from pm_agent.runtime.credentials import Grant

PROGRESS_EVERY_S = 10.0  # keeps proxies from closing a silent stream
TIERS: frozenset[Tier] = frozenset(get_args(Tier))
# What a token's role is shown unless the address asks for something else: /mcp?tools=core,lead
SHOWN: dict[Role, frozenset[Tier]] = {
    "worker": frozenset({"core"}),
    "lead": frozenset({"core", "wider", "lead"}),
    "admin": TIERS,
    "system": TIERS,
}


class Outcome(NamedTuple):
    """What a tool's call led to."""

    text: str
    structured: bytes  # JSON object
    is_error: bool = False


class Tools:
    """Lists and calls tools.

    Without sessions, a legacy client's ``notifications/cancelled`` comes as a request of its own.
    Parked calls are therefore kept by their sender and the id that its client gave them; another
    replica's are not found, and end with their connection or their time.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._tools = {o.name: _tool(o) for o in OPERATIONS if o.in_mcp}
        self._parked: dict[tuple[str, RequestId], anyio.CancelScope] = {}

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Schema of a tool's arguments; the SDK compares ``Mcp-Param-`` headers with it."""
        tool = self._tools.get(name)
        return None if tool is None else tool.input_schema

    async def list(self, context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        """List what the token allows of the wanted tiers, always in the table's order."""
        grant = self._door.grant(context)
        tiers = _wanted_tiers(context) or SHOWN[grant.principal.role]
        names = [o.name for o in OPERATIONS if o.tier in tiers and o.scope in grant.scopes]
        return ListToolsResult(tools=[self._tools[name] for name in names])

    async def call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Call a tool; a refusal is a result that says what to do next."""
        operation = _operation(params.name)
        parked = self._waiting(context) if operation.parks else None
        grant = self._door.grant(context)
        outcome = await self.perform(operation, params.arguments or {}, grant, parked)
        return CallToolResult(
            content=[TextContent(text=outcome.text)],
            structured_content=msgspec.json.decode(outcome.structured),
            is_error=outcome.is_error,
        )

    async def perform(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        grant: Grant,
        parked: AbstractAsyncContextManager[None] | None = None,
    ) -> Outcome:
        """Perform a tool's operation and count it; ``parked`` as `Door.perform` takes it."""
        started = time.perf_counter()
        code = "ok"
        try:
            answer = await self._door.perform(operation, arguments, grant, parked)
        except MCPError:
            code = "cancelled"
            raise
        except Exception as error:  # noqa: BLE001 - a crash becomes an error result with an id, and is logged
            problem = problem_from(error, operation.name, self._door.load())
            code = problem.code
            return _refusal(problem)
        else:
            return Outcome(answer.body.decode(), answer.body)
        finally:
            self._door.metrics.count(operation.name, "mcp", code, time.perf_counter() - started)

    async def cancelled(self, context: Context, params: CancelledNotificationParams) -> None:
        """End a parked call of the same sender."""
        if params.request_id is None:
            return
        parked = self._parked.get((str(self._door.principal(context)), params.request_id))
        if parked is not None:
            parked.cancel()

    @asynccontextmanager
    async def _waiting(self, context: Context) -> AsyncIterator[None]:
        """Tell a waiting client every few seconds that we are still there; let it cancel.

        Raises
        ------
        MCPError
            It did. Nobody reads this, but the response has to end.
        """
        assert context.request_id is not None
        key = (str(self._door.principal(context)), context.request_id)
        teller = asyncio.create_task(_tell(context), name="mcp-progress")
        try:
            with anyio.CancelScope() as scope:
                self._parked[key] = scope
                yield
        finally:
            if self._parked.get(key) is scope:
                del self._parked[key]
            teller.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await teller
        if scope.cancelled_caught:
            raise MCPError(INVALID_PARAMS, "You cancelled this request.")


def _wanted_tiers(context: Context) -> frozenset[Tier]:
    """Return the tiers named in the address; none when it names none.

    Raises
    ------
    MCPError
        There is no such tier.
    """
    named = context.request.query_params.get("tools", "") if context.request is not None else ""
    if named == "all":
        return TIERS
    wanted = {name for name in named.split(",") if name}
    if wanted - TIERS:
        known = ", ".join(get_args(Tier))
        raise MCPError(INVALID_PARAMS, f"tools={named[:100]}: the tiers are {known}, and 'all'.")
    return frozenset(tier for tier in TIERS if tier in wanted)


def _operation(name: str) -> Operation:
    operation = BY_NAME.get(name)
    if operation is None or not operation.in_mcp:
        message = f"There is no tool {name[:100]}. List the tools and call one of them."
        raise MCPError(INVALID_PARAMS, message)
    return operation


def _tool(operation: Operation) -> Tool:
    given = _slim(operation.input.model_json_schema(), _NOT_IN_INPUT)
    given.pop("description", None)  # the tool has its own
    return Tool(
        name=operation.name,
        title=operation.name.replace("_", " ").capitalize(),
        description=operation.help,
        input_schema=given,
        output_schema=_slim(result_schema(operation.result), _NOT_IN_OUTPUT),
        annotations=ToolAnnotations(
            read_only_hint=operation.read_only,
            destructive_hint=operation.destructive,
            idempotent_hint=operation.idempotent,
            open_world_hint=False,
        ),
    )


# Every agent carries the tools' schemas in its context. Nobody needs titles, and a result's fields
# are read when they come, with names that speak: this leaves out almost half.
_NOT_IN_INPUT = frozenset({"title"})
_NOT_IN_OUTPUT = frozenset({"title", "description", "default"})


def _slim(schema: Any, without: frozenset[str], *, is_names: bool = False) -> Any:
    """Return a schema without some words, and without null beside another type."""
    if isinstance(schema, list):
        return [_slim(one, without) for one in schema]
    if not isinstance(schema, dict):
        return schema
    slim = {
        name: _slim(value, without, is_names=name in ("properties", "$defs"))
        for name, value in schema.items()
        if is_names or name not in without
    }
    if is_names:
        return slim
    given = [one for one in slim.get("anyOf", ()) if one != {"type": "null"}]
    if len(given) == 1:
        del slim["anyOf"]
        slim = given[0] | slim
    if slim.get("default", ...) in (None, "", [], {}):
        del slim["default"]
    return slim


def _refusal(problem: Problem) -> Outcome:
    """Make a result that the model can act on: what happened, and the next step."""
    text = f"{problem.code}: {problem.detail} {problem.next_step}"
    if problem.retry_after_s:
        text += f" retry_after_s: {problem.retry_after_s}."
    return Outcome(text, msgspec.json.encode(problem), is_error=True)


async def _tell(context: Context) -> None:
    n = 0
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        n += 1
        await context.session.report_progress(n, None, "Waiting for a task.")
