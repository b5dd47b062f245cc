"""Methods about what stops a task."""

from typing import Any, Literal

from pm_agent.client.request import Request
from pm_agent.client.sender import Sender, operation
from pm_agent.features.blockers.decide import BlockerResult
from pm_agent.features.blockers.view import BlockerList


class BlockerOperations(Sender):
    """Blockers and their answers."""

    @operation
    def report_blocker(
        self,
        /,
        task_id: str,
        *,
        lease_token: int,
        description: str,
        severity: Literal["low", "medium", "high"] = "medium",
        release: bool = False,
        request_id: str | None = None,
        **kind: Any,
    ) -> Request[BlockerResult]:
        """Say what stops the work; ``release`` gives the task back, else the agent waits.

        ``kind`` may hold ``blocker_type``, ``needs_task_ids`` and ``needs_skills``.
        """
        return self._write(
            BlockerResult,
            "POST",
            f"/v1/tasks/{task_id}/blockers",
            request_id,
            lease_token=lease_token,
            description=description,
            severity=severity,
            release=release,
            **kind,
        )

    @operation
    def report_fix(
        self,
        blocker_id: str,
        *,
        lease_token: int,
        worked: bool,
        note: str = "",
        request_id: str | None = None,
    ) -> Request[BlockerResult]:
        """Say whether the step under way against a blocker has helped."""
        path = f"/v1/blockers/{blocker_id}/fix"
        return self._write(
            BlockerResult,
            "POST",
            path,
            request_id,
            lease_token=lease_token,
            worked=worked,
            note=note,
        )

    @operation
    def acknowledge_blocker(
        self, blocker_id: str, *, request_id: str | None = None
    ) -> Request[BlockerResult]:
        return self._write(
            BlockerResult, "POST", f"/v1/blockers/{blocker_id}/acknowledge", request_id
        )

    @operation
    def list_blockers(self, /, **filters: Any) -> Request[BlockerList]:
        return self._query(BlockerList, "/v1/blockers", **filters)

    @operation
    def resolve_blocker(
        self, blocker_id: str, *, resolution: str, request_id: str | None = None
    ) -> Request[BlockerResult]:
        path = f"/v1/blockers/{blocker_id}/resolve"
        return self._write(BlockerResult, "POST", path, request_id, resolution=resolution)
