"""Journals for tests, made by the engine itself."""

import asyncio
from pathlib import Path

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.task import CancelTask
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel.types import Policy
from pm_agent.ports import Batch
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    Scenario,
    a_project,
    accept,
    an_agent,
    complete,
    reject,
    request_id,
)


def write_journal(path: Path, scenario: Scenario) -> Path:
    """Write a scenario's events into a real journal."""

    async def write() -> None:
        journal = SQLiteJournal(path, "main")
        head = await journal.activate()
        await journal.append(Batch(head.epoch, scenario.journal, [], []))
        await journal.close()

    asyncio.run(write())
    return path


def months_of_work(n: int = 120) -> Scenario:
    """Hard tasks are rejected, easy ones accepted; Ada and Bob take turns."""
    scenario = Scenario(FactorsScorer(), Policy(exploration=0.0))
    scenario.given(a_project(completion="person"), an_agent(ADA), an_agent(BOB))
    for number in range(n):
        task_id = scenario.new_task(f"task {number}", complexity=1 + 4 * (number % 3 == 0))
        agent_id = (ADA, BOB)[number % 2]
        given = scenario.assigned(agent_id)
        scenario.after(minutes=5 + number % 7)
        scenario.given(complete(task_id, given.lease_token, agent_id))
        if number % 3 == 0:
            scenario.given(reject(task_id))
            cancelled = CancelTask(request_id=request_id(), principal=PERSON, task_id=task_id)
            scenario.given(cancelled)
        else:
            scenario.given(accept(task_id))
    return scenario
