"""Watches over the coordinator: one that is frozen is replaced.

Ray starts a coordinator again when its process ends. A process that was stopped, or hangs in a
system call, has not ended: every request would wait for it for ever. So the main host asks it for
a sign of life, and after two that did not come lets a successor take its place. It need not be sure
that the old one is dead: the successor's higher epoch shuts it out of the journal.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from actors.cluster import NAMESPACE
from actors.coordinator import actor_name, launch
from pm_agent.settings import Settings

log = logging.getLogger(__name__)

EVERY_S, STARTING_EVERY_S = 1.0, 0.1
# Twice this without a word. The longest that a living one is deaf is a step that imports tens of
# thousands of tasks, some seconds; replacing it needlessly would cost about two.
PATIENCE_S = 5.0
MISSED = 2
START_S = 60.0  # for the first word of a new process, on a machine with much else to do


class CoordinatorWatch:
    """Replaces the workspace's coordinator when it is frozen.

    Attributes
    ----------
    n_replaced : int
        How often it did.
    """

    def __init__(self, settings: Settings, *, patience_s: float = PATIENCE_S) -> None:
        self._settings = settings
        self._patience_s = patience_s
        # This process has answered once; until then it may be starting. Hosts are launched when it
        # has: were the watch to wait for an answer of its own, a coordinator that froze before that
        # would be waited for as one that starts.
        self._is_known = True
        self._is_replacing = False  # a successor was asked for and has not answered yet
        self._n_missed = 0
        self._task: asyncio.Task[None] | None = None
        self.n_replaced = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="coordinator-watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S if self._is_known else STARTING_EVERY_S)
            try:
                await self._look()
            except ValueError:  # nobody has the name; if others took it away, they mean it
                if self._is_replacing:
                    launch(self._settings)
            except RayError as error:  # it ended, and Ray starts it again
                log.info("coordinator away: %s", type(error).__name__)
                self._is_known, self._n_missed = False, 0
            except Exception:  # whatever it is, the next look must come
                log.exception("could not look after the coordinator")

    async def _look(self) -> None:
        handle: Any = ray.get_actor(actor_name(self._settings.workspace), namespace=NAMESPACE)
        within_s = self._patience_s if self._is_known else START_S
        try:
            await asyncio.wait_for(handle.pid.remote(), within_s)
        except TimeoutError:
            self._n_missed += 1
        else:
            self._is_known, self._is_replacing, self._n_missed = True, False, 0
        if self._n_missed == MISSED:
            log.warning("the coordinator is frozen and is replaced")
            ray.kill(handle)  # frees the name at once; the process itself ends seconds later
            self._is_known, self._is_replacing, self._n_missed = False, True, 0
            launch(self._settings)
            self.n_replaced += 1
