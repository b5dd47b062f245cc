"""Agents: autonomous coding agents registered with us, remote or managed."""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import NO_USAGE, Command, Event, EventData, Usage
from pm_agent.domain.hold import Hold
from pm_agent.domain.ids import AgentId, ProjectId, TaskId
from pm_agent.domain.message import take_from_inbox
from pm_agent.domain.signature import Signature
from pm_agent.domain.subscription import drop_subscription
from pm_agent.domain.task import Skill

if TYPE_CHECKING:
    from pm_agent.domain.world import World

AgentKind = Literal["remote", "managed"]
AgentRole = Literal["worker", "lead"]


class Agent(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: AgentId
    name: str
    role: AgentRole = "worker"
    kind: AgentKind = "remote"
    skills: tuple[Skill, ...] = ()  # sorted by name, one entry a skill
    project_ids: tuple[ProjectId, ...] = ()  # empty: every project
    capacity: int = 1  # tasks at a time
    sends_heartbeats: bool = False  # a sidecar or worker signs every 30 s; else any request counts
    registered_at_us: int = 0
    holds: tuple[Hold, ...] = ()
    active: tuple[TaskId, ...] = ()  # tasks it holds a lease on
    usage: Usage = NO_USAGE
    left_at_us: int = 0  # it has left the team; 0: it has not, or came back

    @property
    def signature(self) -> Signature:
        return self.skills, self.project_ids


class RegisterAgent(Command, frozen=True, kw_only=True):
    """Register, or change the profile of an agent that exists."""

    agent_id: AgentId
    name: str
    skills: tuple[Skill, ...] = ()
    role: AgentRole = "worker"
    kind: AgentKind = "remote"
    capacity: int = 1
    project_ids: tuple[ProjectId, ...] = ()
    sends_heartbeats: bool = False


class HeartbeatAgent(Command, frozen=True, kw_only=True):
    """A sign of life. Renews leases by presence; never journaled."""

    agent_id: AgentId


class LeaveTeam(Command, frozen=True, kw_only=True):
    """The agent goes for good, or until it registers again."""

    agent_id: AgentId


class AgentRegistered(EventData, frozen=True, kw_only=True):
    agent_id: AgentId
    name: str
    skills: tuple[Skill, ...] = ()
    role: AgentRole = "worker"
    kind: AgentKind = "remote"
    capacity: int = 1
    project_ids: tuple[ProjectId, ...] = ()
    sends_heartbeats: bool = False


class AgentLeft(EventData, frozen=True, kw_only=True):
    agent_id: AgentId


def _registered(world: "World", event: Event, data: AgentRegistered) -> None:
    before = world.agents.get(data.agent_id)
    fields = {
        field: getattr(data, field) for field in data.__struct_fields__ if field != "agent_id"
    }
    if before is not None:
        agent = msgspec.structs.replace(before, left_at_us=0, **fields)
    else:
        agent = Agent(id=data.agent_id, registered_at_us=event.at_us, **fields)
    world.put_agent(agent)


def _left(world: "World", event: Event, data: AgentLeft) -> None:
    """Nothing is kept for it: what it had not read is gone for it, and not for the others."""
    known = world.agents[data.agent_id]
    world.put_agent(msgspec.structs.replace(known, left_at_us=event.at_us))
    inbox = world.inboxes.get(data.agent_id)
    if inbox is not None:
        take_from_inbox(world, data.agent_id, inbox.unread)
    for subscription_id in list(world.watchlists.of_agent.get(data.agent_id, ())):
        drop_subscription(world, subscription_id)


APPLY = {AgentRegistered: _registered, AgentLeft: _left}
