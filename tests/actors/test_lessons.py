"""Lessons by a timer: one that fails is not the last, and without Ray a child process learns."""

import asyncio
from pathlib import Path

from actors import lessons
from actors.scorers import CurrentScorer
from pm_agent.settings import Settings
from tests.models.journals import months_of_work, write_journal


async def test_a_lesson_that_fails_does_not_end_learning() -> None:
    n_lessons, learned = 0, asyncio.Event()

    async def lesson() -> lessons.Told:
        nonlocal n_lessons
        n_lessons += 1
        if n_lessons == 1:
            raise ValueError("not today")
        learned.set()
        return {}

    timer = asyncio.create_task(lessons.every(0.0, lesson))
    async with asyncio.timeout(10):
        await learned.wait()
    timer.cancel()


def test_a_child_process_learns_what_the_coordinator_then_takes_up(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, scorer="learned")
    write_journal(settings.journal_path, months_of_work(640))
    told = asyncio.run(lessons.in_a_child(settings))
    assert (told["version"], told["is_current"], told["n_new"]) == ("v1", True, 640)
    assert CurrentScorer(settings).version.startswith("learned-")
