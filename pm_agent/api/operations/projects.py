"""Operations on projects."""

from pm_agent.api.handlers import projects as handlers
from pm_agent.api.handlers.call import sends
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import projects as schemas
from pm_agent.domain import project
from pm_agent.features.backlog import status as backlog_status
from pm_agent.features.backlog.decide import ProjectResult

PROJECTS: tuple[Operation, ...] = (
    Operation(
        name="create_project",
        kind="command",
        tier="lead",
        work="claim",
        method="POST",
        path="/v1/projects",
        scope="pm:plan",
        input=schemas.CreateProjectInput,
        result=ProjectResult,
        command=project.CreateProject,
        handler=sends(project.CreateProject),
        status=201,
        help="Call this to create a project: tasks with one goal.",
    ),
    Operation(
        name="update_project",
        kind="command",
        tier="lead",
        work="claim",
        method="PATCH",
        path="/v1/projects/{project_id}",
        scope="pm:plan",
        input=schemas.UpdateProjectInput,
        result=ProjectResult,
        command=project.UpdateProject,
        handler=handlers.update_project,
        destructive=True,
        idempotent=True,
        has_version=True,
        gives_version=True,
        help="Call this to change how a project's completions are judged, or its limits.",
    ),
    Operation(
        name="get_project_status",
        kind="query",
        tier="wider",
        work="board_read",
        method="GET",
        path="/v1/projects/{project_id}",
        scope="pm:read",
        input=schemas.ProjectStatusInput,
        result=backlog_status.ProjectStatus,
        handler=handlers.project_status,
        idempotent=True,
        gives_version=True,
        help="Call this to see where a project stands: tasks by state, who works on what, open "
        "blockers, holds and cost, and what keeps work from being done, with the remedy.",
    ),
    Operation(
        name="list_projects",
        kind="query",
        tier="wider",
        work="admin_read",
        method="GET",
        path="/v1/projects",
        scope="pm:read",
        input=schemas.ListProjectsInput,
        result=backlog_status.ProjectList,
        handler=handlers.list_projects,
        idempotent=True,
        is_for_all_projects=True,
        help="Call this to list all projects with their tasks by state.",
    ),
)
