"""What schemathesis cannot read off the document: two ways of saying one thing must agree."""

from typing import Any

import schemathesis


def tasks_in(body: dict[str, Any]) -> list[Any]:
    tasks = body.get("tasks")
    return tasks if isinstance(tasks, list) else []


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Say the request id in one place; that a contradiction is refused has a test of its own."""
    body = case.body if isinstance(case.body, dict) else {}
    said = {**(case.query or {}), **body}
    if said.get("request_id") is not None and case.headers:
        case.headers.pop("Idempotency-Key", None)
    if said.get("expected_version") is not None and case.headers:
        case.headers.pop("If-Match", None)
    if said.get("after") is not None and case.headers:
        case.headers.pop("Last-Event-ID", None)
    if case.query:  # sealed by the server: none can be made up, and a test says that it is refused
        case.query.pop("cursor", None)
    # A dependency that nobody has is refused with 422, like any other wrong word in a body.
    for one in (body, *tasks_in(body), *(case.body if isinstance(case.body, list) else ())):
        if isinstance(one, dict) and isinstance(one.get("dependencies"), list):
            one["dependencies"] = []
