"""A managed worker, as a virtual actor: an agent that PM Agent runs itself."""

from typing import Any

from pm_agent.bootstrap import build_worker, issue_agent_secret
from pm_agent.client import AsyncClient
from pm_agent.runtime.backend import Coordinator
from pm_agent.runtime.worker import Worker
from pm_agent.settings import WorkerSpec

STOP_GRACE_S = 5.0


class WorkerAgent:
    """A shell around `Worker`: it speaks to the same door as any remote agent.

    Messages: ``status`` reports.
    """

    def __init__(self, coordinator: Coordinator, url: str, spec: WorkerSpec) -> None:
        self._coordinator = coordinator
        self._url = url
        self._spec = spec
        self._client: AsyncClient | None = None
        self._worker: Worker | None = None

    async def start(self) -> None:
        secret = await issue_agent_secret(self._coordinator, self._spec.name)
        self._client = AsyncClient(self._url, secret)
        self._worker = build_worker(self._spec, self._client)
        self._worker.start()

    async def receive(self, message: str) -> dict[str, Any]:
        worker = self._worker
        assert worker is not None, message
        return {
            "agent_id": worker.agent_id,
            "task_id": worker.task_id,
            "executor_pid": worker.executor_pid,
            "done": worker.n_done,
            "failed": worker.n_failed,
            "stopped": worker.n_stopped,
            "lost": worker.n_lost,
            "busy_s": round(worker.busy_s, 3),
        }

    async def stop(self) -> None:
        if self._worker is not None:
            await self._worker.stop(STOP_GRACE_S)
        if self._client is not None:
            await self._client.aclose()
