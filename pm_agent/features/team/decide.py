"""Register agents and hear their heartbeats."""

from pm_agent.domain.agent import (
    Agent,
    AgentLeft,
    AgentRegistered,
    HeartbeatAgent,
    LeaveTeam,
    RegisterAgent,
)
from pm_agent.domain.errors import Forbidden, InvalidInput, WrongState
from pm_agent.domain.task import normal_skills
from pm_agent.domain.time import SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_agent, require_member, require_project, require_self
from pm_agent.kernel.leases import lease_state, lease_until_us, silence_allowance_us
from pm_agent.kernel.types import Context, Decision, Result

HEARTBEAT_S = 30


class LeaseState(Result, frozen=True, kw_only=True):
    """One lease that the agent holds."""

    task_id: str
    lease_token: int
    lease_until: str
    lease_state: str = ""  # live, quiet or suspect: say a word about a suspect one soon


class RegisterResult(Result, frozen=True, kw_only=True):
    """The agent's id, how often to sign, and what it holds already.

    An agent that comes back with its token goes on from here: its leases are renewed by asking.
    """

    agent_id: str
    heartbeat_s: int
    silence_s: int
    active_tasks: list[str] = []
    leases: list[LeaseState] = []  # of the active tasks; only for the agent itself


class HeartbeatResult(Result, frozen=True, kw_only=True):
    """All leases that the agent holds."""

    agent_id: str
    leases: list[LeaseState] = []


def register(world: World, command: RegisterAgent, context: Context) -> Decision:
    """Add an agent, or bring its profile up to date."""
    require_self(command.principal, command.agent_id)
    if command.principal.role == "worker" and command.role != "worker":
        message = "A worker agent cannot make itself a lead."
        raise Forbidden(message, "Ask an administrator for a token with the role lead.")
    for project_id in command.project_ids:
        require_project(world, project_id)
    if command.agent_id == "A-":
        message = "An agent's name needs at least one letter or digit."
        raise InvalidInput(message)
    data = AgentRegistered(
        agent_id=command.agent_id,
        name=command.name,
        skills=normal_skills(command.skills),
        role=command.role,
        kind=command.kind,
        capacity=command.capacity,
        project_ids=tuple(sorted(set(command.project_ids))),
        sends_heartbeats=command.sends_heartbeats,
    )
    known = world.agents.get(command.agent_id)
    is_same = (
        known is not None
        and not known.left_at_us
        and all(
            getattr(known, field) == getattr(data, field)
            for field in data.__struct_fields__
            if field != "agent_id"
        )
    )
    silence_us = silence_allowance_us(
        command.agent_id,
        context.presence,
        context.policy,
        sends_heartbeats=command.sends_heartbeats,
        earned_us=world.earned_silences.get(command.agent_id, 0),
    )
    result = RegisterResult(
        agent_id=command.agent_id,
        heartbeat_s=HEARTBEAT_S,
        silence_s=silence_us // SECOND_US,
        active_tasks=list(known.active) if known else [],
        leases=_leases(world, known, context)
        if known is not None and command.principal.kind == "agent"
        else [],
    )
    # A standing offer goes on under the new skills and projects.
    offer = context.presence.offers.get(command.agent_id)
    return Decision(events=[] if is_same else [data], result=result, offer=offer)


class LeaveResult(Result, frozen=True, kw_only=True):
    """The agent is no longer on the team."""

    agent_id: str
    state: str  # left


def leave(world: World, command: LeaveTeam, context: Context) -> Decision:
    """Take an agent off the team; it must hold no task."""
    require_self(command.principal, command.agent_id)
    agent = require_agent(world, command.agent_id)
    result = LeaveResult(agent_id=agent.id, state="left")
    if agent.left_at_us:
        return Decision(result=result)
    if agent.active:
        held = ", ".join(agent.active[:5])
        message = f"Agent {agent.id} still holds {held}."
        raise WrongState(message, "Hand them over or release them first, then leave.")
    return Decision(events=[AgentLeft(agent_id=agent.id)], result=result, withdraw=agent.id)


def heartbeat(world: World, command: HeartbeatAgent, context: Context) -> Decision:
    """Hear an agent; presence alone changes."""
    require_self(command.principal, command.agent_id)
    agent = require_member(world, command.agent_id)
    context.presence.hear(agent.id, context.now_us)
    leases = _leases(world, agent, context)
    return Decision(result=HeartbeatResult(agent_id=agent.id, leases=leases))


def _leases(world: World, agent: Agent, context: Context) -> list[LeaseState]:
    """Leases of an agent that was heard just now."""
    leases = []
    for task_id in agent.active:
        held = world.assignments[task_id]
        until_us = lease_until_us(held.silence_us, held.budget_us, context.now_us, held.heard_at_us)
        state = lease_state(held, world.tasks[task_id].state, context.presence, context.now_us)
        leases.append(
            LeaseState(
                task_id=task_id,
                lease_token=held.lease_token,
                lease_until=iso(until_us),
                lease_state=state,
            )
        )
    return leases
