"""Methods about projects, holds, and the workspace."""

from typing import Any, Literal

from pm_agent.api.handlers.slow import OperationAnswer
from pm_agent.api.handlers.workspace import HandOverAnswer
from pm_agent.client.errors import Json
from pm_agent.client.request import Request
from pm_agent.client.sender import Scope, Sender, operation
from pm_agent.features.backlog.decide import ProjectResult
from pm_agent.features.backlog.status import ProjectList, ProjectStatus, WorkspaceStatus
from pm_agent.features.holds.decide import HoldResult


class ProjectOperations(Sender):
    """Projects, what stops tasks from being given out, and the workspace."""

    @operation
    def create_project(
        self,
        /,
        name: str,
        *,
        completion: Literal["auto", "command", "person"] = "auto",
        gate: Json | None = None,
        request_id: str | None = None,
        **limits: Any,
    ) -> Request[ProjectResult]:
        """Create a project. ``gate`` holds ``argv``, ``cwd`` and ``timeout_s``."""
        return self._write(
            ProjectResult,
            "POST",
            "/v1/projects",
            request_id,
            name=name,
            completion=completion,
            gate=gate,
            **limits,
        )

    @operation
    def update_project(
        self, /, project_id: str, *, request_id: str | None = None, **changes: Any
    ) -> Request[ProjectResult]:
        return self._write(
            ProjectResult, "PATCH", f"/v1/projects/{project_id}", request_id, **changes
        )

    @operation
    def get_project_status(self, project_id: str) -> Request[ProjectStatus]:
        return self._query(ProjectStatus, f"/v1/projects/{project_id}")

    @operation
    def list_projects(self) -> Request[ProjectList]:
        return self._query(ProjectList, "/v1/projects")

    @operation
    def place_hold(
        self,
        *,
        scope: Scope,
        target_id: str = "",
        kind: str = "paused",
        reason: str = "",
        until: str | None = None,
        request_id: str | None = None,
    ) -> Request[HoldResult]:
        return self._write(
            HoldResult,
            "POST",
            "/v1/holds",
            request_id,
            scope=scope,
            target_id=target_id,
            kind=kind,
            reason=reason,
            until=until,
        )

    @operation
    def lift_hold(
        self,
        *,
        scope: Scope,
        target_id: str = "",
        kind: str | None = None,
        request_id: str | None = None,
    ) -> Request[HoldResult]:
        return self._write(
            HoldResult,
            "POST",
            "/v1/holds/lift",
            request_id,
            scope=scope,
            target_id=target_id,
            kind=kind,
        )

    @operation
    def get_status(self) -> Request[WorkspaceStatus]:
        return self._query(WorkspaceStatus, "/v1/status")

    @operation
    def hand_over(
        self, *, drain_s: int = 2, request_id: str | None = None
    ) -> Request[HandOverAnswer]:
        """Let another server take the workspace over; this one writes no more."""
        return self._write(
            HandOverAnswer, "POST", "/v1/handover", request_id, wait_s=drain_s, drain_s=drain_s
        )

    @operation
    def begin_hand_over(
        self, *, drain_s: int = 2, request_id: str | None = None
    ) -> Request[OperationAnswer]:
        """As `hand_over`, answered at once; `wait_for_operation` tells how it ended."""
        return self._begin("POST", "/v1/handover", request_id, drain_s=drain_s)

    @operation
    def get_operation(self, operation_id: str) -> Request[OperationAnswer]:
        """Ask after a slow operation, at whichever replica answers."""
        return self._query(OperationAnswer, f"/v1/operations/{operation_id}")
