"""What every command and event carries: who, why and when. Not their contents.

Structs that hold values only, and so never each other in a circle, are declared ``gc=False`` here
and elsewhere: a full collection need not walk the hundred thousands of them that a world keeps.
"""

from typing import ClassVar, Literal

import msgspec

PrincipalKind = Literal["agent", "person", "system"]
Role = Literal["worker", "lead", "admin", "system"]
DEFAULT_WORKSPACE = "main"


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who acts. Written as ``agent:A-ada``; every event names one."""

    kind: PrincipalKind
    id: str
    role: Role = "worker"

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


SYSTEM = Principal(kind="system", id="pm-agent", role="system")


class Command(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    tag=True,
    forbid_unknown_fields=True,
    omit_defaults=True,  # a new field with a default must not change the digest of an old request
):
    """A request to decide. Same ``request_id`` and body: same reply, one effect."""

    request_id: str
    principal: Principal
    workspace_id: str = DEFAULT_WORKSPACE

    def lasting(self) -> "Command":
        """Return the command without what a retry may rightly change, such as a deadline."""
        return self


class EventData(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag=True, omit_defaults=True):
    """A fact decided. The class name is its name for ever; shapes change by ``schema_version``."""

    schema_version: ClassVar[int] = 1
    # True when the event ends an attempt: effects asked for by that attempt are dropped.
    ends_attempt: ClassVar[bool] = False
    # True when it ends the task: effects of all its attempts are dropped.
    ends_task: ClassVar[bool] = False


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the journal."""

    position: int
    at_us: int
    epoch: int
    principal: str
    cause: str  # the request id of the command
    data: EventData

    @property
    def kind(self) -> str:
        return type(self.data).__name__


def subject_of(data: EventData) -> str:
    """Return the id under which the journal indexes an event: its task, else agent, else target.

    A message is indexed by its thread.
    """
    for field in ("task_id", "agent_id", "project_id", "target_id", "thread_id"):
        value = getattr(data, field, None)
        if value:
            return str(value)
    return ""


class Body(msgspec.Struct, frozen=True, gc=False):
    """A free text kept apart from the events, so that it can be erased."""

    ref: str  # hex instant, a dot, and the hex SHA-256 of salt + text
    salt: bytes
    text: str


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What work has cost: tokens, and money in millionths of a US dollar."""

    tokens: int = 0
    cost_microusd: int = 0

    def plus(self, other: "Usage") -> "Usage":
        if not other.tokens and not other.cost_microusd:
            return self  # most reports carry no use
        return Usage(self.tokens + other.tokens, self.cost_microusd + other.cost_microusd)

    def less(self, used: "Usage") -> "Usage":
        """What is left of it after some use: never below zero."""
        if not used.tokens and not used.cost_microusd:
            return self  # an attempt that has just begun
        tokens = self.tokens - used.tokens
        cost_microusd = self.cost_microusd - used.cost_microusd
        return Usage(max(0, tokens), max(0, cost_microusd))


NO_USAGE = Usage()
