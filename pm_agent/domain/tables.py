"""The tables of the world: what a snapshot stores, and what a fingerprint covers."""

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from pm_agent.domain.access import AccessToken, ApiKey
from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import Assignment
from pm_agent.domain.blocker import Blocker
from pm_agent.domain.case import Case, StepKind
from pm_agent.domain.collaboration import Collaboration
from pm_agent.domain.envelope import DEFAULT_WORKSPACE
from pm_agent.domain.handoff import Handoff
from pm_agent.domain.hold import Hold
from pm_agent.domain.ids import (
    AgentId,
    BlockerId,
    CollaborationId,
    HandoffId,
    MessageId,
    ProjectId,
    SubscriptionId,
    TaskId,
)
from pm_agent.domain.instruction import Instruction
from pm_agent.domain.message import Inbox, Message
from pm_agent.domain.project import Project
from pm_agent.domain.subscription import Subscription
from pm_agent.domain.task import Task
from pm_agent.domain.tombstone import Tombstones
from pm_agent.domain.track_record import TrackRecord


class Tables(msgspec.Struct, kw_only=True):
    """What a snapshot stores. Everything else in the world follows from it."""

    workspace_id: str = DEFAULT_WORKSPACE
    position: int = 0
    epoch: int = 0
    now_us: int = 0  # instant of the last event
    next_task_number: int = 1
    next_blocker_number: int = 1
    messages_sent: int = 0
    handoffs_offered: int = 0
    collaborations_requested: int = 0
    subscriptions_made: int = 0
    tasks_created: int = 0
    tasks: dict[TaskId, Task] = {}
    tombstones: Tombstones = msgspec.field(default_factory=Tombstones)
    agents: dict[AgentId, Agent] = {}
    projects: dict[ProjectId, Project] = {}
    assignments: dict[TaskId, Assignment] = {}
    blockers: dict[BlockerId, Blocker] = {}
    cases: dict[BlockerId, Case] = {}
    person_answer_us: int = 0  # how long people take who are asked, smoothed; 0: none answered yet
    step_us: dict[StepKind, int] = {}  # how long steps against blockers take, smoothed
    tokens: dict[str, AccessToken] = {}
    instructions: dict[TaskId, Instruction] = {}
    # agent id -> kind of task -> how it went
    track_records: dict[AgentId, dict[str, TrackRecord]] = {}
    workspace_holds: tuple[Hold, ...] = ()
    api_keys: dict[str, ApiKey] = {}
    denied: dict[str, int] = {}  # id of a short-lived token -> when it ends by itself
    messages: dict[MessageId, Message] = {}  # until every recipient has acknowledged them
    inboxes: dict[AgentId, Inbox] = {}  # those that are not empty
    handoffs: dict[HandoffId, Handoff] = {}  # that wait for an answer
    collaborations: dict[CollaborationId, Collaboration] = {}  # that nobody has taken up yet
    subscriptions: dict[SubscriptionId, Subscription] = {}
    earned_silences: dict[AgentId, int] = {}  # allowances granted by habit, above the common one


# Tables that came after the first release: an empty one is no part of the fingerprint, so that
# journals of before fold to what they always folded to.
LATER_TABLES = frozenset(
    {
        "api_keys",
        "cases",
        "person_answer_us",
        "step_us",
        "denied",
        "messages_sent",
        "handoffs_offered",
        "collaborations_requested",
        "subscriptions_made",
        "messages",
        "inboxes",
        "handoffs",
        "collaborations",
        "subscriptions",
        "earned_silences",
    }
)


def fingerprint_of(tables: Tables) -> str:
    """SHA-256 of all tables in canonical JSON: equal worlds, equal fingerprints."""
    digest = hashlib.sha256()
    for part in _canonical(tables):
        digest.update(part)
    return digest.hexdigest()


_encode = msgspec.json.Encoder(order="deterministic").encode
_PART = 1_024  # entries encoded at once: a whole table is as large as the world itself


def _canonical(tables: Tables) -> Iterator[bytes]:
    """Canonical JSON of all tables, in parts; tombstones as an object like the others."""
    opening = b"{"
    for name in Tables.__struct_fields__:
        value = getattr(tables, name)
        if name in LATER_TABLES and not value:
            continue
        yield opening + _encode(name) + b":"
        if isinstance(value, Tombstones):
            yield from _object(value.items())
        elif isinstance(value, dict):
            yield from _object((key, value[key]) for key in sorted(value))
        else:
            yield _encode(value)
        opening = b","
    yield b"}"


def _object(items: Iterator[tuple[str, Any]]) -> Iterator[bytes]:
    opening = b"{"
    while part := dict(islice(items, _PART)):
        yield opening + _encode(part)[1:-1]
        opening = b","
    yield b"}" if opening == b"," else b"{}"
