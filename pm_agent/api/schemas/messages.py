"""Inputs of what agents say to each other."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import MAX_PAGE, AgentId, LongAnswer, Write

MAX_MESSAGE = 4_000
OtherAgent = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the other agent, such as 'A-bob'.")
]
Urgency = Annotated[
    Literal["normal", "urgent"],
    Field(description="'urgent' makes every reply remind the reader until it is read."),
]
MessageText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_MESSAGE,
        description="What you say, in a few sentences. Name files and branches rather than copying "
        "them.",
    ),
]
MessageId = Annotated[str, Field(min_length=1, max_length=64)]


class ReadMessagesInput(Write, LongAnswer):
    """Input of read_messages."""

    agent_id: AgentId = None
    acknowledge: list[MessageId] = Field(
        default_factory=list,
        max_length=200,
        description="Ids of messages you have read before: they leave your inbox.",
    )
    thread_id: str = Field(
        "", max_length=64, description="Show this whole conversation instead of what waits."
    )
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Messages to show, 1 to 100.")


class SendMessageInput(Write):
    """Input of send_agent_message."""

    to: OtherAgent
    text: MessageText
    urgency: Urgency = "normal"
    reply_to: str = Field(
        "", max_length=64, description="Id of the message you answer; keeps the thread together."
    )
    task_id: str = Field("", max_length=64, description="Id of the task it is about, if any.")


class BroadcastInput(Write):
    """Input of broadcast_update."""

    audience: Literal["team", "project", "skill"] = Field(
        "team", description="All agents, those of one project, or those with one skill."
    )
    target: str = Field(
        "", max_length=64, description="The project's id or the skill's name; empty for the team."
    )
    text: MessageText
    urgency: Urgency = "normal"
