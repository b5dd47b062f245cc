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


def months_of_work(n: int = 120, n_otherwise: int = 0) -> Scenario:
    """Hard tasks are rejected, easy ones accepted; Ada and Bob take turns.

    Afterwards there are ``n_otherwise`` more that take a twentieth of the time, and whose end
    follows from nothing.
    """
    scenario = Scenario(FactorsScorer(), Policy(exploration=0.0))
    scenario.given(a_project(completion="person"), an_agent(ADA), an_agent(BOB))
    for number in range(n + n_otherwise):
        is_otherwise = number >= n
        is_bad = number * 7919 % 101 < 50 if is_otherwise else number % 3 == 0
        task_id = scenario.new_task(f"task {number}", complexity=1 + 4 * (number % 3 == 0))
        agent_id = (ADA, BOB)[number % 2]
        given = scenario.assigned(agent_id)
        scenario.after(minutes=(5 + number % 7) * (0.05 if is_otherwise else 1))
        scenario.given(complete(task_id, given.lease_token, agent_id))
        if is_bad:
            scenario.given(reject(task_id))
            cancelled = CancelTask(request_id=request_id(), principal=PERSON, task_id=task_id)
            scenario.given(cancelled)
        else:
            scenario.given(accept(task_id))
    return scenario
