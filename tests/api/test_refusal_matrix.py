"""Every operation, asked by everybody who must not: the right refusal, and nothing changes.

The table of operations is walked, so that a new row is in the matrix by itself.
"""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pm_agent.api.openapi import path_fields
from pm_agent.api.operations import OPERATIONS, Operation
from pm_agent.domain.access import ROLE_SCOPES
from pm_agent.domain.time import SECOND_US
from tests.api.conftest import ADMIN, LEAD, Stack, running
from tests.api.rest_server import GENEROUS
from tests.api.test_refusals import problem_in

# What stands in paths and bodies: things that exist, of a project that the limited key is not for.
IDS = {
    "task_id": "T-1",
    "project_id": "P-web",
    "agent_id": "A-ada",
    "blocker_id": "B-1",
    "key_id": "0" * 12,
    "operation_id": "0" * 32,
    "sha256": "0" * 64,
}
FIELDS: dict[str, Any] = {
    "lease_token": 1, "percent": 5, "summary": "x", "description": "x", "resolution": "x",
    "decision": "x", "name": "x", "uri": "x", "title": "x", "reason": "released", "reasons": ["x"],
    "scope": "project", "target_id": "P-web", "tasks": [{"title": "x"}],
    "owner": {"kind": "agent", "id": "eve"}, "need": "x", "text": "x", "body": "x",
    "message_ids": ["M-1"], "answer": "x", "accept": True, "worked": True,
    "to": "A-ada", "request_ids": ["x"],
}  # fmt: skip
# About nothing of a project: a limited key may call these, and they show it no more.
FOR_ALL = {o.name for o in OPERATIONS if o.is_for_all_projects}


def request_of(operation: Operation) -> tuple[str, dict[str, Any]]:
    """Address and body of a call that would be well formed."""
    given: dict[str, Any] = {}
    for name, field in operation.input.model_fields.items():
        if name in IDS or name in path_fields(operation):
            given[name] = IDS.get(name, FIELDS.get(name, "X-1"))
        elif field.is_required() or name == "lease_token":
            given[name] = FIELDS.get(name, "x")
    if operation.name == "register_agent":
        given["name"] = "Ada"
    if "reason" in given and "reason" in operation.input.model_fields:
        given["reason"] = FIELDS["reason"]
    path = operation.path
    for name in path_fields(operation):
        path = path.replace("{" + name + "}", str(given.pop(name)))
    return path, given


async def refused(
    stack: Stack, operation: Operation, token: str, status: int, codes: set[str]
) -> None:
    path, given = request_of(operation)
    before = stack.position, stack.fingerprint
    more = {"params": given} if operation.method in ("GET", "DELETE") else {"json": given}
    response = await stack.call(operation.method, path, token, **more)
    assert response.status_code == status, (operation.name, response.text)
    code = response.json()["code"]
    assert code in codes, (operation.name, response.text)
    problem_in(response, status, code)
    assert (stack.position, stack.fingerprint) == before, operation.name


class World:
    """A stack in which Ada holds a task of P-web, and the credentials of those who must not."""

    def __init__(self, stack: Stack, tokens: dict[str, str]) -> None:
        self.stack = stack
        self.tokens = tokens


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(mcp=False, limits=GENEROUS) as stack:
        for name in ("Web", "Other"):
            await stack.project(name)
        task_id = await stack.task()
        agent_id, adas = await stack.agent("Ada")
        _, bobs = await stack.agent("Bob")
        claimed = await stack.claim(agent_id, adas)
        lease = {"lease_token": claimed["lease_token"], "description": "stuck"}
        await stack.ok("POST", f"/v1/tasks/{task_id}/blockers", adas, json=lease)
        owner = {"kind": "person", "id": "eve", "role": "admin"}
        body = {"owner": owner, "project_ids": ["P-other"]}
        elsewhere = (await stack.ok("POST", "/v1/keys", json=body))["key"]
        good = {"ada": adas, "bob": bobs, "elsewhere": elsewhere}
        yield World(stack, good | await forged(stack))


