"""Methods about an agent's work on a task, from the claim to the verdict."""

from collections.abc import Iterable
from typing import Literal

from pm_agent.client.errors import Json
from pm_agent.client.sender import LONG_POLL_S, Answer, Sender


class AssignmentOperations(Sender[Answer]):
    """Claims, reports and verdicts."""

    def request_next_task(
        self, agent_id: str, *, project_id: str | None = None, request_id: str | None = None
    ) -> Answer:
        path = f"/v1/agents/{agent_id}/next-task"
        return self._write("POST", path, request_id, project_id=project_id)

    def wait_for_task(
        self,
        agent_id: str,
        *,
        timeout_s: int = LONG_POLL_S,
        project_id: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Ask for a task and wait for one up to ``timeout_s`` (at most 50)."""
        return self._write(
            "POST",
            f"/v1/agents/{agent_id}/wait",
            request_id,
            wait_s=timeout_s,
            timeout_s=timeout_s,
            project_id=project_id,
        )

    def report_task_progress(
        self,
        task_id: str,
        *,
        lease_token: int,
        percent: int,
        note: str = "",
        where: str = "",
        usage: Json | None = None,
        expect_silence_s: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Say how far the work is. ``usage`` is what was used since the last report."""
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/progress",
            request_id,
            lease_token=lease_token,
            percent=percent,
            note=note,
            where=where,
            usage=usage,
            expect_silence_s=expect_silence_s,
        )

    def complete_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        summary: str,
        evidence: Json | None = None,
        usage: Json | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Hand the work in. ``evidence`` may hold ``commit``, ``branch`` and ``links``."""
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/complete",
            request_id,
            lease_token=lease_token,
            summary=summary,
            evidence=evidence,
            usage=usage,
        )

    def release_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        reason: Literal["released", "failed", "blocked", "stopped"] = "released",
        note: str = "",
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/release",
            request_id,
            lease_token=lease_token,
            reason=reason,
            note=note,
        )

    def approve_task(
        self, task_id: str, *, report: str = "", request_id: str | None = None
    ) -> Answer:
        """Accept work in review, or lift the approval hold of a task."""
        return self._write("POST", f"/v1/tasks/{task_id}/approve", request_id, report=report)

    def reject_task(
        self,
        task_id: str,
        *,
        reasons: Iterable[str],
        report: str = "",
        request_id: str | None = None,
    ) -> Answer:
        """Reject work in review, with reasons for the next attempt."""
        path = f"/v1/tasks/{task_id}/reject"
        return self._write("POST", path, request_id, reasons=list(reasons), report=report)

    def explain_assignment(self, task_id: str, *, attempt: int | None = None) -> Answer:
        return self._query(f"/v1/tasks/{task_id}/explanation", attempt=attempt)
