"""Inputs of help and handoffs between agents."""

from typing import Annotated

from pydantic import Field

from pm_agent.api.schemas.messages import MAX_MESSAGE, OtherAgent
from pm_agent.api.schemas.pieces import MAX_LIST, LeaseToken, TaskId, TaskSkills, Write

Words = Annotated[
    str, Field(max_length=MAX_MESSAGE, description="What you want to say with it; may be empty.")
]
Accept = Annotated[bool, Field(description="True for yes, false for no.")]


class RequestCollaborationInput(Write):
    """Input of request_collaboration."""

    task_id: TaskId
    lease_token: LeaseToken
    need: str = Field(
        min_length=1,
        max_length=MAX_MESSAGE,
        description="What you need and what you tried; the agents that are asked read this.",
    )
    skills: TaskSkills = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Skills the helper must have. Left out: those of the task.",
    )
    blocker_id: str = Field(
        "", max_length=64, description="The open blocker that it is about, such as 'B-7'."
    )
    answer_within_s: int = Field(
        900, ge=30, le=86_400, description="Seconds until nobody is asked any more."
    )


class RespondToCollaborationInput(Write):
    """Input of respond_to_collaboration."""

    collaboration_id: str = Field(
        min_length=1, max_length=64, description="about_id of the message, such as 'C-4'."
    )
    accept: Accept
    note: Words = ""


class HandOffTaskInput(Write):
    """Input of handoff_task."""

    task_id: TaskId
    lease_token: LeaseToken
    to: OtherAgent
    note: str = Field(
        min_length=1,
        max_length=MAX_MESSAGE,
        description="What is done, what comes next, and why you hand it over.",
    )
    where: str = Field(
        "", max_length=500, description="Branch or folder of the work; left out: as last reported."
    )
    answer_within_s: int = Field(
        600, ge=30, le=86_400, description="Seconds after which the task stays with you."
    )


class RespondToHandoffInput(Write):
    """Input of respond_to_handoff."""

    handoff_id: str = Field(
        min_length=1, max_length=64, description="about_id of the message, such as 'H-2'."
    )
    accept: Accept
    note: Words = ""
