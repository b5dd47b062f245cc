"""The coordinator as a Ray actor: killed and rebuilt, replaced and fenced, equal to its twin."""

import asyncio
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray

from actors import wire
from actors.coordinator import CoordinatorActor, RemoteCoordinator, launch
from pm_agent.bootstrap import ADMIN, ensure_admin_secret, open_journal_readonly
from pm_agent.cli.audit import verify_journal
from pm_agent.client import AsyncClient
from pm_agent.domain.access import IssueToken
from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.errors import Fenced, JournalCorrupt, Unavailable
from pm_agent.kernel.chain import unseal
from pm_agent.ports import StoredEvent
from pm_agent.runtime.backend import Health
from pm_agent.runtime.secret import digest_of
from pm_agent.settings import Settings
from tests.actors.conftest import Product, a_project, an_agent, until
from tests.driver_stream import record, shape, through_coordinator, through_engine
from tests.scenario import Scenario, claim
from tests.scenario import a_project as a_project_command

N_CLIENTS = 20
N_TASKS = 400
CLAIMS_BEFORE, CLAIMS_AFTER = 60, 3 * N_CLIENTS
WORK_S = 0.02


class Holding(NamedTuple):
    """A lease as its holder saw it: from the answer that gave it to the word that ended it."""

    task_id: str
    agent_id: str
    lease_token: int
    from_s: float
    to_s: float


class Crowd:
    """Clients that claim, work and hand in or give back, and remember what they held."""

    def __init__(self) -> None:
        self.history: list[Holding] = []
        self.news = asyncio.Condition()
        self.is_over = False

    async def work(self, client: AsyncClient, agent_id: str) -> None:
        while not self.is_over:
            claimed = await client.request_next_task(agent_id)
            from_s = time.monotonic()
            if claimed.outcome != "assigned":
                return
            task_id, token = claimed.task_id, claimed.lease_token
            await asyncio.sleep(WORK_S)
            to_s = time.monotonic()
            self.history.append(Holding(task_id, agent_id, token, from_s, to_s))
            if len(self.history) % 3:
                await client.release_task(task_id, lease_token=token)
            else:
                await client.complete_task(task_id, lease_token=token, summary="done")
            async with self.news:
                self.news.notify_all()

    async def reached(self, n_claims: int) -> None:
        async with self.news:
            await self.news.wait_for(lambda: len(self.history) >= n_claims)


async def test_no_acknowledged_claim_is_lost_or_doubled_when_the_coordinator_is_killed(
    product: Product, record_testsuite_property: Callable[[str, object], None]
) -> None:
    handle: Any = launch(product.settings)
    crowd = Crowd()
    async with product.client() as admin, asyncio.timeout(60):
        project_id = await a_project(admin)
        tasks = [{"title": f"t {i}"} for i in range(N_TASKS)]
        begun = await admin.begin_import_tasks(project_id, tasks, request_id="import")
        imported = await admin.wait_for_operation(begun.operation_id)
        assert imported.state == "done"
        agents = [await an_agent(admin, project_id) for _ in range(N_CLIENTS)]
        clients = [AsyncClient(product.settings.url, token, patience_s=60.0) for _, token in agents]
        working = [
            asyncio.create_task(crowd.work(client, agent_id))
            for client, (agent_id, _) in zip(clients, agents, strict=True)
        ]
        await crowd.reached(CLAIMS_BEFORE)
        pid: int = await handle.pid.remote()
        os.kill(pid, signal.SIGKILL)
        killed_s = time.monotonic()
        before = len(crowd.history)
        await crowd.reached(before + CLAIMS_AFTER)
        crowd.is_over = True
        await asyncio.gather(*working)
        for client in clients:
            await client.aclose()
        assert await handle.pid.remote() != pid
        told = await RemoteCoordinator(product.settings.workspace).reply_to(str(ADMIN), "import")
        assert told is not None
        assert json.loads(told.result)["task_ids"] == (imported.result or {})["task_ids"]

    record_testsuite_property(
        "coordinator_killed_longest_gap_s", longest_gap_s(crowd.history, killed_s)
    )
    assert doubly_held(crowd.history) == []
    assert any(h.from_s > killed_s for h in crowd.history)
    acknowledged = {(h.task_id, h.agent_id, h.lease_token) for h in crowd.history}
    assert len(acknowledged) == len(crowd.history)
    journaled = {
        (data.task_id, data.agent_id, data.lease_token)
        for event in await events_of(product.settings)
        if isinstance(data := unseal(event).data, TaskAssigned)
    }
    assert acknowledged <= journaled
    report = await verify_journal(product.settings)
    assert report.problems == []
    assert report.double_assignments == 0


def doubly_held(history: list[Holding]) -> list[tuple[Holding, Holding]]:
    """Pairs of holdings of one task that overlap in time."""
    by_task = defaultdict(list)
    for holding in history:
        by_task[holding.task_id].append(holding)
    found = []
    for holdings in by_task.values():
        holdings.sort(key=lambda h: h.from_s)
        found += [
            (one, two)
            for one, two in pairwise(holdings)
            if two.from_s < one.to_s or two.lease_token <= one.lease_token
        ]
    return found


def longest_gap_s(history: list[Holding], killed_s: float) -> float:
    """Longest time without a claim, after the kill."""
    instants = sorted([killed_s, *(h.from_s for h in history if h.from_s > killed_s)])
    return max(b - a for a, b in pairwise(instants))


