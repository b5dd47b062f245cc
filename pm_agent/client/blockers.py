"""Methods about what stops a task."""

from typing import Any, Literal

from pm_agent.client.sender import Answer, Sender


class BlockerOperations(Sender[Answer]):
    """Blockers and their answers."""

    def report_blocker(
        self,
        task_id: str,
        *,
        lease_token: int,
        description: str,
        severity: Literal["low", "medium", "high"] = "medium",
        release: bool = False,
        request_id: str | None = None,
        **kind: Any,
    ) -> Answer:
        """Say what stops the work; ``release`` gives the task back, else the agent waits.

        ``kind`` may hold ``blocker_type``, ``needs_task_ids`` and ``needs_skills``.
        """
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/blockers",
            request_id,
            lease_token=lease_token,
            description=description,
            severity=severity,
            release=release,
            **kind,
        )

    def report_fix(
        self,
        blocker_id: str,
        *,
        lease_token: int,
        worked: bool,
        note: str = "",
        request_id: str | None = None,
    ) -> Answer:
        """Say whether the step under way against a blocker has helped."""
        path = f"/v1/blockers/{blocker_id}/fix"
        return self._write(
            "POST", path, request_id, lease_token=lease_token, worked=worked, note=note
        )

    def acknowledge_blocker(self, blocker_id: str, *, request_id: str | None = None) -> Answer:
        return self._write("POST", f"/v1/blockers/{blocker_id}/acknowledge", request_id)

    def list_blockers(self, **filters: Any) -> Answer:
        return self._query("/v1/blockers", **filters)

    def resolve_blocker(
        self, blocker_id: str, *, resolution: str, request_id: str | None = None
    ) -> Answer:
        path = f"/v1/blockers/{blocker_id}/resolve"
        return self._write("POST", path, request_id, resolution=resolution)
