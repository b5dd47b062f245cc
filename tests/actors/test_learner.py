"""The learner trains beside the product, with folds as Ray tasks, and promotes what is better."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import ray

from actors import learner
from actors.scorers import CurrentScorer
from pm_agent.settings import Settings
from tests.actors.conftest import Product
from tests.models.journals import months_of_work, write_journal


def test_what_the_learner_promotes_decides(product: Product, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, scorer="learned")
    handle = learner.launch(settings)
    try:
        told = ray.get(handle.learn.remote())
        assert told["refused"] == "file_not_readable"  # nothing has happened yet
        write_journal(settings.journal_path, months_of_work(640))
        told = ray.get(handle.learn.remote())
        assert told == {"version": "v1", "is_current": True, "has_drifted": False}
        assert CurrentScorer(settings).version.startswith("learned-1.v1-")
    finally:
        ray.kill(handle, no_restart=True)


async def test_a_lesson_that_fails_does_not_end_learning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop, n_lessons, learned = asyncio.get_running_loop(), 0, asyncio.Event()

    def lesson(_: learner.LearnerActor) -> dict[str, Any]:
        nonlocal n_lessons
        n_lessons += 1
        if n_lessons == 1:
            raise ValueError("not today")
        loop.call_soon_threadsafe(learned.set)
        return {}

    monkeypatch.setattr(learner, "HOUR_S", 0.0)
    monkeypatch.setattr(learner.LearnerActor, "_learn", lesson)
    actor = learner.LearnerActor(Settings(data=tmp_path, learn_every_h=1).model_dump_json())
    async with asyncio.timeout(10):
        await learned.wait()
    await actor.stop()
