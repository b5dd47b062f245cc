"""What REST promises beside the operations: versions, pages, limits, and slow work."""

import asyncio
from typing import Any

import pytest

from pm_agent.api.handlers.slow import LONGEST_US, Begun
from pm_agent.domain.errors import Unavailable
from pm_agent.runtime.admission import Limits
from pm_agent.runtime.jobs import Jobs
from tests.api.conftest import ADMIN, LEAD, Stack, running
from tests.api.test_refusals import problem_in, refuses

IMPORT = "/v1/projects/P-web/import"


async def test_a_change_says_its_version_where_that_is_asked_for() -> None:
    async with running(require_if_match=True, mcp=False) as stack:
        await stack.project()
        path = f"/v1/tasks/{await stack.task()}"
        await refuses(stack, 428, "precondition_required", "PATCH", path, LEAD, json={"title": "B"})
        tag = (await stack.call("GET", f"{path}/context", LEAD)).headers["etag"]
        headers = {"If-Match": tag}
        await stack.ok("PATCH", path, LEAD, json={"title": "B"}, headers=headers)
        await refuses(
            stack, 412, "version_mismatch", "PATCH", path, LEAD, json={"title": "C"},
            headers=headers,
        )  # fmt: skip
        await stack.ok("PATCH", path, LEAD, json={"title": "C"}, headers={"If-Match": "*"})
        version = (await stack.ok("GET", f"{path}/context", LEAD))["version"]
        body = {"title": "D", "expected_version": version}
        await stack.ok("PATCH", path, LEAD, json=body)
        project = {"max_in_progress": 3}
        await refuses(
            stack, 428, "precondition_required", "PATCH", "/v1/projects/P-web", LEAD, json=project
        )


@pytest.mark.parametrize("tag", ["", "abc", '"1', '""1""', "-1", "9" * 16])
async def test_what_is_no_etag_of_ours_is_no_condition(stack: Stack, tag: str) -> None:
    await stack.project()
    headers = {"If-Match": tag}
    body = {"token_cap": 9}
    path = "/v1/projects/P-web"
    if tag == '"1':  # a quote that is missing is forgiven, as the pattern of the document says
        await refuses(
            stack, 412, "version_mismatch", "PATCH", path, LEAD, json=body, headers=headers
        )
    else:
        await refuses(stack, 422, "invalid_input", "PATCH", path, LEAD, json=body, headers=headers)


async def test_a_projects_settings_have_a_version(stack: Stack) -> None:
    project_id = await stack.project()
    path = f"/v1/projects/{project_id}"
    read = await stack.call("GET", path, LEAD)
    tag = read.headers["etag"]
    assert tag == f'"{read.json()["version"]}"'
    changed = await stack.call(
        "PATCH", path, LEAD, json={"token_cap": 9}, headers={"If-Match": tag}
    )
    assert changed.headers["etag"] == f'"{changed.json()["version"]}"' != tag
    await refuses(
        stack, 412, "version_mismatch", "PATCH", path, LEAD, json={"token_cap": 7},
        headers={"If-Match": tag},
    )  # fmt: skip
    await stack.ok("PATCH", path, LEAD, json={"retry_after_s": 7})  # a hint, and no setting
    assert (await stack.call("GET", path, LEAD)).headers["etag"] == changed.headers["etag"]
    undone = {"token_cap": 0, "expected_version": changed.json()["version"]}
    await stack.ok("PATCH", path, LEAD, json=undone)
    assert (await stack.call("GET", path, LEAD)).headers["etag"] == tag


async def test_pages_follow_each_other_without_gaps(stack: Stack) -> None:
    await stack.project()
    made = {await stack.task(title=f"task {n}") for n in range(7)}
    seen: list[str] = []
    cursor = ""
    while True:
        query = {"project_id": "P-web", "limit": 3, "cursor": cursor}
        page = await stack.ok("GET", "/v1/tasks", params=query)
        seen += [one["task_id"] for one in page["tasks"]]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
        assert "T-" not in cursor
    assert len(seen) == len(set(seen)) == 7
    assert set(seen) == made


async def test_a_cursor_is_good_for_its_question_alone(stack: Stack) -> None:
    await stack.project()
    for _ in range(3):
        await stack.task()
    page = await stack.ok("GET", "/v1/tasks", params={"project_id": "P-web", "limit": 1})
    cursor = page["next_cursor"]
    await stack.ok("GET", "/v1/tasks", params={"project_id": "P-web", "limit": 9, "cursor": cursor})
    changed = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    for query in (
        {"limit": 1, "cursor": cursor},
        {"project_id": "P-web", "state": "open", "cursor": cursor},
        {"project_id": "P-web", "cursor": changed},
        {"project_id": "P-web", "cursor": cursor[:-1]},
        {"project_id": "P-web", "cursor": "!"},
    ):
        await refuses(stack, 422, "invalid_input", "GET", "/v1/tasks", params=query)
    await refuses(stack, 422, "invalid_input", "GET", "/v1/agents", params={"cursor": cursor})


