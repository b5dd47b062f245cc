"""HTTP: the table of operations as REST, and what operators need beside it.

FastAPI serves the documentation and the lifespan; the operations bypass it. Each request takes one
short path: route, who, body, input, handler, bytes out. The hot path has no dependency injection
and no response models.
"""

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qsl

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from pm_agent.api import openapi
from pm_agent.api.auth import (
    JWKS_PATH,
    METADATA_PATHS,
    authenticate,
    authorise,
    bearer,
    metadata_url,
    require_objects,
    resource_metadata,
)
from pm_agent.api.errors import (
    PROBLEM_TYPE,
    MethodNotAllowed,
    Problem,
    UnknownRoute,
    headers_of,
    problem_from,
    problem_of,
)
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.handlers.slow import begin
from pm_agent.api.mcp import Door, build_endpoint
from pm_agent.api.metrics import Metrics
from pm_agent.api.operations import OPERATIONS, Operation
from pm_agent.api.request import (
    ClientGone,
    Fields,
    fields_in,
    headers_in,
    merge,
    merge_headers,
    position_in,
    read_body,
)
from pm_agent.api.routes import NotAllowed, Routes
from pm_agent.domain.errors import PMError, Unavailable
from pm_agent.domain.time import SECOND_US
from pm_agent.runtime.ingress import Ingress

MAX_BODY = 4 * 1024 * 1024
MAX_IMPORT_BODY = 32 * 1024 * 1024
# Nginx's code for "the client went away"; for the metrics, nobody receives it.
GONE = "client_gone"

MakeIngress = Callable[[], Awaitable[Ingress]]


# -- responses ------------------------------------------------------------------------------------

_GRANT = "pm_agent.grant"  # in a request's scope, once it is known who asks
_JSON_TYPE = (b"content-type", b"application/json")
_PROBLEM_TYPE = (b"content-type", PROBLEM_TYPE.encode())
HeaderList = list[tuple[bytes, bytes]]


