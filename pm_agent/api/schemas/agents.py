"""Inputs about agents: who they are, and whether they are there."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import (
    MAX_LIST,
    MAX_PAGE,
    NAMED,
    AgentId,
    AgentSkills,
    Cursor,
    ItemId,
    LongAnswer,
    Query,
    Trimmed,
    Write,
)


class RegisterAgentInput(Write):
    """Input of register_agent."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NAMED,
        max_length=100,
        description="Your name, such as 'Ada'. The id follows from it.",
    )
    skills: AgentSkills = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="What you can do. A plain string such as 'python' means level 3.",
    )
    role: Literal["worker", "lead"] = Field("worker", description="'lead' may also plan.")
    kind: Literal["remote", "managed"] = Field(
        "remote", description="'managed' only for workers that PM Agent runs itself."
    )
    capacity: int = Field(1, ge=1, le=10_000, description="How many tasks you can hold at a time.")
    project_ids: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Your projects; empty means all."
    )
    sends_heartbeats: bool = Field(
        default=False,
        strict=True,
        description="True only if a program calls heartbeat_agent every 30 s for you; your leases "
        "are then shorter.",
    )


class HeartbeatAgentInput(Write):
    """Input of heartbeat_agent."""

    agent_id: AgentId = None


class AgentStatusInput(Query, LongAnswer):
    """Input of get_agent_status."""

    agent_id: AgentId = None


class ListAgentsInput(Query, LongAnswer):
    """Input of list_agents."""

    project_id: Annotated[
        str | None,
        Field(max_length=64, description="Only agents that may work on this project."),
    ] = None
    cursor: Cursor = ""
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Agents a page, 1 to 100.")


class LeaveTeamInput(Write):
    """Input of leave_team."""

    agent_id: AgentId = None
