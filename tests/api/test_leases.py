"""Leases over the wire: what a silent agent's task looks like, and work that comes too late."""

import asyncio
from typing import Any

import pytest

from pm_agent.runtime.clock import SystemClock
from tests.api.conftest import ADMIN, LEAD, Stack

MINUTE_US = 60 * 1_000_000


class Hands:
    """Hands of the clock that all parts of the stack read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_us = 0
        real = SystemClock.now_us
        monkeypatch.setattr(SystemClock, "now_us", lambda clock: real(clock) + self.ahead_us)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


async def later(stack: Stack, hands: Hands, minutes: float) -> None:
    """Move the clock on, and let what is due by then happen."""
    hands.ahead_us += int(minutes * MINUTE_US)
    await stack.tick()


async def lease_states(stack: Stack, task_id: str, agent_id: str) -> dict[str, str]:
    context = await stack.ok("GET", f"/v1/tasks/{task_id}/context")
    agent = await stack.ok("GET", f"/v1/agents/{agent_id}")
    agents = await stack.ok("GET", "/v1/agents")
    tasks = await stack.ok("GET", "/v1/tasks")
    project = await stack.ok("GET", "/v1/projects/P-web")
    return {
        "get_task_context": context["assignment"]["lease_state"],
        "get_agent_status": agent["lease_state"],
        "its task": agent["tasks"][0]["lease_state"],
        "list_agents": agents["agents"][0]["lease_state"],
        "search_tasks": tasks["tasks"][0]["lease_state"],
        "get_project_status": project["working"][0]["lease_state"],
    }


@pytest.fixture
async def held(stack: Stack) -> tuple[str, str, dict[str, Any]]:
    """A-ada heartbeats and holds a task; returns her id, her token and the claim."""
    await stack.project()
    await stack.task()
    agent_id, token = await stack.agent("Ada", sends_heartbeats=True)
    return agent_id, token, await stack.claim(agent_id, token)


async def test_every_view_tells_the_state_of_a_lease(
    stack: Stack, hands: Hands, held: tuple[str, str, dict[str, Any]]
) -> None:
    agent_id, token, claim = held
    assert set((await lease_states(stack, claim["task_id"], agent_id)).values()) == {"live"}
    await later(stack, hands, 1.1)
    assert set((await lease_states(stack, claim["task_id"], agent_id)).values()) == {"quiet"}
    assert (await stack.ok("GET", "/v1/status"))["suspect"] == []
    await later(stack, hands, 1)
    assert set((await lease_states(stack, claim["task_id"], agent_id)).values()) == {"suspect"}
    assert (await stack.ok("GET", "/v1/status"))["suspect"] == [claim["task_id"]]
    history = await stack.ok("GET", f"/v1/tasks/{claim['task_id']}/history")
    assert [e["event"] for e in history["events"]].count("LeaseSuspected") == 1
    told = await stack.ok("POST", f"/v1/agents/{agent_id}/heartbeat", token)
    assert told["leases"][0]["lease_state"] == "live"
    assert set((await lease_states(stack, claim["task_id"], agent_id)).values()) == {"live"}
    assert (await stack.ok("GET", "/v1/status"))["suspect"] == []


async def test_finished_work_that_comes_late_is_taken_or_kept(
    stack: Stack, hands: Hands, held: tuple[str, str, dict[str, Any]]
) -> None:
    _, ada, claim = held
    task_id = claim["task_id"]
    await later(stack, hands, 2.1)
    await later(stack, hands, 2)  # lost
    await later(stack, hands, 6)  # no more waits before another attempt
    bob_id, bob = await stack.agent("Bob")
    taken = await stack.claim(bob_id, bob)
    assert (taken["task_id"], taken["lease_token"]) == (task_id, 2)

    late = {"lease_token": 1, "summary": "all done", "evidence": {"branch": "task/T-1/a1"}}
    for _ in range(2):
        refused = await stack.call("POST", f"/v1/tasks/{task_id}/complete", ada, json=late)
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (409, "stale_lease")
        assert "candidate" in problem["next_step"]
    context = await stack.ok("GET", f"/v1/tasks/{task_id}/context", bob)
    (candidate,) = context["candidates"]
    assert (candidate["branch"], candidate["summary"]) == ("task/T-1/a1", "all done")

    given_back = {"lease_token": 2, "reason": "released"}
    await stack.ok("POST", f"/v1/tasks/{task_id}/release", bob, json=given_back)
    done = await stack.ok("POST", f"/v1/tasks/{task_id}/complete", ada, json=late)
    again = await stack.ok("POST", f"/v1/tasks/{task_id}/complete", ada, json=late)
    assert done["state"] == again["state"] == "done"
    other = late | {"lease_token": 2}
    refused = await stack.call("POST", f"/v1/tasks/{task_id}/complete", bob, json=other)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_completed")


async def test_a_retry_of_a_refused_late_completion_under_the_same_id_is_refused_again(
    stack: Stack, hands: Hands, held: tuple[str, str, dict[str, Any]]
) -> None:
    _, ada, claim = held
    await later(stack, hands, 2.1)
    await later(stack, hands, 2)
    await later(stack, hands, 6)
    bob_id, bob = await stack.agent("Bob")
    await stack.claim(bob_id, bob)
    path = f"/v1/tasks/{claim['task_id']}/complete"
    late = {"lease_token": 1, "summary": "done", "request_id": "same-id-every-time"}
    for _ in range(2):
        refused = await stack.call("POST", path, ada, json=late)
        assert (refused.status_code, refused.json()["code"]) == (409, "stale_lease")


async def test_states_are_left_out_while_the_coordinator_is_away(
    stack: Stack,
    held: tuple[str, str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent_id, _, claim = held
    await stack.ingress.reach(stack.position)
    monkeypatch.setattr(stack.loop, "_engine", None)
    headers = {"Authorization": f"Bearer {ADMIN}"}
    shown = await stack.http.get(f"/v1/tasks/{claim['task_id']}/context", headers=headers)
    assert shown.status_code == 200
    assert shown.json()["assignment"]["agent_id"] == agent_id
    assert "lease_state" not in shown.json()["assignment"]
    monkeypatch.undo()


async def woken(stack: Stack) -> tuple[str, dict[str, Any]]:
    """A-ada waits on a parked connection until a task comes; returns her token and the claim."""
    await stack.project()
    ada, token = await stack.agent("Ada")
    waiting = asyncio.create_task(stack.ok("POST", f"/v1/agents/{ada}/wait", token, json={}))
    await stack.until(lambda: stack.stands(ada))
    await stack.task()
    return token, await waiting


async def test_a_waiter_that_died_with_its_reply_keeps_no_task(stack: Stack, hands: Hands) -> None:
    _, claimed = await woken(stack)
    assert claimed["confirm_by"] < claimed["lease_until"]
    await later(stack, hands, minutes=9)
    assert (await stack.ok("GET", "/v1/tasks/T-1/context"))["state"] == "assigned"
    await later(stack, hands, minutes=1.1)
    bob, bobs = await stack.agent("Bob")
    assert (await stack.claim(bob, bobs))["task_id"] == "T-1"
    context = await stack.ok("GET", "/v1/tasks/T-1/context")
    assert [attempt["outcome"] for attempt in context["attempts"]] == ["released"]


async def test_a_look_at_the_task_is_word_enough(stack: Stack, hands: Hands) -> None:
    token, claimed = await woken(stack)
    hands.ahead_us += MINUTE_US
    await stack.ok("GET", "/v1/tasks/T-1/context", token)
    await later(stack, hands, minutes=15)
    body = {"lease_token": claimed["lease_token"], "summary": "Done after long thought."}
    await stack.ok("POST", "/v1/tasks/T-1/complete", token, json=body)


async def test_a_lead_chooses_late_work_and_the_holder_is_stopped(
    stack: Stack, hands: Hands, held: tuple[str, str, dict[str, Any]]
) -> None:
    _, ada, claim = held
    path = f"/v1/tasks/{claim['task_id']}"
    for minutes in (2.1, 2, 6):  # suspect, lost, and no more waits before another attempt
        await later(stack, hands, minutes)
    bob_id, bob = await stack.agent("Bob")
    assert (await stack.claim(bob_id, bob))["lease_token"] == 2
    late = {"lease_token": 1, "summary": "all done"}
    assert (await stack.call("POST", f"{path}/complete", ada, json=late)).status_code == 409
    other = await stack.call("POST", f"{path}/approve", LEAD, json={"lease_token": 9})
    assert (other.status_code, other.json()["code"]) == (409, "wrong_state")
    chosen = await stack.ok("POST", f"{path}/approve", LEAD, json={"lease_token": 1})
    assert chosen["state"] == "done"
    told = await stack.call("POST", f"{path}/progress", bob, json={"lease_token": 2, "percent": 9})
    assert (told.status_code, told.json()["code"]) == (409, "stale_lease")
