"""Too much at once, a journal that fails, and agents that all come back: what callers see."""

import asyncio
from typing import Any

import httpx
import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.domain.errors import JournalUnavailable
from pm_agent.ports import Batch
from pm_agent.runtime import ingress as ingress_module
from pm_agent.runtime.admission import Lag, Limits
from tests.api.conftest import ADMIN, Stack, running

Request = tuple[str, str, dict[str, Any]]  # method, path, and what goes with it


def problem_in(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["next_step"]
    assert response.headers["retry-after"] == str(problem["retry_after_s"])
    assert 1 <= problem["retry_after_s"] <= 30
    return problem


def counted(text: str, name: str, work: str) -> float:
    start = f'pm_agent_{name}_total{{work="{work}",workspace="main"}} '
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return float(line.removeprefix(start))


# -- overload --------------------------------------------------------------------------------------


async def test_the_fuller_the_server_the_more_is_refused_and_completions_last(
    stack: Stack,
) -> None:
    await stack.project()
    for _ in range(3):
        await stack.task()
    agent_id, token = await stack.agent("Ada", capacity=9)
    claimed = await stack.claim(agent_id, token)
    mine = {"lease_token": claimed["lease_token"]}
    task = f"/v1/tasks/{claimed['task_id']}"
    admin_read: Request = ("GET", "/v1/status", {})
    board_read: Request = ("GET", f"{task}/context", {})
    claim: Request = ("POST", f"/v1/agents/{agent_id}/next-task", {"json": {}})
    wait: Request = ("POST", f"/v1/agents/{agent_id}/wait", {"json": {"timeout_s": 0}})
    progress: Request = ("POST", f"{task}/progress", {"json": {**mine, "percent": 5}})
    beat: Request = ("POST", f"/v1/agents/{agent_id}/heartbeat", {"json": {}})
    lag = stack.ingress.admission.lag = Lag()  # one that nobody measures but we
    served = {
        0.0: (admin_read, board_read, claim, progress, beat),
        0.3: (board_read, claim, progress, beat),
        0.6: (wait, progress, beat),
        0.8: (progress, beat),
        1.5: (beat,),
    }
    shed = {0.3: (admin_read,), 0.6: (board_read,), 0.8: (claim, wait), 1.5: (progress,)}
    for load, calls in served.items():
        lag.seconds = load
        for method, path, more in calls:
            await stack.ok(method, path, token, **more)
        for method, path, more in shed.get(load, ()):
            problem_in(await stack.call(method, path, token, **more), 503, "overloaded")
    lag.seconds = 2.0
    done = {**mine, "summary": "Done."}
    refused = await stack.call("POST", f"{task}/complete", token, json=done)
    problem_in(refused, 503, "overloaded")
    text = (await stack.call("GET", "/metrics", token="")).text
    assert counted(text, "shed", "claim") == 2
    assert counted(text, "shed", "completion") == 1
    assert counted(text, "limited", "claim") == 0
    assert 'pm_agent_load{workspace="main"} 2.0' in text


async def test_an_agent_that_asks_in_a_loop_gets_429_and_others_do_not() -> None:
    async with running(limits=Limits(claims_per_s=0.2, claims_burst=2)) as stack:
        ada, adas = await stack.agent("Ada")
        bob, bobs = await stack.agent("Bob")
        for _ in range(2):
            await stack.claim(ada, adas)
        refused = await stack.call("POST", f"/v1/agents/{ada}/next-task", adas)
        problem = problem_in(refused, 429, "rate_limited")
        assert problem["retry_after_s"] <= 5
        refused = await stack.call("POST", "/v1/agents", adas, json={"name": "Ada"})
        problem_in(refused, 429, "rate_limited")
        await stack.ok("POST", f"/v1/agents/{ada}/heartbeat", adas)
        await stack.claim(bob, bobs)
        for n in range(5):  # an administrator registers many agents
            await stack.agent(f"agent {n}")
        text = (await stack.call("GET", "/metrics", token="")).text
        assert counted(text, "limited", "claim") == 2


async def test_an_address_without_a_token_is_limited_and_those_with_one_are_not() -> None:
    async with running(limits=Limits(strangers_per_s=0.1, strangers_burst=3)) as stack:
        for _ in range(3):
            assert (await stack.call("GET", "/v1/status", "wrong")).status_code == 401
        problem_in(await stack.call("POST", "/v1/agents", "wrong"), 429, "rate_limited")
        problem_in(await stack.call("POST", "/mcp", "wrong"), 429, "rate_limited")
        await stack.ok("GET", "/v1/status")


# -- a journal that fails --------------------------------------------------------------------------


class Disk(MemoryJournal):
    """A journal that can stop taking writes."""

    is_full = False

    async def append(self, batch: Batch) -> None:
        if self.is_full:
            raise JournalUnavailable
        await super().append(batch)

    async def probe(self) -> None:
        if self.is_full:
            raise JournalUnavailable
        await super().probe()


async def test_reads_go_on_and_are_marked_stale_while_the_journal_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingress_module, "WATCH_S", 0.005)
    disk = Disk()
    async with running(journal=disk) as stack:
        await stack.project()
        task_id = await stack.task()
        path = f"/v1/tasks/{task_id}/context"
        fresh = await stack.call("GET", path)
        assert "x-pm-stale" not in fresh.headers
        assert "stale_at_position" not in fresh.json()
        position = stack.position

        disk.is_full = True
        body = {"title": "Not now", "request_id": "r-1"}
        refused = await stack.call("POST", "/v1/projects/P-web/tasks", json=body)
        problem_in(refused, 503, "journal_unavailable")
        headers = {"Authorization": f"Bearer {ADMIN}"}
        read = await stack.http.get(path, headers=headers)
        assert read.status_code == 200
        assert read.headers["x-pm-stale"] == "true"
        assert read.headers["x-pm-position"] == str(position)
        assert read.json()["stale_at_position"] == position
        status = (await stack.http.get("/v1/status", headers=headers)).json()
        assert status["stale"]
        assert (await stack.http.get("/readyz")).status_code == 503

        disk.is_full = False
        await stack.until(lambda: not stack.ingress.is_stale)
        again = await stack.ok("POST", "/v1/projects/P-web/tasks", json=body)
        assert again["task_id"] == "T-2"
        read = await stack.call("GET", path)
        assert "x-pm-stale" not in read.headers
        assert "stale_at_position" not in read.json()


