"""A short form of ``python -m benchmarks chaos``: kills under load, and nothing acknowledged lost.

The same client processes, histories and checker, on the session's product. ``make test-long`` kills
ten times.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ray

from actors import cluster
from actors.coordinator import RemoteCoordinator, launch
from actors.watch import CoordinatorWatch
from benchmarks.chaos_check import Truth, check, facts_of
from benchmarks.chaos_crew import ChaosPlan, ClientProcesses, client_plans, enrol
from benchmarks.chaos_faults import Observer
from benchmarks.chaos_history import read
from benchmarks.chaos_server import has_role, send
from benchmarks.product import marked
from pm_agent.bootstrap import ensure_admin_secret, open_journal_readonly
from pm_agent.cli.audit import verify_journal
from pm_agent.domain.errors import Unavailable
from pm_agent.kernel.chain import unseal
from pm_agent.settings import Settings
from tests.actors.conftest import Product, until
from tests.scenario import a_project

N_KILLS = int(os.environ.get("PM_AGENT_TEST_KILLS", "3"))
PLAN = ChaosPlan(agents=20, rate_per_s=20.0, open_tasks=300)
BACK_S = 60.0  # a promise of four seconds is measured by the benchmark, on a quiet machine
BETWEEN_S = 1.0
PATIENCE_S = 0.5


async def test_nothing_is_lost_or_doubled_when_coordinator_and_replica_are_killed_again_and_again(
    product: Product, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    before = (await product.coordinator.health()).position
    cast = await enrol(product.settings.port, product.admin_token, PLAN)
    histories = tmp_path / "histories"
    histories.mkdir()
    observer = Observer(histories)
    crew = ClientProcesses(client_plans(cast, PLAN, product.settings.port, histories), tmp_path)
    gaps: dict[str, list[float]] = {"coordinator": [], "replica": []}
    async with crew.working():
        assert await observer.success(0.0, BACK_S)
        for role in ("coordinator", "replica") * N_KILLS:
            pids = [p for p in marked(os.environ[cluster.MARK], cluster.MARK) if has_role(role, p)]
            assert send(pids, signal.SIGKILL)
            at_s = time.time()
            assert await observer.success(at_s, BACK_S), role
            gaps[role].append((observer.first_success(at_s) or 0.0) - at_s)
            await asyncio.sleep(BETWEEN_S)
    assert crew.complaints == []
    for role, seconds in gaps.items():
        record_testsuite_property(f"{role}_killed_longest_gap_s", max(seconds))
    journal = open_journal_readonly(product.settings)
    facts = await facts_of(journal, before)
    await journal.close()
    verdict = check({p.stem: read(p) for p in histories.glob("*.jsonl")}, Truth(facts))
    assert (verdict.acked_lost, verdict.double_assignments) == (0, 0), verdict.examples
    assert verdict.violations == {}, verdict.examples
    assert sum(fact.kind == "accepted" for fact in facts) > 5 * N_KILLS
    assert (await verify_journal(product.settings)).problems == []


async def test_a_frozen_coordinator_is_replaced_and_shut_out_when_it_goes_on(
    product: Product, tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path, workspace="frozen")
    ensure_admin_secret(settings)
    frozen = launch(settings)
    await frozen.ready.remote()
    pid: int = await frozen.pid.remote()
    watch = CoordinatorWatch(settings, patience_s=PATIENCE_S)
    watch.start()
    coordinator = RemoteCoordinator(settings.workspace)
    try:
        before = await coordinator.health()
        os.kill(pid, signal.SIGSTOP)  # before the watch has had an answer
        late = asyncio.create_task(coordinator.submit([a_project("P-late")], []))

        async def has_successor() -> bool:
            with suppress(Unavailable):
                return (await RemoteCoordinator("frozen").health()).epoch > before.epoch
            return False

        await until(has_successor)
        new = a_project("P-new")
        (reply,) = await RemoteCoordinator("frozen").submit([new], [])
        assert reply.error is None
        with suppress(ProcessLookupError):  # Ray ends it some seconds later
            os.kill(pid, signal.SIGCONT)
        with suppress(Unavailable):  # it never answers, or is refused
            await late
        assert watch.n_replaced == 1
        journal = open_journal_readonly(settings)
        events = [unseal(stored) for stored in await journal.read(before.position)]
        await journal.close()
        assert [event.cause for event in events] == [new.request_id]
        assert (await verify_journal(settings)).problems == []
    finally:
        await watch.stop()
        ray.kill(launch(settings))


async def test_a_name_that_others_took_away_is_left_alone(product: Product, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, workspace="retired")
    ensure_admin_secret(settings)
    handle = launch(settings)
    await handle.ready.remote()
    watch = CoordinatorWatch(settings, patience_s=PATIENCE_S)
    watch.start()
    await asyncio.sleep(1.5)
    ray.kill(handle)
    await asyncio.sleep(2.5)
    await watch.stop()
    assert watch.n_replaced == 0
    coordinator = RemoteCoordinator(settings.workspace)
    try:
        await coordinator.health()
    except Unavailable:
        return
    raise AssertionError("somebody launched it again")
