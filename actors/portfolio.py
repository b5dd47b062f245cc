"""The portfolio manager of a project, as a virtual actor."""

from pm_agent.domain.ids import ProjectId
from pm_agent.runtime.backend import Coordinator
from pm_agent.runtime.portfolio import PortfolioLoop


class PortfolioManager:
    """A shell around `PortfolioLoop`. Messages: ``look`` computes now, ``status`` reports."""

    def __init__(self, coordinator: Coordinator, project_id: ProjectId) -> None:
        self._loop = PortfolioLoop(coordinator, project_id)

    async def start(self) -> None:
        await self._loop.start()

    async def receive(self, message: str) -> dict[str, object]:
        if message == "look":
            await self._loop.look()
        return {
            "project_id": self._loop.project_id,
            "position": self._loop.position,
            "proposals": self._loop.n_proposals,
        }

    async def stop(self) -> None:
        await self._loop.stop()
