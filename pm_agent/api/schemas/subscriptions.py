"""Inputs of what is offered or told without being asked for each time."""

from typing import Annotated

from pydantic import Field

from pm_agent.api.schemas.pieces import (
    MAX_INT,
    MAX_LIST,
    AgentId,
    ItemId,
    Label,
    PriorityWord,
    Query,
    Write,
)


class SubscribeInput(Write):
    """Input of subscribe."""

    agent_id: AgentId = None
    skills: list[Label] = Field(
        default_factory=list, max_length=MAX_LIST, description="Tasks that require one of these."
    )
    labels: list[Label] = Field(
        default_factory=list, max_length=MAX_LIST, description="Tasks with one of these labels."
    )
    project_ids: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Tasks of one of these projects."
    )
    paths: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Tasks about files or folders that begin with one of these, as in 'src/api/'.",
    )
    min_priority: PriorityWord = Field("low", description="Tasks of this priority or a higher one.")
    webhook_url: str = Field(
        "",
        max_length=2_000,
        description="A public http(s) address to which matching tasks are posted, signed with the "
        "secret that this answers. Left out: wait_for_task and the event stream bring them.",
    )


class UnsubscribeInput(Write):
    """Input of unsubscribe."""

    subscription_id: str = Field(
        min_length=1, max_length=64, description="Id of the subscription, such as 'S-9'."
    )


After = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_INT,
        description="Position after which to begin; left out: with what comes now. The header "
        "Last-Event-ID says the same.",
    ),
]


class StreamEventsInput(Query):
    """Input of stream_events."""

    project_id: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Only events of this project.")
    ] = None
    agent_id: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Only events of this agent.")
    ] = None
    task_id: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Only events of this task.")
    ] = None
    after: After = None


class StreamAgentEventsInput(Query):
    """Input of stream_agent_events."""

    agent_id: Annotated[
        str, Field(min_length=1, max_length=64, description="Id of the agent, such as 'A-ada'.")
    ]
    after: After = None
