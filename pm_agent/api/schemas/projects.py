"""Inputs about projects."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import (
    MAX_INT,
    MAX_LIST,
    NAMED,
    ExpectedVersion,
    Input,
    LongAnswer,
    ProjectId,
    Query,
    Trimmed,
    Write,
)


class GateInput(Input):
    """The fixed command that judges completions under the policy 'command'."""

    argv: list[Annotated[str, Field(max_length=1_000)]] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Program and arguments, such as ['make', 'test']. No shell is involved.",
    )
    cwd: str = Field("", max_length=500, description="Folder in which it runs.")
    timeout_s: int = Field(600, ge=1, le=3_600, description="Seconds after which it has failed.")


class CreateProjectInput(Write):
    """Input of create_project."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NAMED,
        max_length=100,
        description="Such as 'Web'. The id follows from it: 'P-web'.",
    )
    completion: Literal["auto", "command", "person"] = Field(
        "auto",
        description="How completions are judged: at once, by the gate's command, or by a person.",
    )
    gate: GateInput = Field(default_factory=GateInput, description="The command of 'command'.")
    max_in_progress: int = Field(
        0, ge=0, le=100_000, description="Tasks worked on at once; 0: no limit."
    )
    cost_cap_usd: float = Field(
        0.0, ge=0, le=1e9, allow_inf_nan=False, description="US dollars at most; 0: no cap."
    )
    token_cap: int = Field(0, ge=0, le=MAX_INT, description="Tokens at most; 0: no cap.")


class UpdateProjectInput(Write):
    """Input of update_project."""

    project_id: ProjectId
    expected_version: ExpectedVersion = None
    completion: Literal["auto", "command", "person"] | None = Field(
        None, description="How completions are judged."
    )
    gate: GateInput | None = Field(None, description="The command of the policy 'command'.")
    max_in_progress: int | None = Field(
        None, ge=0, le=100_000, description="Tasks worked on at once; 0: no limit."
    )
    cost_cap_usd: float | None = Field(
        None, ge=0, le=1e9, allow_inf_nan=False, description="US dollars at most; 0: no cap."
    )
    token_cap: int | None = Field(None, ge=0, le=MAX_INT, description="Tokens at most; 0: no cap.")
    retry_after_s: int | None = Field(
        None, ge=1, le=3_600, description="Hint for agents that found no task."
    )


class ProjectStatusInput(Query, LongAnswer):
    """Input of get_project_status."""

    project_id: ProjectId


class ListProjectsInput(Query, LongAnswer):
    """Input of list_projects."""
