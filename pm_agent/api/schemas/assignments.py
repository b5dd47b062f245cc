"""Inputs about an agent's work on a task, from the claim to the verdict."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import (
    MAX_INT,
    MAX_LIST,
    MAX_TEXT,
    AgentId,
    Input,
    LateToken,
    LeaseToken,
    Link,
    LongAnswer,
    OneProject,
    Query,
    TaskId,
    Write,
)

MAX_WAIT_S = 50  # Codex cuts tool calls at 60 s, whatever progress they report
DEFAULT_WAIT_S = 45


class UsageInput(Input):
    """What the work has cost since your last report."""

    tokens: int = Field(0, ge=0, le=MAX_INT, description="Language model tokens used.")
    cost_usd: float = Field(
        0.0, ge=0, le=1_000_000, allow_inf_nan=False, description="Money spent, in US dollars."
    )


Usage = Annotated[
    UsageInput,
    Field(default_factory=UsageInput, description="Tokens and money used since your last report."),
]


class EvidenceInput(Input):
    """What shows that the task is done."""

    commit: str = Field("", max_length=100, description="Hash of the commit with the work.")
    branch: str = Field("", max_length=200, description="Branch with the work.")
    links: list[Link] = Field(
        default_factory=list, max_length=MAX_LIST, description="Pull requests, builds, documents."
    )


class RequestNextTaskInput(Write):
    """Input of request_next_task."""

    agent_id: AgentId = None
    project_id: OneProject = None


class WaitForTaskInput(Write):
    """Input of wait_for_task."""

    agent_id: AgentId = None
    project_id: OneProject = None
    timeout_s: int = Field(
        DEFAULT_WAIT_S, ge=0, le=MAX_WAIT_S, description="Seconds to wait at most, 0 to 50."
    )


class ReportProgressInput(Write):
    """Input of report_task_progress."""

    task_id: TaskId
    lease_token: LeaseToken
    percent: int = Field(ge=0, le=100, description="How much is done, 0 to 100.")
    note: str = Field(
        "",
        max_length=MAX_TEXT,
        description="What you did and what comes next. The next agent starts from it if you stop.",
    )
    where: str = Field("", max_length=500, description="Branch or folder where the work lies.")
    usage: Usage
    expect_silence_s: int = Field(
        0,
        ge=0,
        le=7_200,
        description="Seconds you may be silent now, e.g. for a long build; at most two hours.",
    )


class CompleteTaskInput(Write):
    """Input of complete_task."""

    task_id: TaskId
    lease_token: LeaseToken
    summary: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What was done, for whoever builds on it."
    )
    evidence: EvidenceInput = Field(
        default_factory=EvidenceInput, description="Commit, branch and links that show the work."
    )
    usage: Usage


class ReleaseTaskInput(Write):
    """Input of release_task."""

    task_id: TaskId
    lease_token: LeaseToken
    reason: Literal["released", "failed", "blocked", "stopped"] = Field(
        "released",
        description="'failed' counts as a failed attempt; 'stopped' when you were told to stop.",
    )
    note: str = Field(
        "", max_length=MAX_TEXT, description="Where the work stands, for the next agent."
    )


class ApproveTaskInput(Write):
    """Input of approve_task."""

    task_id: TaskId
    lease_token: LateToken = None
    report: str = Field("", max_length=MAX_TEXT, description="What you looked at; optional.")


class RejectTaskInput(Write):
    """Input of reject_task."""

    task_id: TaskId
    reasons: list[Annotated[str, Field(min_length=1, max_length=2_000)]] = Field(
        min_length=1,
        max_length=MAX_LIST,
        description="What is missing or wrong; the next attempt starts from it.",
    )
    lease_token: LateToken = None
    report: str = Field("", max_length=MAX_TEXT, description="More about it; optional.")


class ExplainAssignmentInput(Query, LongAnswer):
    """Input of explain_assignment."""

    task_id: TaskId
    attempt: int | None = Field(
        None, ge=1, le=MAX_INT, description="Which attempt; left out, the newest."
    )