# -- agents that come back -------------------------------------------------------------------------


async def test_an_agent_that_comes_back_unchanged_writes_nothing_and_goes_on(
    stack: Stack,
) -> None:
    await stack.project()
    profile = {"name": "Ada", "skills": ["python"], "capacity": 2}
    task_id = await stack.task()
    agent_id, token = await stack.agent(**profile)  # type: ignore[arg-type]  # fields by name
    claimed = await stack.claim(agent_id, token)
    position = stack.position
    back = await stack.ok("POST", "/v1/agents", token, json=profile)
    assert stack.position == position
    assert back["active_tasks"] == [task_id]
    (lease,) = back["leases"]
    assert lease["task_id"] == task_id
    assert lease["lease_token"] == claimed["lease_token"]
    body = {"lease_token": lease["lease_token"], "summary": "Done after a restart."}
    assert (await stack.ok("POST", f"/v1/tasks/{task_id}/complete", token, json=body))["state"]
    changed = await stack.ok("POST", "/v1/agents", token, json={**profile, "capacity": 3})
    assert "leases" not in changed
    assert stack.position > position


async def test_many_agents_come_back_at_once_and_none_is_refused(stack: Stack) -> None:
    n_agents = 200
    made = [await stack.agent(f"agent {n}") for n in range(n_agents)]
    position = stack.position
    answers = await asyncio.gather(
        *(
            stack.call("POST", "/v1/agents", token, json={"name": f"agent {n}"})
            for n, (_, token) in enumerate(made)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert stack.position == position


async def test_a_registration_whose_answer_was_lost_gives_the_same_token_again(
    stack: Stack,
) -> None:
    body = {"name": "Ada", "request_id": "register-ada"}
    first = await stack.ok("POST", "/v1/agents", json=body)
    position = stack.position
    again = await stack.ok("POST", "/v1/agents", json=body)
    assert again["access_token"] == first["access_token"]
    assert stack.position == position
    other = await stack.ok("POST", "/v1/agents", json={"name": "Ada"})
    assert "access_token" not in other


async def test_a_token_whose_answer_was_lost_is_given_again(stack: Stack) -> None:
    body = {"owner": {"kind": "agent", "id": "A-ada"}, "request_id": "token-1"}
    first = await stack.ok("POST", "/v1/tokens", json=body)
    again = await stack.ok("POST", "/v1/tokens", json=body)
    assert first["token"] == again["token"]
    assert first["sha256"] == again["sha256"]


async def test_a_registration_that_was_cut_in_half_is_finished_by_its_retry(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"name": "Ada", "request_id": "register-ada"}
    submit, n_calls = stack.loop.submit, 0

    async def cut(*args: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:  # the agent is there, its token is not
            raise JournalUnavailable
        return await submit(*args)

    monkeypatch.setattr(stack.loop, "submit", cut)
    problem_in(await stack.call("POST", "/v1/agents", json=body), 503, "journal_unavailable")
    monkeypatch.undo()
    made = await stack.ok("POST", "/v1/agents", json=body)
    await stack.claim("A-ada", made["access_token"])