async def test_every_answer_says_how_many_requests_are_left() -> None:
    limits = Limits(requests_per_s=0.01, requests_burst=3)
    async with running(limits=limits, mcp=False) as stack:
        left = []
        for _ in range(3):
            answer = await stack.call("GET", "/v1/projects", LEAD)
            left.append(answer.headers["ratelimit"])
            assert answer.headers["ratelimit-policy"] == '"requests";q=3;w=300'
        assert [one.split(";")[1] for one in left] == ["r=2", "r=1", "r=0"]
        refused = await stack.call("GET", "/v1/projects", LEAD)
        problem_in(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
        await stack.ok("GET", "/v1/projects", ADMIN)


async def slowly(
    stack: Stack, body: list[dict[str, Any]], **headers: str
) -> tuple[str, dict[str, Any]]:
    """Import without waiting; where to ask for the answer, and the answer when it has come."""
    wanted = {"Prefer": "respond-async", **headers}
    while True:
        begun = await stack.call("POST", IMPORT, LEAD, json=body, headers=wanted)
        assert begun.status_code == 202, begun.text
        assert begun.json()["state"] == "running"
        where = begun.headers["location"]
        async with asyncio.timeout(5):
            while (answer := await stack.ok("GET", where, LEAD))["state"] == "running":  # noqa: ASYNC110 - asked for over HTTP, which has no event
                await asyncio.sleep(0.001)
        # Whose append ended in doubt asks again, as with any other request.
        if answer.get("problem", {}).get("status") != 503:
            return where, answer


async def test_slow_work_goes_on_by_itself_and_is_asked_after(stack: Stack) -> None:
    await stack.project()
    key = {"Idempotency-Key": "import-1"}
    body = [{"title": f"task {n}"} for n in range(50)]
    where, answer = await slowly(stack, body, **key)
    assert answer["result"]["created"] == 50
    await refuses(stack, 404, "not_found", "GET", where, ADMIN)
    again = await stack.ok("POST", IMPORT, LEAD, json=body, headers=key)
    assert again["task_ids"] == answer["result"]["task_ids"]


async def test_slow_work_that_fails_says_why(stack: Stack) -> None:
    await stack.project()
    _, answer = await slowly(stack, [{"title": "a", "dependencies": ["nothing"]}])
    assert (answer["state"], answer["problem"]["code"]) == ("failed", "unknown_dependency")


async def test_slow_work_is_asked_after_at_a_replica_that_did_not_begin_it(stack: Stack) -> None:
    await stack.project()
    good, _ = await slowly(stack, [{"title": "a"}, {"title": "b"}])
    bad, _ = await slowly(stack, [{"title": "c", "dependencies": ["nothing"]}])
    stack.ingress.jobs = Jobs()  # as another replica has, or this one after it was ended
    done = await stack.ok("GET", good, LEAD)
    assert (done["state"], done["result"]["created"]) == ("done", 2)
    failed = await stack.ok("GET", bad, LEAD)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "unknown_dependency")
    await refuses(stack, 404, "not_found", "GET", good, ADMIN)
    await refuses(stack, 404, "not_found", "GET", "/v1/operations/abc", LEAD)


async def test_whether_slow_work_ended_is_not_guessed_while_the_coordinator_is_away(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stack.project()
    where, _ = await slowly(stack, [{"title": "a"}])
    stack.ingress.jobs = Jobs()

    async def away(*_: str) -> None:
        raise Unavailable

    with monkeypatch.context() as apart:
        apart.setattr(stack.loop, "reply_to", away)
        await refuses(stack, 503, "unavailable", "GET", where, LEAD)
    assert (await stack.ok("GET", where, LEAD))["state"] == "done"


async def test_slow_work_whose_replica_ended_before_it_runs_until_it_is_given_up(
    stack: Stack,
) -> None:
    now_us = stack.ingress.now_us()

    async def state(begun_us: int) -> Any:
        begun = Begun("import_tasks", "never-sent", "person:lena", begun_us, 1)
        return await stack.ok("GET", f"/v1/operations/{begun.id}", LEAD)

    assert (await state(now_us))["state"] == "running"
    lost = await state(now_us - LONGEST_US)
    assert (lost["state"], lost["problem"]["code"]) == ("failed", "unavailable")
    assert "same request id" in lost["problem"]["next_step"]


@pytest.mark.parametrize("body", [b"[" * 40 + b"]" * 40, b'{"a":' * 40 + b"1" + b"}" * 40])
async def test_a_deeply_nested_body_is_refused(stack: Stack, body: bytes) -> None:
    await stack.project()
    path = "/v1/projects/P-web/tasks"
    problem = await refuses(stack, 400, "malformed_json", "POST", path, content=body)
    assert "levels deep" in problem["detail"]
