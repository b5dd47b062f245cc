"""What an ingress and a host see of the coordinator, wherever it runs.

`pm_agent.runtime.coordinator_loop.CoordinatorLoop` is one; `actors.coordinator.RemoteCoordinator`
is the same over Ray.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from pm_agent.domain.envelope import Body, Command
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.kernel.effects import Effect
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import Reply
from pm_agent.ports import Brief, GateRequest, StoredEvent, StoredSnapshot


class Feed(msgspec.Struct, frozen=True):
    """News for a follower: events in order, and the texts written with them."""

    events: list[StoredEvent] = []
    bodies: list[Body] = []


class EffectJob(msgspec.Struct, frozen=True):
    """An effect with all that its adapter needs, read at the moment it is handed out."""

    effect: Effect
    brief: Brief | None = None
    gate_request: GateRequest | None = None


class Health(msgspec.Struct, frozen=True):
    """How the coordinator is."""

    is_writable: bool
    position: int
    epoch: int
    n_waiting: int  # commands not decided yet
    reason: str = ""  # why it is not writable


class Coordinator(Protocol):
    """The single writer of a workspace, as its callers know it."""

    async def submit(self, commands: list[Command], heard: list[AgentId]) -> list[Reply]:
        """Decide commands; the replies come when their events are durable.

        ``heard`` are agents that showed signs of life without a command.

        Raises
        ------
        Unavailable
            Nothing is known of these commands; the same request ids may be sent again.
        """
        ...

    def follow(self, after: int) -> AsyncIterator[Feed]:
        """Everything after a position, then what comes, until the caller stops."""
        ...

    async def snapshot(self, project_id: ProjectId | None = None) -> StoredSnapshot:
        """Return the present world, or the part of it that is one project's open work."""
        ...

    async def projects(self) -> list[ProjectId]: ...

    async def history(self, subject: str, limit: int) -> list[StoredEvent]: ...

    async def event_at(self, position: int) -> StoredEvent | None: ...

    async def reply_to(self, principal: str, request_id: str) -> Reply | None:
        """What a request of the last 24 hours was answered; None when nothing of it is durable.

        Refusals change nothing and are in no journal: this process remembers the newest ones.
        """
        ...

    async def bodies(self, refs: list[str]) -> list[Body]: ...

    async def signs(self, agent_ids: list[AgentId]) -> Signs:
        """Last signs of life of some agents: no journal has them."""
        ...

    async def take_effects(self, wait_s: float) -> list[EffectJob]:
        """Effects to perform now; each is handed out again if no answer comes."""
        ...

    async def health(self) -> Health: ...

    async def hand_over(self) -> Health:
        """Finish what was taken, save a snapshot, and write no more: a successor may begin.

        Reading may go on or end with it. A second time changes nothing.

        Raises
        ------
        Unavailable
            It could not be reached, or what it took could not be finished.
        """
        ...
