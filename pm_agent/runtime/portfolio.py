"""The portfolio manager of one project: long computations on a snapshot, proposed as commands.

It decides nothing: the coordinator takes what still fits. Now it computes critical-path minutes, by
which urgent chains go first, the hint after how long an idle agent should ask again, and which
tasks are to be assessed next.
"""

import asyncio
import logging
from contextlib import suppress

from pm_agent.domain.assessment import RequestAssessments
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.errors import PMError
from pm_agent.domain.ids import ProjectId, TaskId
from pm_agent.domain.project import UpdateProject
from pm_agent.domain.task import SetCriticalPaths
from pm_agent.features.assessment.wanted import is_under_way, most_wanted
from pm_agent.features.planning.critical_path import critical_paths, retry_after_s
from pm_agent.kernel import snapshot as snapshots
from pm_agent.runtime.backend import Coordinator

log = logging.getLogger(__name__)

PAUSE_S = 2.0
# Never more than a twentieth of a core, however large the project.
IDLE_SHARE = 20
HINT_CHANGE = 0.25  # smaller changes of the retry hint are not worth an event


class PortfolioLoop:
    """Looks at its project again and again while it changes."""

    def __init__(self, coordinator: Coordinator, project_id: ProjectId) -> None:
        self.project_id = project_id
        self.n_proposals = 0
        self.position = 0  # of the snapshot it looked at last
        self._coordinator = coordinator
        self._principal = Principal(kind="system", id=f"portfolio-{project_id}", role="system")
        self._task: asyncio.Task[None] | None = None
        self._asked: list[tuple[TaskId, int]] = []  # tasks to be assessed, with their texts' age

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"portfolio {self.project_id}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> int:
        """Compute once on a fresh snapshot and propose; return how many commands were sent."""
        if (await self._coordinator.health()).position == self.position:
            return 0
        saved = await self._coordinator.snapshot(self.project_id)
        world, outbox = await asyncio.to_thread(snapshots.load, saved)
        if self.project_id not in world.projects:
            self.position = saved.position
            return 0
        proposals: list[Command] = []
        minutes = await asyncio.to_thread(critical_paths, world, self.project_id)
        request = f"{self.project_id}:{saved.position}"
        if minutes:
            proposals.append(
                SetCriticalPaths(
                    request_id=f"paths:{request}",
                    principal=self._principal,
                    project_id=self.project_id,
                    minutes=minutes,
                )
            )
        hint = retry_after_s(world, self.project_id)
        known = world.projects[self.project_id].retry_after_s
        if abs(hint - known) > HINT_CHANGE * known:
            proposals.append(
                UpdateProject(
                    request_id=f"hint:{request}",
                    principal=self._principal,
                    project_id=self.project_id,
                    retry_after_s=hint,
                )
            )
        asked = self._asked
        if not is_under_way(outbox.pending.values(), self.project_id):
            wanted = await asyncio.to_thread(most_wanted, world, self.project_id)
            asked = [(task.id, task.text_version) for task in wanted]
            if asked and asked != self._asked:  # else nobody could answer: not for ever the same
                proposals.append(
                    RequestAssessments(
                        request_id=f"assess:{request}",
                        principal=self._principal,
                        project_id=self.project_id,
                        task_ids=tuple(task.id for task in wanted),
                    )
                )
        if proposals:
            await self._coordinator.submit(proposals, [])
            self.n_proposals += len(proposals)
            self._asked = asked
        self.position = saved.position  # only now: what could not be proposed is looked at again
        return len(proposals)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.look()
            except PMError as error:
                log.info("portfolio %s waits: %s", self.project_id, error.message)
            except Exception:
                log.exception("portfolio %s looks again", self.project_id)
            await asyncio.sleep(max(PAUSE_S, IDLE_SHARE * (loop.time() - began)))
