"""Lessons again and again: the timer of the learner, and a lesson with or without Ray.

Whoever learns reads the journal as any reader does, and writes the registry's folder; the
coordinator looks there. Training would keep the one process of ``up --no-ray`` from its claims, so
it runs in a child process there, and on Ray in the learner's own (`actors.learner`).
"""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.scorers import ModelShelf, models_folder
from pm_agent.settings import Settings

# The package `models` takes a second to load, and pandas is left out of most processes on Ray.
if TYPE_CHECKING:
    from models.history import History
    from models.learning import Score

log = logging.getLogger(__name__)

HOUR_S = 3_600.0
Told = dict[str, Any]


async def every(hours: float, lesson: Callable[[], Awaitable[Told]]) -> None:
    """Hold a lesson every so many hours, until cancelled."""
    while True:
        await asyncio.sleep(hours * HOUR_S)
        try:
            told = await lesson()
        except Exception:  # whatever it met: the next lesson is not to be missed for it
            log.exception("learning failed")
        else:
            log.info("learned: %s", told)


def learn_once(
    settings: Settings,
    history: "History | None" = None,
    run_folds: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map,
) -> Told:
    """Take one turn of learning on the workspace's journal, or on another; tell what came of it.

    Raises
    ------
    PMError
        There is nothing to learn from; too little history, most often.
    """
    from models.dataset import load_history  # noqa: PLC0415 - see above
    from models.learning import learn_on  # noqa: PLC0415 - see above
    from models.registry import Registry  # noqa: PLC0415 - see above

    shelf = ModelShelf(settings)

    def scorer_of(version: str) -> "Score":
        scorer = shelf.load(version)
        return lambda facts: scorer.score(facts).values

    if history is None:
        history = load_history(settings.history_place, settings.workspace)
    registry = Registry(models_folder(settings))
    return learn_on(history, registry, scorer_of, run_folds=run_folds).told()


async def in_a_child(settings: Settings) -> Told:
    """Hold a lesson as ``pm-agent models learn``, in a process that gives way to all others."""
    argv = [str(Path(sys.executable).with_name("pm-agent")), "models", "learn", "--json"]
    child = await asyncio.create_subprocess_exec(
        "nice", "-n5", *argv, "--data", str(settings.data), stdout=PIPE, stderr=PIPE
    )
    try:
        printed, complaint = await child.communicate()
    finally:
        with suppress(ProcessLookupError):
            child.kill()
    if child.returncode:
        return {"refused": complaint.decode(errors="replace").strip()}
    return dict(json.loads(printed))
