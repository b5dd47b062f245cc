"""Inputs about the workspace and the server itself."""

from typing import Annotated

from pydantic import Field

from pm_agent.api.schemas.pieces import LongAnswer, Query, Write


class StatusInput(Query, LongAnswer):
    """Input of get_status."""


class HandOverInput(Write):
    """Input of hand_over."""

    drain_s: int = Field(
        2,
        ge=0,
        le=20,
        description="Seconds in which nothing new is taken on and reports still are, so that load "
        "balancers see that this server is not ready.",
    )


class OperationInput(Query):
    """Input of get_operation."""

    operation_id: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2_000,
            pattern="^[A-Za-z0-9_-]+$",
            description="Id from the answer with status 202.",
        ),
    ]
