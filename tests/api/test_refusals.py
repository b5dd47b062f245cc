"""Every bad request gets a stable code, the right status and a next step, and changes nothing."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import ADMIN, LEAD, Stack


async def refuses(  # noqa: PLR0917 - reads as a sentence
    stack: Stack, status: int, code: str, method: str, path: str, token: str = ADMIN, **more: Any
) -> dict[str, Any]:
    """Send a request that must be refused; the world must stay as it was."""
    position, fingerprint = stack.position, stack.fingerprint
    response = await stack.call(method, path, token, **more)
    problem = problem_in(response, status, code)
    assert stack.position == position
    assert stack.fingerprint == fingerprint
    return problem


def problem_in(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"https://pm-agent.dev/problems/{code}"
    assert problem["detail"]
    assert problem["title"]
    assert problem["next_step"]
    return problem


@pytest.fixture
async def working(stack: Stack) -> dict[str, Any]:
    """A project, a task that Ada holds, and Bob without one."""
    await stack.project()
    task_id = await stack.task()
    ada, adas = await stack.agent("Ada")
    bob, bobs = await stack.agent("Bob")
    claimed = await stack.claim(ada, adas)
    return {
        "task": task_id,
        "lease": {"lease_token": claimed["lease_token"]},
        "ada": ada,
        "adas": adas,
        "bob": bob,
        "bobs": bobs,
    }


UNKNOWN = [
    ("GET", "/v1/tasks/T-99/context", None, "unknown_task"),
    ("GET", "/v1/tasks/T-99/explanation", None, "unknown_task"),
    ("GET", "/v1/tasks/T-99/history", None, "unknown_task"),
    (
        "POST",
        "/v1/tasks/T-99/complete",
        {"lease_token": 1, "summary": "x"},
        "unknown_task",
    ),
    ("POST", "/v1/tasks/T-99/approve", {}, "unknown_task"),
    ("POST", "/v1/tasks/T-99/cancel", {}, "unknown_task"),
    ("PATCH", "/v1/tasks/T-99", {"title": "x"}, "unknown_task"),
    ("GET", "/v1/agents/A-nobody", None, "unknown_agent"),
    ("POST", "/v1/agents/A-nobody/next-task", {}, "unknown_agent"),
    ("POST", "/v1/agents/A-nobody/wait", {"timeout_s": 1}, "unknown_agent"),
    ("POST", "/v1/agents/A-nobody/heartbeat", {}, "unknown_agent"),
    ("GET", "/v1/projects/P-none", None, "unknown_project"),
    ("GET", "/v1/tasks?project_id=P-none", None, "unknown_project"),
    ("POST", "/v1/projects/P-none/tasks", {"title": "x"}, "unknown_project"),
    ("POST", "/v1/projects/P-none/import", [{"title": "x"}], "unknown_project"),
    ("POST", "/v1/blockers/B-9/resolve", {"resolution": "x"}, "unknown_blocker"),
    ("POST", "/v1/holds", {"scope": "task", "target_id": "T-99"}, "unknown_task"),
    ("DELETE", f"/v1/tokens/{'0' * 64}", None, "not_found"),
]


@pytest.mark.parametrize(("method", "path", "body", "code"), UNKNOWN)
async def test_an_unknown_id_is_refused(
    stack: Stack, method: str, path: str, body: Any, code: str
) -> None:
    await refuses(stack, 404, code, method, path, json=body)


@pytest.mark.parametrize("what", ["progress", "complete", "blockers", "release"])
async def test_a_write_needs_the_lease_token(
    stack: Stack, working: dict[str, Any], what: str
) -> None:
    text: dict[str, dict[str, Any]] = {
        "progress": {"percent": 1},
        "complete": {"summary": "x"},
        "release": {},
    }
    body = text.get(what, {"description": "x"})
    path = f"/v1/tasks/{working['task']}/{what}"
    problem = await refuses(stack, 422, "invalid_input", "POST", path, working["adas"], json=body)
    assert [e["field"] for e in problem["errors"]] == ["lease_token"]
    wrong = {**body, "lease_token": 77}
    await refuses(stack, 409, "stale_lease", "POST", path, working["adas"], json=wrong)
    other = {**body, **working["lease"]}
    await refuses(stack, 403, "not_assignee", "POST", path, working["bobs"], json=other)


@pytest.mark.parametrize(
    ("what", "body"),
    [("decisions", {"decision": "x"}), ("artifacts", {"name": "x", "uri": "y"})],
)
async def test_an_agent_logs_only_on_its_own_task(
    stack: Stack, working: dict[str, Any], what: str, body: dict[str, Any]
) -> None:
    path = f"/v1/tasks/{working['task']}/{what}"
    await refuses(stack, 422, "invalid_input", "POST", path, working["adas"], json=body)
    stale = {**body, "lease_token": 9}
    await refuses(stack, 409, "stale_lease", "POST", path, working["adas"], json=stale)
    await stack.ok("POST", path, LEAD, json=body)


async def test_a_write_to_a_task_that_nobody_holds_is_refused(
    stack: Stack, working: dict[str, Any]
) -> None:
    path = f"/v1/tasks/{working['task']}"
    await stack.ok("POST", f"{path}/release", working["adas"], json=working["lease"])
    body = {"percent": 5, **working["lease"]}
    await refuses(
        stack, 409, "not_assigned", "POST", f"{path}/progress", working["adas"], json=body
    )


async def test_an_agent_cannot_act_for_another(stack: Stack, working: dict[str, Any]) -> None:
    for verb in ("next-task", "heartbeat", "wait"):
        path = f"/v1/agents/{working['ada']}/{verb}"
        problem = await refuses(stack, 403, "forbidden", "POST", path, working["bobs"], json={})
        assert working["bob"] in problem["next_step"]
    body = {"name": "Ada"}
    await refuses(stack, 403, "forbidden", "POST", "/v1/agents", working["bobs"], json=body)
    body = {"name": "Bob", "role": "lead"}
    await refuses(stack, 403, "forbidden", "POST", "/v1/agents", working["bobs"], json=body)


async def test_more_tasks_than_the_capacity_are_refused(
    stack: Stack, working: dict[str, Any]
) -> None:
    path = f"/v1/agents/{working['ada']}/next-task"
    problem = await refuses(stack, 409, "capacity_exceeded", "POST", path, working["adas"])
    assert working["task"] in problem["detail"]


async def test_a_task_is_completed_once(stack: Stack, working: dict[str, Any]) -> None:
    path = f"/v1/tasks/{working['task']}/complete"
    body = {**working["lease"], "summary": "Done."}
    done = await stack.ok("POST", path, working["adas"], json=body)
    position = stack.position
    again = await stack.ok("POST", path, working["adas"], json=body)  # a lost reply, perhaps
    assert again["state"] == done["state"] == "done"
    assert stack.position == position
    await refuses(stack, 409, "already_completed", "POST", path, working["bobs"], json=body)
    other = {**body, "lease_token": 99}
    await refuses(stack, 409, "already_completed", "POST", path, working["adas"], json=other)


async def test_a_cycle_is_refused_when_written(stack: Stack) -> None:
    await stack.project()
    first = await stack.task()
    second = await stack.task(dependencies=[first])
    body: Any = {"dependencies": [second]}
    problem = await refuses(
        stack, 422, "dependency_cycle", "PATCH", f"/v1/tasks/{first}", json=body
    )
    assert first in problem["detail"]
    assert second in problem["detail"]
    body = [
        {"title": "a", "key": "a", "dependencies": ["b"]},
        {"title": "b", "key": "b", "dependencies": ["a"]},
    ]
    await refuses(stack, 422, "dependency_cycle", "POST", "/v1/projects/P-web/import", json=body)
    body = {"title": "c", "dependencies": ["nothing"]}
    await refuses(stack, 422, "unknown_dependency", "POST", "/v1/projects/P-web/tasks", json=body)


async def test_a_name_is_taken_once(stack: Stack) -> None:
    await stack.project()
    body = {"name": "WEB"}
    await refuses(stack, 409, "already_exists", "POST", "/v1/projects", json=body)


MALFORMED: list[tuple[bytes, int, str]] = [
    (b"{", 400, "malformed_json"),
    (b"not json", 400, "malformed_json"),
    (b'{"title": "\xff"}', 400, "malformed_json"),
    (b'{"title": "\\ud800"}', 400, "malformed_json"),
    (b"[" * 100_000, 400, "malformed_json"),
    (b'{"title": "a", "estimate_min": NaN}', 400, "malformed_json"),
    (b"[1]", 422, "invalid_input"),
    (b'"text"', 422, "invalid_input"),
    (b"null", 422, "invalid_input"),
    (b"", 422, "invalid_input"),
    (b'{"title": "a\\u0000b"}', 422, "invalid_input"),
]


@pytest.mark.parametrize(("body", "status", "code"), MALFORMED)
async def test_a_malformed_body_is_refused(
    stack: Stack, body: bytes, status: int, code: str
) -> None:
    await stack.project()
    await refuses(stack, status, code, "POST", "/v1/projects/P-web/tasks", content=body)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({}, "title"),
    ({"title": ""}, "title"),
    ({"title": "  "}, "title"),
    ({"title": "x", "skills": [" "]}, "skills.0.name"),
    ({"title": "x" * 201}, "title"),
    ({"title": "x", "description": "x" * 20_001}, "description"),
    ({"title": "x", "labels": ["l"] * 51}, "labels"),
    ({"title": "x", "skills": [{"name": "s" * 41}]}, "skills.0.name"),
    ({"title": "x", "skills": [{"name": "s", "level": 6}]}, "skills.0.level"),
    ({"title": "x", "priority": "highest"}, "priority"),
    ({"title": "x", "estimate_min": -1}, "estimate_min"),
    ({"title": "x", "complexity": 6}, "complexity"),
    ({"title": "x", "titel": "y"}, "titel"),
    ({"title": "x", "request_id": "r" * 129}, "request_id"),
]


@pytest.mark.parametrize(("body", "field"), INVALID)
async def test_an_invalid_field_is_named(stack: Stack, body: dict[str, Any], field: str) -> None:
    await stack.project()
    url = "/v1/projects/P-web/tasks"
    problem = await refuses(stack, 422, "invalid_input", "POST", url, json=body)
    assert [e["field"] for e in problem["errors"]] == [field]
    assert "x" * 100 not in str(problem)


@pytest.mark.parametrize("position", ["", "-1", "1.5", "x", "9" * 30])
async def test_a_position_that_is_none_of_ours_is_refused(stack: Stack, position: str) -> None:
    headers = {"X-PM-Position": position}
    await refuses(stack, 422, "invalid_input", "GET", "/v1/status", headers=headers)


@pytest.mark.parametrize(
    "query", ["state=lost", "limit=0", "limit=101", "cursor=x", "page=2", "limit=ten"]
)
async def test_an_invalid_query_is_refused(stack: Stack, query: str) -> None:
    await refuses(stack, 422, "invalid_input", "GET", f"/v1/tasks?{query}")


async def test_a_usage_below_zero_is_refused(stack: Stack, working: dict[str, Any]) -> None:
    path = f"/v1/tasks/{working['task']}/progress"
    for usage in ({"tokens": -1}, {"cost_usd": -0.1}, {"cost_usd": 1e300}, {"euros": 1}):
        body = {**working["lease"], "percent": 1, "usage": usage}
        await refuses(stack, 422, "invalid_input", "POST", path, working["adas"], json=body)


async def test_a_body_that_contradicts_its_address_is_refused(
    stack: Stack, working: dict[str, Any]
) -> None:
    path = f"/v1/tasks/{working['task']}/progress"
    body = {**working["lease"], "percent": 1, "task_id": "T-2"}
    await refuses(stack, 422, "invalid_input", "POST", path, working["adas"], json=body)


async def test_an_oversized_body_is_refused(stack: Stack) -> None:
    await stack.project()
    url = "/v1/projects/P-web/tasks"
    large = b'{"title": "' + b"x" * (4 * 1024 * 1024) + b'"}'
    await refuses(stack, 413, "too_large", "POST", url, content=large)

    async def pieces() -> Any:  # no Content-Length: the size shows while it is read
        for _ in range(5):
            yield b"x" * (1024 * 1024)

    await refuses(stack, 413, "too_large", "POST", url, content=pieces())
    url = "/v1/projects/P-web/import"
    problem = await refuses(stack, 400, "malformed_json", "POST", url, content=large[:-2])
    assert problem["detail"].startswith("The body is not JSON")
    headers = {"Content-Length": str(33 * 1024 * 1024)}
    await refuses(stack, 413, "too_large", "POST", url, content=b"[]", headers=headers)


async def test_a_bad_line_of_an_import_is_named(stack: Stack) -> None:
    await stack.project()
    headers = {"Content-Type": "application/x-ndjson"}
    body = b'{"title": "a"}\n\n{"title": \n'
    url = "/v1/projects/P-web/import"
    problem = await refuses(
        stack, 400, "malformed_json", "POST", url, content=body, headers=headers
    )
    assert problem["detail"].startswith("Line 3")
    body = b'{"title": "a"}\n{"title": 5}\n'
    problem = await refuses(stack, 422, "invalid_input", "POST", url, content=body, headers=headers)
    assert problem["errors"][0]["field"] == "tasks.1.title"


async def test_a_request_id_stands_for_one_body(stack: Stack) -> None:
    await stack.project()
    url = "/v1/projects/P-web/tasks"
    first = await stack.ok("POST", url, json={"title": "a", "request_id": "r-1"})
    position = stack.position
    headers = {"Idempotency-Key": "r-1"}
    again = await stack.ok("POST", url, json={"title": "a"}, headers=headers)
    assert again["task_id"] == first["task_id"]
    assert stack.position == position
    body = {"title": "b", "request_id": "r-1"}
    await refuses(stack, 409, "request_id_reused", "POST", url, json=body)
    body = {"title": "a", "request_id": "r-2"}
    await refuses(stack, 422, "invalid_input", "POST", url, json=body, headers=headers)


@pytest.mark.parametrize("token", ["", "wrong", "pma_wrong"])
async def test_without_a_valid_token_nothing_is_told(stack: Stack, token: str) -> None:
    before = stack.position
    for method, path in (
        ("GET", "/v1/status"),
        ("POST", "/v1/agents"),
        ("GET", "/v1/tasks/T-99/context"),
        ("DELETE", "/v1/tokens/x"),
    ):
        response = await stack.call(method, path, token)
        problem_in(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert stack.position == before


FOR_LEADS: list[tuple[str, str, Any]] = [
    ("PATCH", "/v1/tasks/T-1", {"title": "x"}),
    ("POST", "/v1/tasks/T-1/cancel", {}),
    ("POST", "/v1/tasks/T-1/reopen", {"reason": "x"}),
    ("POST", "/v1/tasks/T-1/approve", {}),
    ("POST", "/v1/tasks/T-1/reject", {"reasons": ["x"]}),
    ("POST", "/v1/projects", {"name": "x"}),
    ("PATCH", "/v1/projects/P-web", {"token_cap": 5}),
    ("POST", "/v1/projects/P-web/import", [{"title": "x"}]),
    ("POST", "/v1/holds", {"scope": "workspace"}),
    ("POST", "/v1/holds/lift", {"scope": "workspace"}),
]
FOR_ADMINS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/tokens", {"owner": {"kind": "person", "id": "eve", "role": "admin"}}),
    ("DELETE", f"/v1/tokens/{'0' * 64}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOR_LEADS + FOR_ADMINS)
async def test_a_worker_cannot_plan_or_manage_tokens(
    stack: Stack, working: dict[str, Any], method: str, path: str, body: Any
) -> None:
    problem = await refuses(stack, 403, "forbidden", method, path, working["adas"], json=body)
    assert "worker" in problem["detail"]


@pytest.mark.parametrize(("method", "path", "body"), FOR_ADMINS)
async def test_a_lead_cannot_manage_tokens(stack: Stack, method: str, path: str, body: Any) -> None:
    await refuses(stack, 403, "forbidden", method, path, LEAD, json=body)


async def test_an_agent_cannot_choose_a_program_that_the_server_runs(stack: Stack) -> None:
    await stack.project()
    owner = {"kind": "agent", "id": "Max", "role": "lead"}
    token = (await stack.ok("POST", "/v1/tokens", json={"owner": owner}))["token"]
    gate = {"argv": ["rm", "-r", "/tmp/x"]}  # noqa: S108 - it must never run
    body = {"name": "New", "completion": "command", "gate": gate}
    await refuses(stack, 403, "forbidden", "POST", "/v1/projects", token, json=body)
    path = "/v1/projects/P-web"
    await refuses(stack, 403, "forbidden", "PATCH", path, token, json={"gate": gate})
    await stack.ok("PATCH", path, token, json={"max_in_progress": 3})


async def test_a_task_in_the_wrong_state_is_refused(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task()
    path = f"/v1/tasks/{task_id}"
    await refuses(stack, 409, "wrong_state", "POST", f"{path}/approve", json={})
    body: Any = {"reasons": ["x"]}
    await refuses(stack, 409, "wrong_state", "POST", f"{path}/reject", json=body)
    await refuses(stack, 409, "wrong_state", "POST", f"{path}/reopen", json={"reason": "x"})
    await refuses(stack, 409, "not_assigned", "GET", f"{path}/explanation")
    await stack.ok("POST", f"{path}/cancel", json={})
    await refuses(stack, 409, "wrong_state", "PATCH", path, json={"title": "x"})


async def test_an_unknown_address_is_refused(stack: Stack) -> None:
    for path in ("/", "/v2/tasks", "/v1/nothing", "/v1/tasks/T-1/nothing", "/v1/tasks/"):
        await refuses(stack, 404, "unknown_route", "GET", path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/projects", {"GET", "POST"}),
        ("PUT", "/v1/projects/P-web", {"GET", "PATCH"}),
        ("GET", "/v1/holds", {"POST"}),
        ("POST", "/v1/status", {"GET"}),
        ("GET", "/v1/agents/A-ada/wait", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    stack: Stack, method: str, path: str, allowed: set[str]
) -> None:
    response = await stack.call(method, path)
    problem_in(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed
