import asyncio
from collections.abc import AsyncIterator

import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.bootstrap import engine_builder
from pm_agent.domain.assessment import AssessmentDraft, StoreAssessments
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.errors import Unavailable
from pm_agent.domain.ids import AgentId
from pm_agent.domain.task import SetCriticalPaths, TaskDraft, UpdateTask
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel.types import Policy, Reply
from pm_agent.runtime import portfolio
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.runtime.host import Host
from pm_agent.runtime.portfolio import PortfolioLoop
from tests.scenario import a_project, an_agent, an_import, claim

CHAIN = (
    TaskDraft(title="first", key="a", estimate_min=10),
    TaskDraft(title="second", key="b", estimate_min=20, dependencies=("a",)),
    TaskDraft(title="third", key="c", estimate_min=40, dependencies=("b",)),
)


@pytest.fixture
async def loop() -> AsyncIterator[CoordinatorLoop]:
    build = engine_builder(Policy(exploration=0.0), PriorityScorer(), seed=1)
    loop = CoordinatorLoop(MemoryJournal(), build, SystemClock())
    await loop.start()
    await loop.submit([a_project(), a_project("P-app"), an_agent(), an_import(*CHAIN)], [])
    yield loop
    await loop.stop()


def minutes(loop: CoordinatorLoop) -> list[int]:
    return [task.critical_path_min for task in loop.engine.world.tasks.values()]


async def test_it_proposes_the_minutes_of_work_that_wait_behind_each_task(
    loop: CoordinatorLoop,
) -> None:
    manager = PortfolioLoop(loop, "P-web")
    assert await manager.look() == 3
    assert minutes(loop) == [60, 40, 0]
    assert loop.engine.world.projects["P-web"].retry_after_s == 60
    (event,) = [e for e in await loop.history("P-web", 10) if e.kind == "CriticalPathsSet"]
    assert event.principal == "system:portfolio-P-web"


async def test_what_is_known_already_is_not_proposed_again(loop: CoordinatorLoop) -> None:
    manager = PortfolioLoop(loop, "P-web")
    await manager.look()
    position = loop.engine.world.position
    assert await manager.look() == 0
    assert await manager.look() == 0
    assert loop.engine.world.position == position
    assert manager.n_proposals == 3
    assert manager.position == position


async def test_nothing_new_is_not_even_looked_at(
    loop: CoordinatorLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = PortfolioLoop(loop, "P-web")
    await manager.look()
    await manager.look()

    async def refuse(_: str) -> None:
        raise AssertionError

    monkeypatch.setattr(loop, "snapshot", refuse)
    assert await manager.look() == 0


async def test_work_under_way_shortens_the_hint(loop: CoordinatorLoop) -> None:
    manager = PortfolioLoop(loop, "P-web")
    await manager.look()
    drafts = [TaskDraft(title=f"t{i}", estimate_min=2) for i in range(20)]
    agents = [f"A-{i}" for i in range(20)]
    await loop.submit([an_import(*drafts), *(an_agent(a) for a in agents)], [])
    await loop.submit([claim(a) for a in agents], [])
    await manager.look()
    assert loop.engine.world.projects["P-web"].retry_after_s < 10


async def test_small_changes_of_the_hint_are_not_worth_an_event(
    loop: CoordinatorLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = PortfolioLoop(loop, "P-web")
    await manager.look()
    monkeypatch.setattr(portfolio, "retry_after_s", lambda *_: 50)
    await loop.submit([a_project("P-new")], [])
    assert await manager.look() == 0
    monkeypatch.setattr(portfolio, "retry_after_s", lambda *_: 40)
    await loop.submit([a_project("P-newer")], [])
    assert await manager.look() == 1


async def answer(loop: CoordinatorLoop, *drafts: AssessmentDraft) -> None:
    (effect_id,) = [e.effect_id for e in loop.engine.outbox.pending.values() if not e.task_id]
    stored = StoreAssessments(
        request_id=f"effect:{effect_id}", principal=SYSTEM, effect_id=effect_id, drafts=drafts
    )
    await loop.submit([stored], [])


async def test_it_asks_for_assessments_until_every_task_has_one(loop: CoordinatorLoop) -> None:
    manager = PortfolioLoop(loop, "P-web")
    await manager.look()
    judged = [AssessmentDraft(task_id=f"T-{n}", minutes=9, level=1) for n in (1, 2)]
    await answer(loop, *judged)
    assert await manager.look() == 1  # about the one that is left
    await answer(loop, AssessmentDraft(task_id="T-3", minutes=9, level=1))
    assert await manager.look() == 0
    assert all(task.assessment for task in loop.engine.world.tasks.values())


async def test_what_nobody_could_answer_is_not_asked_for_ever(loop: CoordinatorLoop) -> None:
    manager = PortfolioLoop(loop, "P-web")
    await manager.look()
    await answer(loop)
    assert await manager.look() == 0
    renamed = UpdateTask(request_id="u", principal=SYSTEM, task_id="T-1", title="renamed")
    await loop.submit([renamed], [])
    assert await manager.look() == 1


async def test_another_projects_work_is_none_of_its_business(loop: CoordinatorLoop) -> None:
    await PortfolioLoop(loop, "P-app").look()
    assert minutes(loop) == [0, 0, 0]


async def test_a_project_that_is_unknown_yet_is_no_error(loop: CoordinatorLoop) -> None:
    assert await PortfolioLoop(loop, "P-none").look() == 0


async def test_a_proposal_that_no_longer_fits_changes_nothing(loop: CoordinatorLoop) -> None:
    position = loop.engine.world.position
    manager = PortfolioLoop(loop, "P-web")
    stale = SetCriticalPaths(
        request_id="stale",
        principal=manager._principal,
        project_id="P-web",
        minutes={"T-1": 0, "T-99": 7},
    )
    (reply,) = await loop.submit([stale], [])
    assert reply.error is None
    assert loop.engine.world.position == position


async def test_it_goes_on_when_the_coordinator_was_away(
    loop: CoordinatorLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio, "PAUSE_S", 0.001)
    submit, n_refused = loop.submit, 0
    submitted = asyncio.Event()

    async def flaky(commands: list[Command], heard: list[AgentId]) -> list[Reply]:
        nonlocal n_refused
        n_refused += 1
        if n_refused < 3:
            raise Unavailable
        replies = await submit(commands, heard)
        submitted.set()
        return replies

    monkeypatch.setattr(loop, "submit", flaky)
    # What was seen and could not be proposed must be proposed again, though nothing else happens.
    manager = PortfolioLoop(loop, "P-web")
    await manager.start()
    async with asyncio.timeout(5):
        await submitted.wait()
    await manager.stop()
    assert minutes(loop) == [60, 40, 0]


async def test_a_host_gives_every_project_its_manager(loop: CoordinatorLoop) -> None:
    made: list[str] = []
    looked = asyncio.Event()

    class Manager:
        def __init__(self, project_id: str) -> None:
            made.append(project_id)

        async def start(self) -> None:
            if len(made) == 2:
                looked.set()

        async def receive(self, message: str) -> str:
            return message

        async def stop(self) -> None: ...

    host = Host(loop, None, Manager)
    await host.start()
    async with asyncio.timeout(5):
        await looked.wait()
    status = await host.status()
    await host.stop()
    assert status == {"portfolio:P-app": "status", "portfolio:P-web": "status"}
    assert sorted(made) == ["P-app", "P-web"]
