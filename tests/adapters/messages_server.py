"""A server of the Messages API: checks what is sent, and answers as it is told.

Requests are held to the SDK's own types and to what the service demands of them; a bad one gets
400, as there. Replies come from a script; without one they fit the schema that was sent.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import TypeAdapter, ValidationError

from tests.http_server import Server

Json = dict[str, Any]
_PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
Reply = Callable[[Json], Json] | int | str


class MessagesServer:
    """What was asked, and what is answered next.

    A scripted reply is a status (429, 500, 529, 401), "hang", "cut", "not json", or a function of
    the request that makes the answer's content. A scripted entry of a batch is the type of its
    result, or "missing".
    """

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.script: deque[Reply] = deque()
        self.url = ""
        self.batches: dict[str, list[Json]] = {}
        self.entries: deque[str] = deque()
        self.looks: deque[int] = deque()  # statuses of the next looks at a batch
        self.n_looks = 0
        self.refuses_batches = 0  # with this status
        self.is_slow = False  # batches end only when they are cancelled
        self.cancelled: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (part := await receive()).get("more_body") or part.get("body"):
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        path, method = scope["path"], scope["method"]
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        known = "Bearer sk-test" in headers.get("authorization", "")
        if not known or "anthropic-version" not in headers:
            await _say(send, 401, _error("authentication_error", "invalid x-api-key"))
        elif path == "/v1/messages" and method == "POST":
            await self._message(json.loads(body), send)
        elif path == "/v1/messages/batches" and method == "POST":
            await self._new_batch(json.loads(body), send)
        elif path.endswith("/results"):
            await _say_lines(send, self._results(path.split("/")[-2]))
        elif path.endswith("/cancel") and method == "POST":
            self.cancelled.add(path.split("/")[-2])
            await _say(send, 200, _batch(path.split("/")[-2], "canceling", self.url))
        elif path.startswith("/v1/messages/batches/"):
            self.n_looks += 1
            name = path.split("/")[4]
            is_over = not self.is_slow or name in self.cancelled
            status = self.looks.popleft() if self.looks else 200
            told = _batch(name, "ended" if is_over else "in_progress", self.url)
            await _say(send, status, told if status == 200 else _error("api_error", "scripted"))
        else:
            await _say(send, 404, _error("not_found_error", path))

    async def _message(self, asked: Json, send: Any) -> None:
        self.requests.append(asked)
        if problem := _problem(asked):
            await _say(send, 400, _error("invalid_request_error", problem))
            return
        reply = self.script.popleft() if self.script else fitting
        if isinstance(reply, int):
            kinds = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error"}
            await _say(send, reply, _error(kinds.get(reply, "api_error"), "scripted"))
        elif reply == "hang":
            await asyncio.sleep(5)
        elif reply == "cut":
            await _start(send, 200, 10_000)
            await send({"type": "http.response.body", "body": b'{"id": "msg_', "more_body": False})
        elif isinstance(reply, str):
            await _say(send, 200, _message(asked, reply))
        else:
            await _say(send, 200, _message(asked, json.dumps(reply(asked))))

    async def _new_batch(self, asked: Json, send: Any) -> None:
        if self.refuses_batches:
            await _say(send, self.refuses_batches, _error("overloaded_error", "scripted"))
            return
        problems = [p for one in asked["requests"] if (p := _problem(one["params"]))]
        if problems:
            await _say(send, 400, _error("invalid_request_error", problems[0]))
            return
        name = f"msgbatch_{len(self.batches)}"
        self.batches[name] = asked["requests"]
        await _say(send, 200, _batch(name, "in_progress", self.url))

    def _results(self, name: str) -> list[Json]:
        lines = []
        for one in reversed(self.batches[name]):  # in any order, as the service says
            kind = self.entries.popleft() if self.entries else "succeeded"
            result: Json = {"type": kind}
            if kind == "succeeded":
                result["message"] = _message(one["params"], json.dumps(fitting(one["params"])))
            elif kind == "errored":
                result["error"] = _error("invalid_request_error", "scripted") | {"request_id": "r"}
            if kind != "missing":
                lines.append({"custom_id": one["custom_id"], "result": result})
        return lines


def _problem(asked: Json) -> str:
    """What is wrong with a request; empty: nothing."""
    try:
        checked = _PARAMS.validate_python(asked)
        for message in checked["messages"]:
            list(message["content"])
    except ValidationError as error:
        return str(error.errors()[0]["loc"])
    if asked["max_tokens"] < 1:
        return "max_tokens: must be at least 1"
    if asked["messages"][0]["role"] != "user":
        return "messages: first message must use the user role"
    schema = asked["output_config"]["format"]["schema"]
    if schema.get("additionalProperties") is not False:
        return "output_config: additionalProperties must be false"
    return ""


def fitting(asked: Json) -> Json:
    """The least that fits the schema of a request."""
    schema = asked["output_config"]["format"]["schema"]
    made: Json = _value(schema, schema.get("$defs", {}))
    return made


def _value(schema: Json, shapes: Json) -> Any:
    if "$ref" in schema:
        return _value(shapes[schema["$ref"].rsplit("/", 1)[-1]], shapes)
    if "enum" in schema:
        return schema["enum"][0]
    kinds: Json = {"string": "A line.", "integer": 2, "boolean": False}
    if schema["type"] == "array":
        return [_value(schema["items"], shapes)]
    if schema["type"] == "object":
        return {name: _value(one, shapes) for name, one in schema["properties"].items()}
    return kinds[schema["type"]]


def _message(asked: Json, text: str) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 100,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 0,
            "output_tokens": 50,
        },
    }


def _batch(name: str, status: str, url: str) -> Json:
    return {
        "id": name,
        "type": "message_batch",
        "processing_status": status,
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "request_counts": {
            "processing": 0,
            "succeeded": 1,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        },
        "results_url": f"{url}/v1/messages/batches/{name}/results",
    }


def _error(kind: str, message: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}}


async def _say(send: Any, status: int, body: Json) -> None:
    content = json.dumps(body).encode()
    await _start(send, status, len(content))
    await send({"type": "http.response.body", "body": content})


async def _say_lines(send: Any, lines: list[Json]) -> None:
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    await _start(send, 200, len(content))
    await send({"type": "http.response.body", "body": content})


async def _start(send: Any, status: int, length: int) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
        (b"retry-after", b"0"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})


@asynccontextmanager
async def serving() -> AsyncIterator[MessagesServer]:
    """A server on a free port of this machine, until the block ends."""
    app = MessagesServer()
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    app.url = f"http://127.0.0.1:{port}"
    try:
        yield app
    finally:
        server.force_exit = server.should_exit = True
        await task
