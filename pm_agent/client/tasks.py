"""Methods about tasks."""

from collections.abc import Iterable
from typing import Any, Literal

from pm_agent.client.errors import Json
from pm_agent.client.sender import Answer, Sender


class TaskOperations(Sender[Answer]):
    """What a task is, and what is known of it."""

    def get_task_context(
        self, task_id: str, *, response_format: Literal["concise", "detailed"] = "concise"
    ) -> Answer:
        path = f"/v1/tasks/{task_id}/context"
        return self._query(path, response_format=response_format)

    def log_decision(
        self,
        task_id: str,
        *,
        decision: str,
        lease_token: int | None = None,
        affects: Iterable[str] = (),
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/decisions",
            request_id,
            lease_token=lease_token,
            decision=decision,
            affects=list(affects) or None,
        )

    def log_artifact(
        self,
        task_id: str,
        *,
        name: str,
        uri: str,
        note: str = "",
        lease_token: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/artifacts",
            request_id,
            lease_token=lease_token,
            name=name,
            uri=uri,
            note=note,
        )

    def create_task(
        self, project_id: str, *, title: str, request_id: str | None = None, **fields: Any
    ) -> Answer:
        path = f"/v1/projects/{project_id}/tasks"
        return self._write("POST", path, request_id, title=title, **fields)

    def update_task(self, task_id: str, *, request_id: str | None = None, **changes: Any) -> Answer:
        return self._write("PATCH", f"/v1/tasks/{task_id}", request_id, **changes)

    def search_tasks(self, **filters: Any) -> Answer:
        return self._query("/v1/tasks", **filters)

    def import_tasks(
        self, project_id: str, tasks: Iterable[Json], *, request_id: str | None = None
    ) -> Answer:
        """Create many tasks, all or none; dependencies may name keys of the same import."""
        path = f"/v1/projects/{project_id}/import"
        return self._write("POST", path, request_id, tasks=list(tasks))

    def cancel_task(
        self, task_id: str, *, reason: str = "", request_id: str | None = None
    ) -> Answer:
        return self._write("POST", f"/v1/tasks/{task_id}/cancel", request_id, reason=reason)

    def reopen_task(self, task_id: str, *, reason: str, request_id: str | None = None) -> Answer:
        return self._write("POST", f"/v1/tasks/{task_id}/reopen", request_id, reason=reason)

    def get_task_history(self, task_id: str, *, limit: int | None = None) -> Answer:
        return self._query(f"/v1/tasks/{task_id}/history", limit=limit)
