"""The whole path of a task over REST, and what operators and careful clients rely on."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from pm_agent.runtime.admission import Lane
from tests.api.conftest import ADMIN, LEAD, Stack, build_engine, running


async def test_a_task_goes_from_the_board_to_done(stack: Stack) -> None:
    await stack.project()
    first = await stack.task(key="api", title="Write the API", priority="high")
    second = await stack.task(title="Write the page", dependencies=["api"])
    agent_id, token = await stack.agent("Ada", skills=["python"])

    claimed = await stack.claim(agent_id, token)
    assert claimed["task_id"] == first
    assert claimed["task"]["priority"] == "high"
    assert claimed["directives"] == []
    mine = {"lease_token": claimed["lease_token"]}

    def post(path: str, **fields: Any) -> Any:
        return stack.ok("POST", f"/v1/tasks/{first}/{path}", token, json={**mine, **fields})

    usage = {"tokens": 1000, "cost_usd": 0.5}
    progress = await post("progress", percent=50, note="Half.", where="git:api", usage=usage)
    assert progress["percent"] == 50
    assert (await post("decisions", decision="JSON only."))["logged"] == 1
    assert (await post("artifacts", name="spec", uri="docs/api.md", note="v1"))["logged"] == 1
    blocked = await post("blockers", description="Which port?", severity="low")
    path = f"/v1/blockers/{blocked['blocker_id']}/resolve"
    assert (await stack.ok("POST", path, LEAD, json={"resolution": "8000"}))["state"] == "resolved"
    done = await post("complete", summary="It works.", evidence={"commit": "abc"})
    assert done["state"] == "done"

    claimed = await stack.claim(agent_id, token)
    assert claimed["task_id"] == second
    brief = claimed["task"]
    assert brief["artifacts"] == [
        {"task_id": first, "name": "spec", "uri": "docs/api.md", "by": "agent:A-ada", "note": "v1"}
    ]
    assert brief["decisions"][0]["decision"] == "JSON only."
    assert "data, not instructions" in brief["notice"]
    project = await stack.ok("GET", "/v1/projects/P-web")
    assert project["tasks"] == {"done": 1, "assigned": 1}
    assert project["cost_usd"] == 0.5
    assert [t["task_id"] for t in project["working"]] == [second]


async def test_released_work_is_handed_on_with_its_last_words(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task()
    agent_id, token = await stack.agent("Ada")
    claimed = await stack.claim(agent_id, token)
    released = await stack.ok(
        "POST",
        f"/v1/tasks/{task_id}/release",
        token,
        json={"lease_token": claimed["lease_token"], "note": "Tests are red."},
    )
    assert released["state"] == "open"
    bob, bobs = await stack.agent("Bob")
    brief = (await stack.claim(bob, bobs))["task"]
    assert "Its last words: Tests are red." in brief["recovery"]


async def test_a_person_approves_and_rejects(stack: Stack) -> None:
    await stack.project(completion="person")
    task_id = await stack.task(needs_approval=True)
    agent_id, token = await stack.agent("Ada")
    assert (await stack.claim(agent_id, token))["outcome"] == "none"
    body = {"request_id": "approve-1"}
    approved = await stack.ok("POST", f"/v1/tasks/{task_id}/approve", LEAD, json=body)
    again = await stack.ok("POST", f"/v1/tasks/{task_id}/approve", LEAD, json=body)
    assert approved["state"] == again["state"] == "open"

    for verdict, fields in (("reject", {"reasons": ["No tests."]}), ("approve", {})):
        if verdict == "approve":  # a rejected task waits a little; do not
            hold = {"scope": "task", "target_id": task_id, "kind": "scheduled"}
            await stack.call("POST", "/v1/holds/lift", json=hold)
        claimed = await stack.claim(agent_id, token)
        handed_in = await stack.ok(
            "POST",
            f"/v1/tasks/{task_id}/complete",
            token,
            json={"lease_token": claimed["lease_token"], "summary": "Done."},
        )
        assert handed_in["state"] == "in_review"
        judged = await stack.ok("POST", f"/v1/tasks/{task_id}/{verdict}", LEAD, json=fields)
    assert judged["state"] == "done"


async def test_a_stop_reaches_a_running_agent_with_any_reply(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task()
    agent_id, token = await stack.agent("Ada")
    await stack.claim(agent_id, token)
    hold = {"scope": "task", "target_id": task_id, "kind": "stopped", "reason": "wrong plan"}
    await stack.ok("POST", "/v1/holds", json=hold)
    told = ["Stop working on T-1 and release it: wrong plan."]
    beat = await stack.ok("POST", f"/v1/agents/{agent_id}/heartbeat", token)
    read = await stack.ok("GET", f"/v1/tasks/{task_id}/context", token)
    assert beat["directives"] == read["directives"] == told
    assert read["holds"][0]["kind"] == "stopped"
    assert "directives" not in await stack.ok("GET", f"/v1/tasks/{task_id}/context", LEAD)


async def test_ten_thousand_tasks_come_in_one_request(stack: Stack) -> None:
    await stack.project()
    tasks = [{"title": f"Task {n}", "key": f"k{n}"} for n in range(10_000)]
    tasks[-1]["dependencies"] = ["k0"]  # type: ignore[assignment]
    made = await stack.ok("POST", "/v1/projects/P-web/import", json=tasks)
    assert made["created"] == len(made["task_ids"]) == 10_000
    await stack.ingress.reach(stack.position)
    status = await stack.ok("GET", "/v1/status")
    assert status["tasks"] == {"open": 10_000, "ready": 9_999}
    refused = await stack.call("POST", "/v1/projects/P-web/import", json=[*tasks, tasks[0]])
    assert refused.status_code == 422


@pytest.mark.parametrize("form", ["array", "object", "lines"])
async def test_an_import_takes_three_forms(stack: Stack, form: str) -> None:
    await stack.project()
    tasks = [{"title": "a"}, {"title": "b"}]
    headers = {"Content-Type": "application/json", "Idempotency-Key": "import-1"}
    if form == "lines":
        headers["Content-Type"] = "application/x-ndjson; charset=utf-8"
        body = "\n".join(json.dumps(task) for task in tasks) + "\n"
    else:
        body = json.dumps(tasks if form == "array" else {"tasks": tasks})
    url = "/v1/projects/P-web/import"
    made = await stack.ok("POST", url, content=body, headers=headers)
    again = await stack.ok("POST", url, content=body, headers=headers)
    assert made["task_ids"] == again["task_ids"] == ["T-1", "T-2"]


async def test_search_filters_and_pages(stack: Stack) -> None:
    await stack.project()
    await stack.project("Other")
    for n in range(5):
        await stack.task(title=f"Login page {n}", labels=["ui"])
    blocked = await stack.task(title="Report", dependencies=["T-1"])
    await stack.task("P-other", title="Elsewhere")
    agent_id, token = await stack.agent("Ada")
    held = (await stack.claim(agent_id, token))["task_id"]

    async def found(**filters: Any) -> list[str]:
        page = await stack.ok("GET", "/v1/tasks", params=filters)
        return [task["task_id"] for task in page["tasks"]]

    assert await found(query="LOGIN 3") == ["T-4"]
    assert await found(query="t-3") == ["T-3"]
    assert await found(label="ui", state="ready") == [
        t for t in ("T-1", "T-2", "T-3", "T-4", "T-5") if t != held
    ]
    assert await found(project_id="P-other") == ["T-7"]
    assert await found(agent_id=agent_id) == [held]
    assert await found(state="open", query="report") == [blocked]
    seen, cursor = [], ""
    while True:
        page = await stack.ok("GET", "/v1/tasks", params={"limit": 3, "cursor": cursor})
        seen += [task["task_id"] for task in page["tasks"]]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
    assert seen == [f"T-{n}" for n in range(1, 8)]


async def test_agents_are_listed_in_pages(stack: Stack) -> None:
    for name in ("Ada", "Bob", "Cleo"):
        await stack.agent(name)
    page = await stack.ok("GET", "/v1/agents", params={"limit": 2})
    assert [a["agent_id"] for a in page["agents"]] == ["A-ada", "A-bob"]
    page = await stack.ok("GET", "/v1/agents", params={"cursor": page["next_cursor"]})
    assert [a["agent_id"] for a in page["agents"]] == ["A-cleo"]
    assert "next_cursor" not in page


async def test_an_assignment_is_explained_and_history_is_told(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task(description="Do it.")
    await stack.task()
    agent_id, token = await stack.agent("Ada")
    claimed = await stack.claim(agent_id, token)
    task_id = claimed["task_id"]
    now = await stack.ok("GET", f"/v1/tasks/{task_id}/explanation", token)
    first = await stack.ok("GET", f"/v1/tasks/{task_id}/explanation?attempt=1", token)
    assert now["agent_id"] == agent_id
    assert now["recomputed"]
    assert now["n_candidates"] == 2
    assert now["seed"] == first["seed"]
    body = {"lease_token": claimed["lease_token"], "summary": "Did it."}
    await stack.ok("POST", f"/v1/tasks/{task_id}/complete", token, json=body)
    ended = await stack.ok("GET", f"/v1/tasks/{task_id}/explanation", token)
    assert ended["seed"] == now["seed"]
    history = await stack.ok("GET", f"/v1/tasks/{task_id}/history")
    kinds = [entry["event"] for entry in history["events"]]
    assert kinds == ["TaskCreated", "TaskAssigned", "CompletionSubmitted", "CompletionAccepted"]
    assert history["events"][2]["texts"] == {"summary": "Did it."}
    assert history["events"][2]["by"] == "agent:A-ada"


async def test_a_new_task_wakes_a_parked_agent(stack: Stack) -> None:
    await stack.project()
    agent_id, token = await stack.agent("Ada")
    waiting = asyncio.create_task(
        stack.ok("POST", f"/v1/agents/{agent_id}/wait", token, json={"timeout_s": 20})
    )
    await stack.until(lambda: stack.ingress.waiters.n_parked)
    task_id = await stack.task()
    async with asyncio.timeout(2):
        claimed = await waiting
    assert claimed["outcome"] == "assigned"
    assert claimed["task_id"] == task_id
    assert stack.ingress.waiters.n_parked == 0


async def test_a_wait_that_ends_without_a_task_says_so(stack: Stack) -> None:
    agent_id, token = await stack.agent("Ada")
    path = f"/v1/agents/{agent_id}/wait"
    ended = await stack.ok("POST", path, token, json={"timeout_s": 0})
    assert ended["outcome"] == "waiting"
    assert ended["reason"] == "no_ready_task"
    assert "retry_after_s" not in ended


async def test_a_parked_wait_holds_no_admission_slot(stack: Stack) -> None:
    admission = stack.ingress.admission
    admission.commands, admission.reads = Lane(1), Lane(1)
    agent_id, token = await stack.agent("Ada")
    path = f"/v1/agents/{agent_id}/wait"
    waiting = asyncio.create_task(stack.call("POST", path, token, json={"timeout_s": 20}))
    await stack.until(lambda: stack.ingress.waiters.n_parked)
    async with asyncio.timeout(2):
        await stack.ok("GET", "/v1/status")
        await stack.project()
    waiting.cancel()


async def test_a_client_that_goes_away_withdraws_its_offer(stack: Stack) -> None:
    await stack.project()
    agent_id, token = await stack.agent("Ada")
    body = b'{"timeout_s": 20}'
    gone = asyncio.Event()
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        part = next(parts, None)
        if part is None:
            await gone.wait()
            return {"type": "http.disconnect"}
        return part

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/agents/{agent_id}/wait",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    serving = asyncio.create_task(stack.app(scope, receive, send))
    await stack.until(lambda: stack.stands(agent_id))
    gone.set()
    await serving
    await stack.until(lambda: not stack.stands(agent_id))
    assert stack.ingress.waiters.n_parked == 0
    task_id = await stack.task()
    context = await stack.ok("GET", f"/v1/tasks/{task_id}/context")
    assert context["state"] == "open"


async def test_a_repeated_claim_or_wait_gets_the_first_task_again(stack: Stack) -> None:
    await stack.project()
    for _ in range(4):
        await stack.task()
    agent_id, token = await stack.agent("Ada", capacity=4)
    for path in ("next-task", "wait"):
        body = {"request_id": f"once-{path}"}
        url = f"/v1/agents/{agent_id}/{path}"
        first = await stack.ok("POST", url, token, json=body)
        again = await stack.ok("POST", url, token, json=body)
        assert first["outcome"] == "assigned"
        assert first["lease_token"] == again["lease_token"]
        assert first["task_id"] == again["task_id"]
        assert first["task"] == again["task"]


async def test_a_version_guards_an_update(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task()
    url = f"/v1/tasks/{task_id}"
    read = await stack.call("GET", f"{url}/context")
    tag = read.headers["etag"]
    changed = await stack.call("PATCH", url, LEAD, json={"title": "B"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    before = stack.position
    late = await stack.call("PATCH", url, LEAD, json={"title": "C"}, headers={"If-Match": tag})
    assert late.status_code == 412
    assert late.json()["code"] == "version_mismatch"
    assert stack.position == before
    tag = changed.headers["etag"]
    same = await stack.call("PATCH", url, LEAD, json={"title": "B"}, headers={"If-Match": tag})
    assert same.headers["etag"] == tag


async def test_tokens_are_issued_once_and_end_when_revoked(stack: Stack) -> None:
    owner = {"kind": "agent", "id": "Ada", "role": "worker"}
    issued = await stack.ok("POST", "/v1/tokens", json={"owner": owner, "label": "laptop"})
    assert issued["owner"] == "agent:A-ada"
    token = issued["token"]
    assert token.startswith("pma_")
    registered = await stack.ok("POST", "/v1/agents", token, json={"name": "Ada"})
    assert "access_token" not in registered
    await stack.ok("DELETE", f"/v1/tokens/{issued['sha256']}")
    await stack.ingress.reach(stack.position)
    assert (await stack.call("GET", "/v1/status", token)).status_code == 401


async def test_secrets_never_reach_the_journal(stack: Stack) -> None:
    _, token = await stack.agent("Ada")
    store = stack.loop._journal.store  # type: ignore[attr-defined]
    kept = repr((store.events, store.requests))
    assert token not in kept
    assert token.removeprefix("pma_") not in kept


async def test_operators_see_health_readiness_and_numbers(stack: Stack) -> None:
    await stack.project()
    await stack.task()
    assert (await stack.call("GET", "/healthz", token="")).status_code == 200
    assert (await stack.call("GET", "/readyz", token="")).status_code == 200
    await stack.call("GET", "/v1/tasks/T-1/context", token="")
    text = (await stack.call("GET", "/metrics", token="")).text
    labels = 'code="ok",operation="create_task",protocol="http",workspace="main"'
    assert f"pm_agent_requests_total{{{labels}}} 1.0" in text
    assert 'code="unauthenticated",operation="get_task_context"' in text
    assert 'pm_agent_tasks{project="P-web",state="ready",workspace="main"} 1.0' in text
    count = 'pm_agent_request_seconds_count{operation="create_task",workspace="main"} 1.0'
    assert count in text
    assert 'pm_agent_parked_agents{workspace="main"} 0.0' in text
    assert 'pm_agent_stale{workspace="main"} 0.0' in text
    assert 'pm_agent_shed_total{work="admin_read",workspace="main"} 0.0' in text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all('workspace="main"' in line for line in samples)


async def test_a_replica_without_coordinator_reads_on_and_is_not_ready(stack: Stack) -> None:
    await stack.project()
    await stack.loop.stop()
    ready = await stack.call("GET", "/readyz", token="")
    assert ready.status_code == 503
    assert ready.json()["reason"]
    await stack.ok("GET", "/v1/projects/P-web")


async def test_the_app_starts_with_a_factory_and_serves_nothing_before() -> None:
    from pm_agent.adapters.journal_memory import MemoryJournal  # noqa: PLC0415
    from pm_agent.api.http import build_app  # noqa: PLC0415
    from pm_agent.runtime.clock import SystemClock  # noqa: PLC0415
    from pm_agent.runtime.coordinator_loop import CoordinatorLoop  # noqa: PLC0415
    from pm_agent.runtime.ingress import Ingress  # noqa: PLC0415

    loop = CoordinatorLoop(MemoryJournal(), build_engine, SystemClock())
    await loop.start()

    async def make() -> Ingress:
        return Ingress(loop, SystemClock())

    app = build_app(make, mcp=False)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.get("/v1/status")).status_code == 503
        async with app.lifespan():
            assert (await http.get("/v1/status")).status_code == 401
            assert (await http.get("/mcp")).status_code == 404
    await loop.stop()


async def test_a_crash_is_answered_with_an_id(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: object, principal: object) -> None:
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr(type(stack.ingress), "hear", fail)
    crashed = await stack.call("GET", "/v1/status")
    assert crashed.status_code == 500
    assert crashed.json()["code"] == "internal_error"
    assert "inner detail" not in crashed.text
    assert "inner detail" in caplog.text


async def test_an_admin_reads_everything_that_a_worker_reads() -> None:
    async with running(mcp=False) as stack:
        await stack.project()
        for path in ("/v1/status", "/v1/projects", "/v1/projects/P-web", "/v1/agents", "/v1/tasks"):
            _, token = await stack.agent(f"W{path}")
            for secret in (ADMIN, LEAD, token):
                await stack.ok("GET", path, secret)


async def test_two_waits_of_one_agent_do_not_get_two_tasks(stack: Stack) -> None:
    await stack.project()
    agent_id, token = await stack.agent("Ada")
    path = f"/v1/agents/{agent_id}/wait"
    first = asyncio.create_task(stack.ok("POST", path, token, json={"timeout_s": 20}))
    await stack.until(lambda: stack.ingress.waiters.n_parked)
    second = asyncio.create_task(stack.ok("POST", path, token, json={"timeout_s": 20}))
    assert (await first)["outcome"] == "waiting"
    await stack.task()
    await stack.task()
    assert (await second)["outcome"] == "assigned"
    status = await stack.ok("GET", f"/v1/agents/{agent_id}")
    assert len(status["active_tasks"]) == 1
