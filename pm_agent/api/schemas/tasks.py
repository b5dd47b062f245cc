"""Inputs about tasks: what they are made of, and what is known of them."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import (
    MAX_LIST,
    MAX_PAGE,
    MAX_TEXT,
    MAX_TITLE,
    NOT_BLANK,
    Cursor,
    ExpectedVersion,
    Input,
    ItemId,
    Label,
    LongAnswer,
    OneProject,
    OptionalLeaseToken,
    PriorityWord,
    ProjectId,
    Query,
    Reason,
    ShortText,
    TaskId,
    TaskSkills,
    Trimmed,
    Write,
)

MAX_IMPORT = 10_000


class TaskFields(Input):
    """What a task is made of when it is created."""

    title: Trimmed = Field(
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=MAX_TITLE,
        description="What to do, in one line.",
    )
    key: Trimmed = Field(
        "",
        max_length=100,
        description="Your own name for the task, unique in its project. Others can depend on it.",
    )
    description: str = Field(
        "", max_length=MAX_TEXT, description="All that an agent needs to know to do it."
    )
    kind: str = Field(
        "task",
        min_length=1,
        max_length=40,
        description="Such as 'feature', 'bug', 'test'. Agents' track records are kept by kind.",
    )
    priority: PriorityWord = Field("normal", description="low, normal, high or urgent.")
    labels: list[Label] = Field(
        default_factory=list, max_length=MAX_LIST, description="Free labels to find it by."
    )
    skills: TaskSkills = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Skills an agent must have. A plain string such as 'python' means level 1.",
    )
    estimate_min: int = Field(
        0, ge=0, le=100_000, description="Expected minutes of work; 0 when unknown."
    )
    complexity: int = Field(
        0, ge=0, le=5, description="1 trivial to 5 hard; 0 lets the estimate decide."
    )
    acceptance_criteria: list[ShortText] = Field(
        default_factory=list, max_length=MAX_LIST, description="What must be true when it is done."
    )
    path_hints: list[Annotated[str, Field(max_length=500)]] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Files or folders it is likely about.",
    )
    dependencies: list[ItemId] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Ids or keys of tasks that must be done first.",
    )
    needs_approval: bool = Field(
        default=False, strict=True, description="True: nobody gets it until a person approves it."
    )


class TaskContextInput(Query):
    """Input of get_task_context."""

    task_id: TaskId
    response_format: Literal["concise", "detailed"] = Field(
        "concise", description="'detailed' adds all attempts, closed blockers and full texts."
    )


class LogDecisionInput(Write):
    """Input of log_decision."""

    task_id: TaskId
    lease_token: OptionalLeaseToken = None
    decision: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What you decided, and why."
    )
    affects: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Ids of other tasks it matters to."
    )


class LogArtifactInput(Write):
    """Input of log_artifact."""

    task_id: TaskId
    lease_token: OptionalLeaseToken = None
    name: Trimmed = Field(
        min_length=1, json_schema_extra=NOT_BLANK, max_length=MAX_TITLE, description="What it is."
    )
    uri: str = Field(
        min_length=1, max_length=2_000, description="Where it lies: a path, branch or link."
    )
    note: str = Field("", max_length=MAX_TEXT, description="How to use it.")


class CreateTaskInput(Write, TaskFields):
    """Input of create_task."""

    project_id: ProjectId


class UpdateTaskInput(Write):
    """Input of update_task."""

    task_id: TaskId
    expected_version: ExpectedVersion = None
    title: Trimmed | None = Field(
        None,
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=MAX_TITLE,
        description="New title.",
    )
    description: str | None = Field(None, max_length=MAX_TEXT, description="New description.")
    priority: PriorityWord | None = Field(None, description="low, normal, high or urgent.")
    labels: list[Label] | None = Field(None, max_length=MAX_LIST, description="All labels.")
    skills: TaskSkills | None = Field(
        None,
        max_length=MAX_LIST,
        description="All skills required. A plain string such as 'python' means level 1.",
    )
    estimate_min: int | None = Field(None, ge=0, le=100_000, description="Minutes of work.")
    complexity: int | None = Field(None, ge=0, le=5, description="1 trivial to 5 hard; 0 unset.")
    acceptance_criteria: list[ShortText] | None = Field(
        None, max_length=MAX_LIST, description="What must be true when it is done."
    )
    path_hints: list[Annotated[str, Field(max_length=500)]] | None = Field(
        None, max_length=MAX_LIST, description="Files or folders it is likely about."
    )
    dependencies: list[ItemId] | None = Field(
        None, max_length=MAX_LIST, description="Ids of all tasks that must be done first."
    )


class SearchTasksInput(Query, LongAnswer):
    """Input of search_tasks."""

    query: str = Field(
        "",
        max_length=200,
        description="Words that title, key or labels must contain, or a task id. Descriptions are "
        "not searched.",
    )
    state: (
        Literal[
            "ready", "open", "assigned", "blocked", "in_review", "done", "cancelled", "dead_letter"
        ]
        | None
    ) = Field(None, description="Only tasks in this state; 'ready' can be started now.")
    project_id: OneProject = None
    label: str = Field("", max_length=60, description="Only tasks with this label.")
    agent_id: Annotated[
        str | None, Field(max_length=64, description="Only tasks that this agent holds.")
    ] = None
    cursor: Cursor = ""
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Tasks a page, 1 to 100.")


class ImportTasksInput(Write):
    """Input of import_tasks."""

    project_id: ProjectId
    tasks: list[TaskFields] = Field(
        min_length=1,
        max_length=MAX_IMPORT,
        description="Tasks to create, all or none. Dependencies may name keys of the same import.",
    )


class CancelTaskInput(Write):
    """Input of cancel_task."""

    task_id: TaskId
    reason: Reason = ""


class ReopenTaskInput(Write):
    """Input of reopen_task."""

    task_id: TaskId
    reason: Annotated[str, Field(min_length=1, max_length=2_000, description="Why it is reopened.")]


class TaskHistoryInput(Query, LongAnswer):
    """Input of get_task_history."""

    task_id: TaskId
    limit: int = Field(100, ge=1, le=1_000, description="How many of the newest events.")