async def forged(stack: Stack) -> dict[str, str]:
    """Tokens that look right and are not."""
    tokens = stack.ingress.credentials.tokens
    good = (await stack.ok("POST", "/v1/token", LEAD, json={}))["access_token"]
    now_s = stack.ingress.now_us() // SECOND_US
    _, payload, signature = good.split(".")
    none = encoded(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    kid = jwt.get_unverified_header(good)["kid"]
    claims = jwt.decode(good, options={"verify_signature": False})
    public = json.dumps(tokens.jwks(now_s)["keys"][0])
    mine = {name: claims[name] for name in ("sub", "role", "scope", "parent")}
    return {
        "expired": tokens.issue(mine, now_s - 1_000, 900),
        "wrong audience": tokens.issue({**mine, "aud": "https://elsewhere.example"}, now_s),
        "wrong issuer": tokens.issue({**mine, "iss": "https://elsewhere.example"}, now_s),
        "alg none": f"{none}.{payload}.",
        "alg none, signed": f"{none}.{payload}.{signature}",
        "alg HS256": with_hs256(kid, payload, public),
        "another key": jwt.encode(
            claims, Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": kid}
        ),
        "no key": jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA"),
        "changed": f"{good.split('.')[0]}.{payload[:-2]}AA.{signature}",
    }


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def with_hs256(kid: str, payload: str, public: str) -> str:
    """Sign with what everybody knows as if it were a shared secret; PyJWT refuses to do that."""
    signed = f"{encoded(json.dumps({'alg': 'HS256', 'kid': kid}).encode())}.{payload}"
    return f"{signed}.{encoded(hmac.digest(public.encode(), signed.encode(), 'sha256'))}"


async def test_without_a_valid_credential_no_operation_does_anything(world: World) -> None:
    known = ("ada", "bob", "elsewhere")
    strangers = [token for name, token in world.tokens.items() if name not in known]
    for operation in OPERATIONS:
        for token in ("", "pma_wrong", "pmk_aaaaaaaaaaaa_wrong", *strangers):
            await refused(world.stack, operation, token, 401, {"unauthenticated"})


async def test_no_operation_is_open_to_a_role_without_its_scope(world: World) -> None:
    closed = [o for o in OPERATIONS if o.scope not in ROLE_SCOPES["worker"]]
    assert {"create_project", "place_hold", "issue_key", "hand_over"} <= {o.name for o in closed}
    for operation in closed:
        await refused(world.stack, operation, world.tokens["bob"], 403, {"forbidden"})


async def test_no_operation_reaches_another_project_than_the_keys_own(world: World) -> None:
    tried = [o for o in OPERATIONS if o.name not in FOR_ALL]
    for operation in tried:
        await refused(world.stack, operation, world.tokens["elsewhere"], 403, {"other_project"})


async def test_no_write_about_a_task_is_open_to_another_agent(world: World) -> None:
    writes = [
        o for o in OPERATIONS
        if not o.read_only and o.scope in ROLE_SCOPES["worker"] and "task_id" in path_fields(o)
    ]  # fmt: skip
    assert len(writes) >= 6
    for operation in writes:
        codes = {"not_assignee", "forbidden"}
        await refused(world.stack, operation, world.tokens["bob"], 403, codes)


async def test_a_field_that_an_operation_does_not_know_is_refused_by_its_name(
    world: World,
) -> None:
    for operation in OPERATIONS:
        path, given = request_of(operation)
        before = world.stack.position, world.stack.fingerprint
        more = {"params" if operation.method in ("GET", "DELETE") else "json": given | {"titel": 1}}
        response = await world.stack.call(operation.method, path, ADMIN, **more)
        problem = problem_in(response, 422, "invalid_input")
        assert "titel" in [error["field"] for error in problem["errors"]], operation.name
        assert (world.stack.position, world.stack.fingerprint) == before, operation.name


async def test_true_is_no_number_in_any_body(world: World) -> None:
    tried = 0
    for operation in OPERATIONS:
        path, given = request_of(operation)
        for name in operation.input.model_fields:
            if {"integer", "number"} & types_of(operation, name) and operation.method != "GET":
                tried += 1
                response = await world.stack.call(
                    operation.method, path, ADMIN, json=given | {name: True}
                )
                problem = problem_in(response, 422, "invalid_input")
                assert [error["field"] for error in problem["errors"]] == [name], operation.name
    assert tried > 20


def types_of(operation: Operation, name: str) -> set[str]:
    """Types that the schema of a field names."""
    found = operation.input.model_json_schema()["properties"][name]
    return {one.get("type", "") for one in (found, *found.get("anyOf", ()))}


async def test_no_operation_does_anything_with_a_lease_token_of_before(world: World) -> None:
    stack, ada, bob = world.stack, world.tokens["ada"], world.tokens["bob"]
    given = {"lease_token": 1, "to": "A-bob", "note": "half done"}
    offered = await stack.ok("POST", "/v1/tasks/T-1/handoff", ada, json=given)
    path = f"/v1/handoffs/{offered['handoff_id']}/respond"
    taken = await stack.ok("POST", path, bob, json={"accept": True})
    assert taken["lease_token"] == 2
    fenced = [o for o in OPERATIONS if "lease_token" in o.input.model_fields]
    assert len(fenced) >= 11
    for operation in fenced:
        if operation.scope in ROLE_SCOPES["worker"]:
            for token in (ada, ADMIN):
                await refused(stack, operation, token, 409, {"stale_lease"})
        else:  # a person's verdict: nothing was handed in under that lease
            await refused(stack, operation, LEAD, 409, {"wrong_state"})


async def test_a_limited_key_does_its_own_projects_work(world: World) -> None:
    stack, token = world.stack, world.tokens["elsewhere"]
    made = await stack.ok("POST", "/v1/projects/P-other/tasks", token, json={"title": "Mine"})
    await stack.ok("GET", f"/v1/tasks/{made['task_id']}/context", token)
    found = await stack.ok("GET", "/v1/tasks", token, params={"project_id": "P-other"})
    assert [one["task_id"] for one in found["tasks"]] == [made["task_id"]]
    listed = await stack.ok("GET", "/v1/projects", token)
    assert [one["project_id"] for one in listed["projects"]] == ["P-other"]
    body = {"title": "Spy", "dependencies": ["T-1"]}
    response = await stack.call("POST", "/v1/projects/P-other/tasks", token, json=body)
    problem_in(response, 403, "other_project")
