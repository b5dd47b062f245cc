"""A server that another one replaces: not ready first, then finished, then silent."""

import asyncio

import pytest

from pm_agent.kernel import snapshot as snapshots
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.runtime.jobs import Jobs
from tests.api.conftest import ADMIN, LEAD, Stack, build_engine


async def test_a_server_is_not_ready_before_it_has_handed_over(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task()
    ada, adas = await stack.agent("Ada")
    bob, bobs = await stack.agent("Bob")
    claimed = await stack.claim(ada, adas)
    waiting = asyncio.create_task(stack.ok("POST", f"/v1/agents/{bob}/wait", bobs))
    await stack.until(lambda: stack.ingress.waiters.n_parked)
    handing = asyncio.create_task(stack.ok("POST", "/v1/handover", json={"drain_s": 1}))
    await stack.until(lambda: stack.ingress.leaving == "draining")
    ready = await stack.call("GET", "/readyz", token="")
    assert ready.status_code == 503
    assert "hands" in ready.json()["reason"]
    ended = await waiting
    assert ended["outcome"] == "waiting"
    assert ended["retry_after_s"] >= 1
    refused = await stack.call("POST", f"/v1/agents/{bob}/next-task", bobs)
    assert refused.status_code == 503
    assert refused.json()["code"] == "handing_over"
    assert int(refused.headers["retry-after"]) >= 1
    mine = {"lease_token": claimed["lease_token"], "summary": "Done in time."}
    await stack.ok("POST", f"/v1/tasks/{task_id}/complete", adas, json=mine)
    done = await handing
    assert done["position"] == stack.position
    assert (await stack.call("GET", "/readyz", token="")).status_code == 503


async def test_after_a_handover_a_server_reads_on_and_a_new_one_writes(stack: Stack) -> None:
    await stack.project()
    handed = await stack.ok("POST", "/v1/handover", json={"drain_s": 0})
    again = await stack.ok("POST", "/v1/handover", json={"drain_s": 0})
    assert again["position"] == handed["position"]
    body = {"title": "Late", "request_id": "r-1"}
    refused = await stack.call("POST", "/v1/projects/P-web/tasks", json=body)
    assert refused.json()["code"] == "handing_over"
    await stack.ok("GET", "/v1/projects/P-web")

    successor = CoordinatorLoop(stack.loop._journal, build_engine, SystemClock())
    await successor.start()
    saved = await stack.loop._journal.load_snapshot(snapshots.SCHEMA_VERSION)
    assert saved is not None
    assert saved.position == handed["position"]  # nothing to replay
    health = await successor.health()
    assert health.is_writable
    assert health.epoch == handed["epoch"] + 1
    await successor.stop()


@pytest.mark.parametrize("token", [LEAD, ""])
async def test_only_an_administrator_hands_over(stack: Stack, token: str) -> None:
    refused = await stack.call("POST", "/v1/handover", token, json={"drain_s": 0})
    assert refused.status_code in (401, 403)
    assert stack.ingress.leaving == ""
    assert (await stack.call("GET", "/readyz", ADMIN)).status_code == 200


async def test_a_handover_that_goes_on_by_itself_can_be_asked_after_elsewhere(stack: Stack) -> None:
    begun = await stack.call(
        "POST", "/v1/handover", json={"drain_s": 0}, headers={"Prefer": "respond-async"}
    )
    where = begun.headers["location"]
    (job,) = stack.ingress.jobs._jobs.values()
    await job
    stack.ingress.jobs = Jobs()  # as another replica has
    told = await stack.ok("GET", where)
    assert (told["state"], told["result"]["position"]) == ("done", stack.position)
