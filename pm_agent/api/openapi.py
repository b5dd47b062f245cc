"""The OpenAPI 3.1 document, built from the table of operations; nothing in it is written twice."""

import json
from typing import Any

import msgspec
from pydantic.json_schema import models_json_schema

from pm_agent.api.convert import with_added
from pm_agent.api.errors import PROBLEM_TYPE, Problem
from pm_agent.api.operations import OPERATIONS, Operation

Json = dict[str, Any]

REFERENCE = "#/components/schemas/"
# Refusals that any operation of a kind can meet; the body is a problem document.
QUERY_ERRORS = (400, 401, 403, 404, 405, 409, 422, 429, 503)
PASSING = (429, 503)  # come with a time to come back
COMMAND_ERRORS = (400, 401, 403, 404, 405, 409, 412, 413, 422, 429, 503)


def document(version: str) -> Json:
    """Describe every operation, with the schemas of what it takes and gives."""
    inputs, schemas = _inputs()
    schemas |= _results()
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        entry = paths.setdefault(operation.path, {})
        entry[operation.method.lower()] = _operation(operation, inputs[operation.name])
        _leave_out_path_fields(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PM Agent",
            "version": version,
            "description": "A project manager for teams of autonomous coding agents. "
            "The same operations are offered over MCP at /mcp.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def text() -> str:
    """Return the document as the repository keeps it, without the version of a release."""
    return json.dumps(document("1"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def path_fields(operation: Operation) -> list[str]:
    """Names of the fields that stand in the path."""
    return [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]


def _inputs() -> tuple[dict[str, Json], Json]:
    """Each operation's own input schema by name, and all input components."""
    models = [(operation.input, "validation") for operation in OPERATIONS]
    _, definitions = models_json_schema(
        [(model, "validation") for model, _ in models], ref_template=REFERENCE + "{model}"
    )
    schemas: Json = definitions["$defs"]
    return {o.name: schemas[o.input.__name__] for o in OPERATIONS}, schemas


def _results() -> Json:
    roots = list(dict.fromkeys(operation.result for operation in OPERATIONS))
    _, components = msgspec.json.schema_components(
        [*roots, Problem], ref_template=REFERENCE + "{name}"
    )
    own = {root.__name__ for root in roots}
    return {
        name: with_added(schema) if name in own else schema for name, schema in components.items()
    }


def _operation(operation: Operation, schema: Json) -> Json:
    errors = QUERY_ERRORS if operation.read_only else COMMAND_ERRORS
    if operation.has_version:
        errors = (*errors, 428)
    responses = {str(operation.status): _success(operation)}
    if operation.is_slow:
        responses["202"] = _begun()
    entry: Json = {
        "operationId": operation.name,
        "summary": operation.name.replace("_", " ").capitalize(),
        "description": operation.help,
        "tags": [operation.path.split("/")[2]],
        "security": [{"token": [operation.scope]}],
        "parameters": _parameters(operation, schema),
        "responses": {**responses, **{str(status): _problem(status) for status in errors}},
    }
    if operation.method in ("POST", "PATCH"):
        entry["requestBody"] = _body(operation, schema)
    return entry


def _success(operation: Operation) -> Json:
    reference = {"schema": {"$ref": REFERENCE + operation.result.__name__}}
    if operation.streams:
        text = {"schema": {"type": "string"}, "x-event": reference["schema"]}
        return {"description": "Events, until you leave.", "content": {"text/event-stream": text}}
    return {
        "description": "Success.",
        "headers": _HEADERS | (_VERSION if operation.gives_version else {}),
        "content": {"application/json": reference},
    }


def _begun() -> Json:
    where = {"description": "Where to ask after it.", "schema": {"type": "string"}}
    return {
        "description": "It goes on by itself, as 'Prefer: respond-async' asked.",
        "headers": {"Location": where},
        "content": {"application/json": {"schema": {"$ref": REFERENCE + "OperationAnswer"}}},
    }


_HEADERS: Json = {
    "X-PM-Position": {
        "description": "Send it with a later query to read your own write.",
        "schema": {"type": "integer"},
    },
    "X-PM-Stale": {
        "description": "'true' while the journal cannot be reached.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "Requests left with this key or token, and seconds until all are back.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "Requests at once, and the seconds over which they come back.",
        "schema": {"type": "string"},
    },
}
_VERSION: Json = {
    "ETag": {
        "description": "Version of what was read; send it as If-Match with a change.",
        "schema": {"type": "string"},
    }
}


def _parameters(operation: Operation, schema: Json) -> list[Json]:
    in_path = path_fields(operation)
    required = schema.get("required", [])
    found: list[Json] = []
    for name, field in schema.get("properties", {}).items():
        if name in in_path:
            found.append({"name": name, "in": "path", "required": True, "schema": field})
        elif operation.method == "GET":
            found.append(
                {"name": name, "in": "query", "required": name in required, "schema": field}
            )
    integer = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
    found.append({"name": "X-PM-Position", "in": "header", "required": False, "schema": integer})
    if not operation.read_only:
        text = {"type": "string", "maxLength": 128}
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": text})
    if operation.has_version:
        tag = {"type": "string", "pattern": r'^(\*|(W/)?"?[0-9]{1,15}"?)$'}
        found.append({"name": "If-Match", "in": "header", "required": False, "schema": tag})
    if operation.streams:
        found.append(
            {"name": "Last-Event-ID", "in": "header", "required": False, "schema": integer}
        )
    if operation.is_slow:
        wish = {"type": "string", "description": "'respond-async': answer with 202 and go on."}
        found.append({"name": "Prefer", "in": "header", "required": False, "schema": wish})
    return found


def _body(operation: Operation, schema: Json) -> Json:
    reference = {"$ref": REFERENCE + operation.input.__name__}
    content: Json = {"application/json": {"schema": reference}}
    if operation.takes_ndjson:
        tasks = schema["properties"]["tasks"]
        content["application/json"] = {"schema": {"anyOf": [reference, tasks]}}
        content["application/x-ndjson"] = {"schema": {"type": "string"}}
    needed = set(schema.get("required", [])) - set(path_fields(operation))
    return {"required": bool(needed), "content": content}


def _leave_out_path_fields(operation: Operation, schemas: Json) -> None:
    """Take what stands in the path out of the body's schema."""
    schema: Json = schemas[operation.input.__name__]
    gone = path_fields(operation)
    changed = dict(schema)
    changed["properties"] = {
        name: field for name, field in schema.get("properties", {}).items() if name not in gone
    }
    changed["required"] = [name for name in schema.get("required", []) if name not in gone]
    schemas[operation.input.__name__] = changed


def _problem(status: int) -> Json:
    problem: Json = {
        "description": f"Refused with status {status}; the code says why.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE + Problem.__name__}}},
    }
    if status in PASSING:
        description = "Seconds after which the same request may be sent again."
        problem["headers"] = {
            "Retry-After": {"description": description, "schema": {"type": "integer"}}
        }
    return problem


if __name__ == "__main__":  # writes docs/openapi.json
    print(text(), end="")  # noqa: T201 - a program of one line
