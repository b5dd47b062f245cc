"""Methods about tasks."""

from collections.abc import Iterable
from typing import Any, Literal

from pm_agent.api.handlers.slow import OperationAnswer
from pm_agent.client.errors import Json
from pm_agent.client.request import Request
from pm_agent.client.sender import Sender, operation
from pm_agent.features.backlog.decide import ImportResult, LogResult, TaskResult
from pm_agent.features.backlog.history import TaskHistory
from pm_agent.features.backlog.search import TaskPage
from pm_agent.features.backlog.view import TaskContext


class TaskOperations(Sender):
    """What a task is, and what is known of it."""

    @operation
    def get_task_context(
        self, task_id: str, *, response_format: Literal["concise", "detailed"] = "concise"
    ) -> Request[TaskContext]:
        path = f"/v1/tasks/{task_id}/context"
        return self._query(TaskContext, path, response_format=response_format)

    @operation
    def log_decision(
        self,
        task_id: str,
        *,
        decision: str,
        lease_token: int | None = None,
        affects: Iterable[str] = (),
        request_id: str | None = None,
    ) -> Request[LogResult]:
        return self._write(
            LogResult,
            "POST",
            f"/v1/tasks/{task_id}/decisions",
            request_id,
            lease_token=lease_token,
            decision=decision,
            affects=list(affects) or None,
        )

    @operation
    def log_artifact(
        self,
        task_id: str,
        *,
        name: str,
        uri: str,
        note: str = "",
        lease_token: int | None = None,
        request_id: str | None = None,
    ) -> Request[LogResult]:
        return self._write(
            LogResult,
            "POST",
            f"/v1/tasks/{task_id}/artifacts",
            request_id,
            lease_token=lease_token,
            name=name,
            uri=uri,
            note=note,
        )

    @operation
    def create_task(
        self, /, project_id: str, *, title: str, request_id: str | None = None, **fields: Any
    ) -> Request[TaskResult]:
        path = f"/v1/projects/{project_id}/tasks"
        return self._write(TaskResult, "POST", path, request_id, title=title, **fields)

    @operation
    def update_task(
        self, /, task_id: str, *, request_id: str | None = None, **changes: Any
    ) -> Request[TaskResult]:
        return self._write(TaskResult, "PATCH", f"/v1/tasks/{task_id}", request_id, **changes)

    @operation
    def search_tasks(self, /, **filters: Any) -> Request[TaskPage]:
        return self._query(TaskPage, "/v1/tasks", **filters)

    @operation
    def import_tasks(
        self, project_id: str, tasks: Iterable[Json], *, request_id: str | None = None
    ) -> Request[ImportResult]:
        """Create many tasks, all or none; dependencies may name keys of the same import."""
        path = f"/v1/projects/{project_id}/import"
        return self._write(ImportResult, "POST", path, request_id, tasks=list(tasks))

    @operation
    def begin_import_tasks(
        self, project_id: str, tasks: Iterable[Json], *, request_id: str | None = None
    ) -> Request[OperationAnswer]:
        """As `import_tasks`, answered at once; `wait_for_operation` tells how it ended."""
        path = f"/v1/projects/{project_id}/import"
        return self._begin("POST", path, request_id, tasks=list(tasks))

    @operation
    def cancel_task(
        self, task_id: str, *, reason: str = "", request_id: str | None = None
    ) -> Request[TaskResult]:
        return self._write(
            TaskResult, "POST", f"/v1/tasks/{task_id}/cancel", request_id, reason=reason
        )

    @operation
    def reopen_task(
        self, task_id: str, *, reason: str, request_id: str | None = None
    ) -> Request[TaskResult]:
        return self._write(
            TaskResult, "POST", f"/v1/tasks/{task_id}/reopen", request_id, reason=reason
        )

    @operation
    def get_task_history(self, task_id: str, *, limit: int | None = None) -> Request[TaskHistory]:
        return self._query(TaskHistory, f"/v1/tasks/{task_id}/history", limit=limit)