async def events_of(settings: Settings) -> list[StoredEvent]:
    journal = open_journal_readonly(settings)
    try:
        found: list[StoredEvent] = []
        while page := await journal.read(len(found)):
            found += page
        return found
    finally:
        await journal.close()


@contextmanager
def own_coordinator(settings: Settings) -> Iterator[Any]:
    """Run a coordinator of its own workspace beside the product's."""
    handle = launch(settings)
    try:
        ray.get(handle.ready.remote())
        yield handle
    finally:
        ray.kill(handle)


async def test_a_newer_coordinator_on_the_same_journal_shuts_the_older_out(
    product: Product, tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path, workspace="rivals")
    ensure_admin_secret(settings)
    with own_coordinator(settings):
        older = RemoteCoordinator(settings.workspace)
        (reply,) = await older.submit([a_project_command("P-one")], [])
        assert reply.error is None
        position, epoch = (h := await older.health()).position, h.epoch
        kind: Any = ray.remote(CoordinatorActor)
        newer = kind.options(num_cpus=0).remote(settings.model_dump_json())
        try:
            await newer.ready.remote()
            payload = wire.encode_submission([a_project_command("P-two")], [])
            answer = wire.decode_answer(await newer.submit.remote(payload))
            assert answer.error is None
            with pytest.raises(Fenced) as refused:
                await older.submit([a_project_command("P-late")], [])
            assert refused.value.next_step
            health = await older.health()
            assert not health.is_writable
            with pytest.raises(Fenced):
                await older.submit([a_project_command("P-later")], [])
            answer = wire.decode_answer(await newer.submit.remote(payload))
            assert answer.error is None
        finally:
            ray.kill(newer)
    events = await events_of(settings)
    assert {event.epoch for event in events[:position]} == {epoch}
    assert {event.epoch for event in events[position:]} == {epoch + 1}
    assert not [event for event in events if b"P-late" in event.payload]
    assert (await verify_journal(settings)).problems == []


async def test_a_coordinator_that_hands_over_frees_its_name_for_a_newer_one(
    product: Product, tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path, workspace="handed")
    ensure_admin_secret(settings)
    coordinator = RemoteCoordinator(settings.workspace)
    launch(settings)
    await until_writable(coordinator)
    (reply,) = await coordinator.submit([a_project_command("P-one")], [])
    assert reply.error is None
    handed = await coordinator.hand_over()
    assert not handed.is_writable
    assert handed.position == reply.position
    with own_coordinator(settings):
        health = await until_writable(coordinator)
        assert health.epoch == handed.epoch + 1
        assert health.position == handed.position
        (reply,) = await coordinator.submit([a_project_command("P-two")], [])
        assert reply.error is None
    assert (await verify_journal(settings)).problems == []


async def until_writable(coordinator: RemoteCoordinator) -> Health:
    async def look() -> Health | None:
        try:
            health = await coordinator.health()
        except Unavailable:  # a killed actor's name is free a moment later
            return None
        return health if health.is_writable else None

    health: Health = await until(look)
    return health


async def test_a_recorded_day_makes_the_same_events_through_ray_as_through_the_engine(
    product: Product, tmp_path: Path
) -> None:
    settings = Settings(
        data=tmp_path, workspace="twins", scorer="priority", exploration=0.0, seed=1
    )
    digest = digest_of(ensure_admin_secret(settings))
    lines = record(with_time=False)
    scenario = Scenario(policy=settings.policy)
    # A coordinator lets its administrator in before anything else.
    scenario.given(
        IssueToken(
            request_id=f"admin-token:{digest[:16]}",
            principal=SYSTEM,
            sha256=digest,
            owner=ADMIN,
            label="administrator",
        )
    )
    stepped = through_engine(lines, scenario)
    with own_coordinator(settings):
        looped = await through_coordinator(lines, RemoteCoordinator(settings.workspace))
    assert len(stepped) > 50
    assert [timeless(event) for event in looped] == [timeless(event) for event in stepped]


def timeless(event: StoredEvent) -> dict[str, Any]:
    """Return an event's shape without what ages: the actor's clock goes on."""
    found = shape(event)
    decision = found["data"].get("decision", {})
    for name in ("facts", "factors", "scores"):
        decision.pop(name, None)
    return found


async def test_refusals_cross_the_wire_as_what_they_are(product: Product) -> None:
    (reply,) = await product.coordinator.submit([claim("A-nobody")], [])
    assert reply.error is not None
    assert reply.error.code == "unknown_agent"
    assert "register_agent" in reply.error.next_step


async def test_a_coordinator_that_is_not_there_is_away(product: Product) -> None:
    with pytest.raises(Unavailable, match="away"):
        await RemoteCoordinator("nowhere").health()
    with pytest.raises(Unavailable, match="away"):
        await anext(aiter(RemoteCoordinator("nowhere").follow(0)))


async def test_a_damaged_journal_is_told_through_ray(product: Product, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, workspace="damaged")
    settings.journal_path.write_bytes(b"no journal at all " * 99)
    handle = launch(settings)
    try:
        with pytest.raises(ray.exceptions.RayTaskError) as failed:
            await handle.ready.remote()
    finally:
        ray.kill(handle)
    cause = wire.cause_of(failed.value)
    assert isinstance(cause, JournalCorrupt)
    assert str(settings.journal_path) in cause.message
    assert "pm-agent backup" in cause.next_step
