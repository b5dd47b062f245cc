"""Methods about projects, holds, and the workspace."""

from typing import Any, Literal

from pm_agent.client.errors import Json
from pm_agent.client.sender import Answer, Scope, Sender


class ProjectOperations(Sender[Answer]):
    """Projects, what stops tasks from being given out, and the workspace."""

    def create_project(
        self,
        name: str,
        *,
        completion: Literal["auto", "command", "person"] = "auto",
        gate: Json | None = None,
        request_id: str | None = None,
        **limits: Any,
    ) -> Answer:
        """Create a project. ``gate`` holds ``argv``, ``cwd`` and ``timeout_s``."""
        return self._write(
            "POST",
            "/v1/projects",
            request_id,
            name=name,
            completion=completion,
            gate=gate,
            **limits,
        )

    def update_project(
        self, project_id: str, *, request_id: str | None = None, **changes: Any
    ) -> Answer:
        return self._write("PATCH", f"/v1/projects/{project_id}", request_id, **changes)

    def get_project_status(self, project_id: str) -> Answer:
        return self._query(f"/v1/projects/{project_id}")

    def list_projects(self) -> Answer:
        return self._query("/v1/projects")

    def place_hold(
        self,
        *,
        scope: Scope,
        target_id: str = "",
        kind: str = "paused",
        reason: str = "",
        until: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            "/v1/holds",
            request_id,
            scope=scope,
            target_id=target_id,
            kind=kind,
            reason=reason,
            until=until,
        )

    def lift_hold(
        self,
        *,
        scope: Scope,
        target_id: str = "",
        kind: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST", "/v1/holds/lift", request_id, scope=scope, target_id=target_id, kind=kind
        )

    def get_status(self) -> Answer:
        return self._query("/v1/status")

    def hand_over(self, *, drain_s: int = 2, request_id: str | None = None) -> Answer:
        """Let another server take the workspace over; this one writes no more."""
        return self._write("POST", "/v1/handover", request_id, wait_s=drain_s, drain_s=drain_s)
