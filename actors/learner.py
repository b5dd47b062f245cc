"""The learner: trains on the journal now and then, in a process of its own, never in a decision.

It reads the journal as any reader does, and writes the registry's folder; the coordinator looks
there. Folds are Ray tasks, so that a cluster trains on all its processors. A version is promoted
only when it was shown to be better than every rule and than the one before it, and one from which
the world has drifted away stands down.
"""

import asyncio
import pickle
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import ray

from actors.cluster import NAMESPACE
from actors.lessons import every, learn_once
from pm_agent.domain.errors import PMError
from pm_agent.settings import Settings


class LearnerActor:
    """Learns every ``learn_every_h`` hours, and when it is asked to. A restart begins anew."""

    def __init__(self, settings_json: str) -> None:
        let_pandas_in()
        self._settings = Settings.model_validate_json(settings_json)
        self._learning = asyncio.Lock()
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def ready(self) -> None:
        """Return when it can be asked."""

    async def learn(self) -> dict[str, Any]:
        """Watch, follow the challenger, train when enough is new; what came of it."""
        async with self._learning:
            return await asyncio.to_thread(self._learn)

    async def stop(self) -> None:
        self._running.cancel()

    async def _run(self) -> None:
        if self._settings.learn_every_h:
            await every(self._settings.learn_every_h, self.learn)

    def _learn(self) -> dict[str, Any]:
        try:
            return learn_once(self._settings, run_folds=on_ray)
        except PMError as error:  # too little history, most often: there is another day
            return {"refused": error.code, "message": error.message}


def on_ray(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """As ``map``, each item a Ray task."""
    task: Any = ray.remote(num_cpus=1)(_worked)
    # Pickled here: Ray would unpickle the tables before pandas is let into its process.
    asked = [task.remote(pickle.dumps((work, item))) for item in items]
    return [pickle.loads(found) for found in ray.get(asked)]  # noqa: S301 - our own tasks' results


def _worked(payload: bytes) -> bytes:
    let_pandas_in()
    work, item = pickle.loads(payload)  # noqa: S301 - from `on_ray`
    return pickle.dumps(work(item))


def let_pandas_in() -> None:
    """Undo `actors.cluster.leave_out_pandas` in this process."""
    if sys.modules.get("pandas", sys) is None:
        del sys.modules["pandas"]


def running(settings: Settings) -> list[Any]:
    """Handle of the workspace's learner; none when there is none."""
    with suppress(ValueError):
        return [ray.get_actor(_name(settings), namespace=NAMESPACE)]
    return []


def _name(settings: Settings) -> str:
    return f"learner:{settings.workspace}"


def launch(settings: Settings) -> Any:
    """Create the workspace's learner, or find it, and return its handle."""
    remote: Any = ray.remote(LearnerActor)
    return remote.options(
        name=_name(settings),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        num_cpus=0,
    ).remote(settings.model_dump_json())
