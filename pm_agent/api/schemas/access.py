"""Inputs about tokens and keys."""

from typing import Annotated, Literal

from pydantic import Field

from pm_agent.api.schemas.pieces import MAX_LIST, Input, ItemId, Query, Write
from pm_agent.domain.access import SCOPES, Scope


class OwnerInput(Input):
    """Who a token belongs to."""

    kind: Literal["agent", "person"] = Field(description="An agent or a person.")
    id: str = Field(
        min_length=1, max_length=64, description="Agent id ('A-ada') or a person's name."
    )
    role: Literal["worker", "lead", "admin"] = Field(
        "worker", description="What it may do: work; also plan; also manage tokens."
    )


class IssueTokenInput(Write):
    """Input of issue_token."""

    owner: OwnerInput = Field(description="Who the token belongs to.")
    label: str = Field("", max_length=100, description="What it is for.")


class RevokeTokenInput(Write):
    """Input of revoke_token."""

    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="The token's SHA-256 in hex, from issue_token.",
    )


KeyId = Annotated[str, Field(pattern="^[0-9a-f]{12}$", description="Id of the key.")]


class IssueKeyInput(Write):
    """Input of issue_key."""

    owner: OwnerInput = Field(description="Who the key belongs to.")
    scopes: list[Scope] = Field(
        default_factory=list,
        max_length=len(SCOPES),
        description="What it may do; empty: all that the owner's role may.",
    )
    project_ids: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Its projects; empty: all."
    )
    lasts_days: int = Field(
        90, ge=0, le=3_650, description="Days after which it expires; 0: never."
    )
    label: str = Field("", max_length=100, description="What it is for.")


class ListKeysInput(Query):
    """Input of list_keys."""


class RotateKeyInput(Write):
    """Input of rotate_key."""

    key_id: KeyId
    overlap_h: int = Field(
        24, ge=0, le=720, description="Hours for which the old key lets in beside the new one."
    )


class RevokeKeyInput(Write):
    """Input of revoke_key."""

    key_id: KeyId


class ExchangeInput(Write):
    """Input of exchange_token."""

    scopes: list[Scope] = Field(
        default_factory=list,
        max_length=len(SCOPES),
        description="What the token may do; empty: all that the key may.",
    )
    lasts_s: int = Field(900, ge=1, le=900, description="Seconds it lasts, at most 15 minutes.")


class DenyTokenInput(Write):
    """Input of deny_token."""

    token_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Claim jti of the token; left out: the one that this request carries.",
    )
