"""A language model that follows a script, on loopback: what a real coding agent talks to in tests.

It speaks the Messages API and the Responses API, as streams. Its only wit is to look at what its
tools answered so far and to take the next step of a worker: register, wait, report, complete.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from uuid import uuid4

Json = dict[str, Any]
SAID = "The task is done."
PREFIX = "mcp__pm"  # agents call our server "pm"
STEPS = ("register_agent", "wait_for_task", "report_task_progress", "complete_task")
SEARCH = "ToolSearch"  # Claude Code's tool that finds tools


class ToolCall(NamedTuple):
    """What the model wants called."""

    name: str
    arguments: Json


def next_call(name: str, answers: list[Json]) -> ToolCall | None:
    """Return a worker's next call after its tools' answers so far; none when it is done."""
    if not any("agent_id" in answer for answer in answers):
        return ToolCall("register_agent", {"name": name, "skills": ["python"]})
    claimed = next((a for a in answers if a.get("outcome") == "assigned"), None)
    if claimed is None:
        return ToolCall("wait_for_task", {"timeout_s": 40})
    lease = {"task_id": claimed["task_id"], "lease_token": claimed["lease_token"]}
    match len(answers) - answers.index(claimed):
        case 1:
            return ToolCall("report_task_progress", {**lease, "percent": 50, "note": "half done"})
        case 2:
            return ToolCall("complete_task", {**lease, "summary": "done by the script"})
    return None


class ModelServer:
    """The server, and what it was asked.

    Attributes
    ----------
    requests
        Bodies of all requests that offered tools, oldest first.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[Json] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["ModelServer"]:
        thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def offered(self) -> set[str]:
        """Names of our tools that the agent offered its model."""
        return {name for body in self.requests for name in _ours(body)}

    def events(self, path: str, body: Json) -> list[tuple[str, Json]]:
        """Answer one request: named events of a stream."""
        tools = _ours(body)
        if tools:
            self.requests.append(body)
        is_responses = path.endswith("/responses")
        read = _answers_in_items if is_responses else _answers_in_messages
        step = next_call(self.name, read(body)) if tools else None
        call = {**tools[step.name], "arguments": step.arguments} if step else None
        if not tools and any(tool.get("name") == SEARCH for tool in body.get("tools", [])):
            # The agent keeps tools back until its model asks for them.
            wanted = ",".join(f"{PREFIX}__{name}" for name in STEPS)
            call = {"name": SEARCH, "arguments": {"query": f"select:{wanted}", "max_results": 9}}
        return (_responses if is_responses else _messages)(call)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = self.path.partition("?")[0]
                events = server.events(path, body)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for name, event in events:
                    told = json.dumps({"type": name, **event})
                    self.wfile.write(f"event: {name}\ndata: {told}\n\n".encode())

            def do_GET(self) -> None:
                self.send_error(404)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        return Handler


def _ours(body: Json) -> dict[str, Json]:
    """Our tools in a request by their own names, and how the agent wants each called."""
    found: dict[str, Json] = {}
    for tool in body.get("tools", []):
        name = tool.get("name", "")
        if tool.get("type") == "namespace" and name == PREFIX:
            found |= {t["name"]: {"name": t["name"], "namespace": name} for t in tool["tools"]}
        elif name.startswith(f"{PREFIX}__"):
            found[name.removeprefix(f"{PREFIX}__")] = {"name": name}
    return found


# -- the Messages API -----------------------------------------------------------------------------


def _answers_in_messages(body: Json) -> list[Json]:
    """What the tools answered, oldest first."""
    return [
        _parsed(block["content"])
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block.get("type") == "tool_result"
    ]


def _messages(call: Json | None) -> list[tuple[str, Json]]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    if call is None:
        block: Json = {"type": "text", "text": ""}
        delta: Json = {"type": "text_delta", "text": SAID}
        reason = "end_turn"
    else:
        block = {"type": "tool_use", "id": _identifier(), "name": call["name"], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call["arguments"])}
        reason = "tool_use"
    message: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return [
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": block}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": reason}, "usage": usage}),
        ("message_stop", {}),
    ]


# -- the Responses API ----------------------------------------------------------------------------


def _answers_in_items(body: Json) -> list[Json]:
    outputs = [item for item in body["input"] if item.get("type") == "function_call_output"]
    return [_parsed(item["output"]) for item in outputs]


def _responses(call: Json | None) -> list[tuple[str, Json]]:
    if call is None:
        content = [{"type": "output_text", "text": SAID}]
        item: Json = {"type": "message", "role": "assistant", "id": "msg_1", "content": content}
    else:
        arguments = json.dumps(call["arguments"])
        item = {**call, "type": "function_call", "call_id": _identifier(), "arguments": arguments}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return [
        ("response.created", {"response": {"id": "resp_1"}}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": {"id": "resp_1", "usage": usage}}),
    ]


def _identifier() -> str:
    return f"call_{uuid4().hex}"


def _parsed(content: Any) -> Json:
    """Return the JSON object in a tool's answer, however the agent wraps it."""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    start = content.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(content[max(start, 0) :])
    except ValueError:
        return {"text": content}
    return found if isinstance(found, dict) else {"text": content}
