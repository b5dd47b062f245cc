"""Inputs about what stops a task."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import (
    MAX_TEXT,
    LeaseToken,
    LongAnswer,
    OneProject,
    Query,
    TaskId,
    TaskSkills,
    Write,
)

BlockerId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the blocker, such as 'B-7'.")
]


class ReportBlockerInput(Write):
    """Input of report_blocker."""

    task_id: TaskId
    lease_token: LeaseToken
    description: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What stops you, and what you have tried."
    )
    severity: Literal["low", "medium", "high"] = Field("medium", description="How bad it is.")
    release: bool = Field(
        default=False,
        strict=True,
        description="True: give the task back. False: keep it and wait for an answer.",
    )
    blocker_type: Literal[
        "dependency", "needs_input", "capability", "environment", "transient", "other"
    ] = Field(
        "other",
        description="dependency: other work is missing. needs_input: a decision or answer is. "
        "capability: another agent could do it. environment: tools, access or machines. "
        "transient: it should go away by itself.",
    )
    needs_task_ids: list[TaskId] = Field(
        [], max_length=10, description="Tasks whose work is missing, if you know them."
    )
    needs_skills: TaskSkills = Field(
        [], max_length=10, description="Skills that the task needs and you lack."
    )


class ReportFixInput(Write):
    """Input of report_fix."""

    blocker_id: BlockerId
    lease_token: LeaseToken
    worked: bool = Field(description="True: it is gone, and you go on. False: it did not help.")
    note: str = Field(
        "", max_length=MAX_TEXT, description="What you did, or what happened when you tried."
    )


class ResolveBlockerInput(Write):
    """Input of resolve_blocker."""

    blocker_id: BlockerId
    resolution: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What to do now, or what was done about it."
    )


class ListBlockersInput(Query, LongAnswer):
    """Input of list_blockers."""

    project_id: OneProject = None
    include_resolved: bool = Field(default=False, description="True: resolved ones too.")


class AcknowledgeBlockerInput(Write):
    """Input of acknowledge_blocker."""

    blocker_id: BlockerId