async def _send(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem(
    send: Send, problem: Problem, more: HeaderList | None = None, metadata_url: str = ""
) -> None:
    """Send a refusal."""
    headers = [_PROBLEM_TYPE, *headers_of(problem, metadata_url), *(more or [])]
    await _send(send, problem.status, headers, msgspec.json.encode(problem))


# -- the app --------------------------------------------------------------------------------------


class HttpApp:
    """The ASGI application of one replica.

    Parameters
    ----------
    ingress
        The door to the coordinator, or what makes it: with Ray Serve it can only be made inside
        the replica.
    mcp
        Whether to serve MCP at ``/mcp`` too.
    allowed_hosts
        Host names under which MCP is served, beside the loopback ones.
    mcp_fast_path
        Whether plain tool calls go past MCP's SDK.
    require_if_match
        Whether changes must say which version they are of.
    """

    def __init__(
        self,
        ingress: Ingress | MakeIngress,
        *,
        mcp: bool,
        allowed_hosts: tuple[str, ...],
        mcp_fast_path: bool,
        require_if_match: bool,
    ) -> None:
        self._given = ingress
        self._require_if_match = require_if_match
        self._ingress: Ingress | None = None
        self._routes = Routes(OPERATIONS)
        self.metrics = Metrics(lambda: self._ingress)
        door = Door(self.ingress, self.metrics)
        self._mcp = build_endpoint(door, allowed_hosts, fast_path=mcp_fast_path) if mcp else None
        self.shell = self._make_shell()

    def ingress(self) -> Ingress:
        """Return the live ingress.

        Raises
        ------
        Unavailable
            The app has not started, or has stopped.
        """
        if self._ingress is None:
            message = "This replica is not serving."
            raise Unavailable(message)
        return self._ingress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.shell(scope, receive, send)
            return
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith("/v1/"):
            await self._serve(path, scope, receive, send)
        elif self._mcp is not None and path in ("/mcp", "/mcp/"):
            await self._mcp(scope, receive, send)
        else:
            await self.shell(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Serve from start to end: the ingress follows the coordinator, MCP runs its manager."""
        given = self._given
        ingress = given if isinstance(given, Ingress) else await given()
        await ingress.start()
        self._ingress = ingress
        try:
            async with AsyncExitStack() as stack:
                if self._mcp is not None:
                    await stack.enter_async_context(self._mcp.run())
                yield
        finally:
            self._ingress = None
            await ingress.stop()

    # -- one operation ----------------------------------------------------------------------------

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        name, code = "unknown", "ok"
        try:
            operation, fields = self._routes.find(path, scope["method"])
            name = operation.name
            answer = await self._answer(operation, fields, scope, receive)
            if answer.stream is not None:
                more = self._position_headers(answer.position)
                await answer.stream.serve(receive, send, more)
        except ClientGone:
            code = GONE
        except NotAllowed as error:
            code = error.code
            await send_problem(send, problem_of(error), [(b"allow", error.allowed.encode())])
        except Exception as error:  # noqa: BLE001 - a crash becomes a 500 with an id, and is logged
            problem = problem_from(error, name, self._load())
            code = problem.code
            more = self._position_headers() + self._rate_headers(scope)
            await send_problem(send, problem, more, self._metadata_url())
        else:
            if answer.stream is not None:
                return
            headers = [_JSON_TYPE, *self._position_headers(answer.position)]
            headers += self._rate_headers(scope)
            if answer.version is not None:
                headers.append((b"etag", b'"%d"' % answer.version))
            if answer.location:
                headers.append((b"location", answer.location.encode()))
            await _send(send, answer.status or operation.status, headers, answer.body)
        finally:
            self.metrics.count(name, "http", code, time.perf_counter() - started)

    async def _answer(
        self, operation: Operation, fields: Fields, scope: Scope, receive: Receive
    ) -> Answer:
        ingress = self.ingress()
        headers = headers_in(scope)
        position = position_in(headers.x_pm_position)
        # Who before what: nobody without a token gets 32 MiB read.
        secret = bearer(headers.authorization)
        grant = await authenticate(ingress, secret, position, scope)
        scope[_GRANT] = grant
        authorise(grant, operation)
        ingress.pace.require_work(grant.principal, operation.work)
        if operation.method in ("POST", "PATCH"):
            limit = MAX_IMPORT_BODY if operation.takes_ndjson else MAX_BODY
            body = await read_body(receive, limit, headers.content_length)
            sent = fields_in(operation, body, headers.content_type)
        else:
            sent = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        for name, value in fields.items():
            merge(sent, name, value, "the path")
        merge_headers(operation, sent, headers, require_if_match=self._require_if_match)
        given = operation.input.model_validate(sent)
        call = Call.of(ingress, grant, given, "detailed")
        if operation.is_slow and "respond-async" in headers.prefer.lower():
            await ingress.catch_up(position)
            require_objects(grant, operation, given, ingress.world)
            ingress.admission.require(operation.work)
            return begin(call, operation.name, lambda: operation.handler(call, given))
        if operation.parks:
            ingress.admission.require(operation.work)
            require_objects(grant, operation, given, ingress.world)
            return await _until_gone(operation.handler(call, given), receive)
        lane = ingress.enter(operation.work)
        if operation.looks_first or grant.project_ids:
            await ingress.catch_up(position)
        require_objects(grant, operation, given, ingress.world)
        async with lane:
            return await operation.handler(call, given)

    def _metadata_url(self) -> str:
        return metadata_url(self._ingress.credentials) if self._ingress is not None else ""

    def _load(self) -> float:
        return self._ingress.admission.load if self._ingress is not None else 0.0

    def _position_headers(self, position: int | None = None) -> HeaderList:
        if self._ingress is None:
            return []
        at = self._ingress.world.position if position is None else position
        headers = [(b"x-pm-position", b"%d" % at)]
        if self._ingress.is_stale:
            headers.append((b"x-pm-stale", b"true"))
        return headers

    def _rate_headers(self, scope: Scope) -> HeaderList:
        """Say how many requests the key or token has left (IETF draft, httpapi)."""
        grant = scope.get(_GRANT)
        if grant is None or self._ingress is None:
            return []
        burst, left, full_in_s = self._ingress.pace.requests_left(grant)
        return [
            (b"ratelimit-policy", b'"requests";q=%d;w=%d' % (burst, self._ingress.pace.burst_s)),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (left, full_in_s)),
        ]

    # -- beside the operations --------------------------------------------------------------------

    def _make_shell(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with self.lifespan():
                yield

        version = importlib.metadata.version("pm-agent")
        shell = FastAPI(title="PM Agent", version=version, lifespan=lifespan)
        described = openapi.document(version)
        shell.openapi = lambda: described  # type: ignore[method-assign]  # FastAPI's documented hook
        shell.add_route("/healthz", self._healthz, include_in_schema=False)
        shell.add_route("/readyz", self._readyz, include_in_schema=False)
        shell.add_route("/metrics", self._metrics_text, include_in_schema=False)
        shell.add_route(JWKS_PATH, self._jwks, include_in_schema=False)
        for path in METADATA_PATHS:
            shell.add_route(path, self._metadata, include_in_schema=False)
        shell.add_exception_handler(404, _unknown_route)
        shell.add_exception_handler(405, _method_not_allowed)
        return shell

    async def _jwks(self, request: Request) -> Response:
        ingress = self.ingress()
        keys = ingress.credentials.tokens.jwks(ingress.now_us() // SECOND_US)
        return JSONResponse(keys, headers={"Cache-Control": "public, max-age=300"})

    async def _metadata(self, request: Request) -> Response:
        described = resource_metadata(self.ingress().credentials)
        if described is None:
            return await _unknown_route(request, HTTPException(404))
        return JSONResponse(described)

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, request: Request) -> Response:
        try:
            reason = await self._why_not_ready()
        except PMError as error:
            reason = error.message
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def _why_not_ready(self) -> str:
        ingress = self.ingress()
        if ingress.leaving:
            return "this server hands its workspace over"
        if not ingress.is_following:
            return "this replica does not follow the coordinator"
        health = await ingress.health()
        return "" if health.is_writable else health.reason or "the coordinator cannot write"

    async def _metrics_text(self, request: Request) -> Response:
        await self.ingress().catch_up()
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def build_app(
    ingress: Ingress | MakeIngress,
    *,
    mcp: bool = True,
    allowed_hosts: tuple[str, ...] = (),
    mcp_fast_path: bool = False,
    require_if_match: bool = False,
) -> HttpApp:
    """Make the ASGI application of one replica; its lifespan starts and stops the ingress."""
    return HttpApp(
        ingress,
        mcp=mcp,
        allowed_hosts=allowed_hosts,
        mcp_fast_path=mcp_fast_path,
        require_if_match=require_if_match,
    )


async def _until_gone(answering: Awaitable[Answer], receive: Receive) -> Answer:
    """Wait for a parked answer, and cancel it when the client goes away.

    A waiter that is gone must not be offered a task: cancelling withdraws its offer.
    """
    answer = asyncio.ensure_future(answering)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientGone
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


async def _unknown_route(request: Request, _: Exception) -> Response:
    problem = problem_of(UnknownRoute(f"There is nothing at {request.url.path[:200]}."))
    return _problem_response(problem)


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    allowed = (getattr(error, "headers", None) or {}).get("Allow", "GET")
    problem = problem_of(MethodNotAllowed(f"{request.method} is not possible here."))
    return _problem_response(problem, {"Allow": allowed})


def _problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=PROBLEM_TYPE,
        headers=headers,
    )
