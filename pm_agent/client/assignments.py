"""Methods about an agent's work on a task, from the claim to the verdict."""

from collections.abc import Iterable
from typing import Literal

from pm_agent.api.handlers.assignments import ApprovalResult, ClaimAnswer
from pm_agent.client.errors import Json
from pm_agent.client.request import Request
from pm_agent.client.sender import LONG_POLL_S, Sender, operation
from pm_agent.features.assignment.decide import ReleaseResult
from pm_agent.features.assignment.view import Explanation
from pm_agent.features.progress.decide import ProgressResult
from pm_agent.features.quality.decide import CompletionResult


class AssignmentOperations(Sender):
    """Claims, reports and verdicts."""

    @operation
    def request_next_task(
        self, agent_id: str, *, project_id: str | None = None, request_id: str | None = None
    ) -> Request[ClaimAnswer]:
        path = f"/v1/agents/{agent_id}/next-task"
        return self._write(ClaimAnswer, "POST", path, request_id, project_id=project_id)

    @operation
    def wait_for_task(
        self,
        agent_id: str,
        *,
        timeout_s: int = LONG_POLL_S,
        project_id: str | None = None,
        request_id: str | None = None,
    ) -> Request[ClaimAnswer]:
        """Ask for a task and wait for one up to ``timeout_s`` (at most 50)."""
        return self._write(
            ClaimAnswer,
            "POST",
            f"/v1/agents/{agent_id}/wait",
            request_id,
            wait_s=timeout_s,
            timeout_s=timeout_s,
            project_id=project_id,
        )

    @operation
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
    ) -> Request[ProgressResult]:
        """Say how far the work is. ``usage`` is what was used since the last report."""
        return self._write(
            ProgressResult,
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

    @operation
    def complete_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        summary: str,
        evidence: Json | None = None,
        usage: Json | None = None,
        request_id: str | None = None,
    ) -> Request[CompletionResult]:
        """Hand the work in. ``evidence`` may hold ``commit``, ``branch`` and ``links``."""
        return self._write(
            CompletionResult,
            "POST",
            f"/v1/tasks/{task_id}/complete",
            request_id,
            lease_token=lease_token,
            summary=summary,
            evidence=evidence,
            usage=usage,
        )

    @operation
    def release_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        reason: Literal["released", "failed", "blocked", "stopped"] = "released",
        note: str = "",
        request_id: str | None = None,
    ) -> Request[ReleaseResult]:
        return self._write(
            ReleaseResult,
            "POST",
            f"/v1/tasks/{task_id}/release",
            request_id,
            lease_token=lease_token,
            reason=reason,
            note=note,
        )

    @operation
    def approve_task(
        self,
        task_id: str,
        *,
        lease_token: int | None = None,
        report: str = "",
        request_id: str | None = None,
    ) -> Request[ApprovalResult]:
        """Accept work in review, or late work by its token; or lift a task's approval hold."""
        path = f"/v1/tasks/{task_id}/approve"
        return self._write(
            ApprovalResult, "POST", path, request_id, lease_token=lease_token, report=report
        )

    @operation
    def reject_task(
        self,
        task_id: str,
        *,
        reasons: Iterable[str],
        lease_token: int | None = None,
        report: str = "",
        request_id: str | None = None,
    ) -> Request[CompletionResult]:
        """Reject work in review, or late work by its token, with reasons for the next attempt."""
        return self._write(
            CompletionResult,
            "POST",
            f"/v1/tasks/{task_id}/reject",
            request_id,
            reasons=list(reasons),
            lease_token=lease_token,
            report=report,
        )

    @operation
    def explain_assignment(
        self, task_id: str, *, attempt: int | None = None
    ) -> Request[Explanation]:
        return self._query(Explanation, f"/v1/tasks/{task_id}/explanation", attempt=attempt)
