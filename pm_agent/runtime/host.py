"""A host: portfolio managers, managed workers and effects, side by side in one process."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from pm_agent.domain.errors import PMError
from pm_agent.domain.ids import ProjectId
from pm_agent.runtime.backend import Coordinator
from pm_agent.runtime.mailbox import Mailboxes, VirtualActor

log = logging.getLogger(__name__)

LOOK_FOR_PROJECTS_S = 2.0
RESTART_S = 1.0


class Effects(Protocol):
    """What performs effects, as the host knows it."""

    async def run(self) -> None:
        """Perform effects until cancelled."""
        ...


MakePortfolio = Callable[[ProjectId], VirtualActor]


class Host:
    """Virtual actors by id, and the work that goes on beside them.

    Parameters
    ----------
    coordinator
        Asked for projects, so that each has its portfolio manager.
    effects, make_portfolio
        None in a host that only holds workers.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        effects: Effects | None = None,
        make_portfolio: MakePortfolio | None = None,
    ) -> None:
        self.mailboxes = Mailboxes()
        self._coordinator = coordinator
        self._effects = effects
        self._make_portfolio = make_portfolio
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if self._effects is not None:
            self._tasks.append(asyncio.create_task(self._keep(self._effects.run), name="effects"))
        if self._make_portfolio is not None:
            self._tasks.append(asyncio.create_task(self._keep(self._portfolios), name="portfolios"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.mailboxes.stop()

    async def status(self) -> dict[str, Any]:
        """What each actor says of itself, by id."""
        answers: dict[str, Any] = {}
        for actor_id in self.mailboxes.ids():
            with suppress(KeyError):
                answers[actor_id] = await self.mailboxes.ask(actor_id, "status")
        return answers

    async def _portfolios(self) -> None:
        assert self._make_portfolio is not None
        while True:
            for project_id in await self._coordinator.projects():
                make = partial(self._make_portfolio, project_id)
                self.mailboxes.activate(f"portfolio:{project_id}", make)
            await asyncio.sleep(LOOK_FOR_PROJECTS_S)

    async def _keep(self, work: Callable[[], Any]) -> None:
        """Run something for good; when the coordinator is away, begin again."""
        while True:
            try:
                await work()
            except PMError as error:
                log.info("%s waits: %s", work, error.message)
            except Exception:
                log.exception("%s failed and begins again", work)
            await asyncio.sleep(RESTART_S)
