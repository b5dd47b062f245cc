"""Inputs of what stops tasks from being given out."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import Reason, Write


class PlaceHoldInput(Write):
    """Input of place_hold."""

    scope: Literal["workspace", "project", "agent", "task"] = Field(description="What is held.")
    target_id: str = Field(
        "", max_length=64, description="Id of the project, agent or task; empty for the workspace."
    )
    kind: Literal["paused", "approval", "stopped", "scheduled"] = Field(
        "paused", description="'stopped' also tells running agents to stop."
    )
    reason: Reason = ""
    until: datetime | None = Field(
        None, description="When it lifts itself, ISO 8601 with time zone; left out: when lifted."
    )


class LiftHoldInput(Write):
    """Input of lift_hold."""

    scope: Literal["workspace", "project", "agent", "task"] = Field(description="What is held.")
    target_id: str = Field(
        "", max_length=64, description="Id of the project, agent or task; empty for the workspace."
    )
    kind: Literal["paused", "approval", "stopped", "budget", "scheduled"] | None = Field(
        None, description="Which kind; left out: all kinds."
    )
