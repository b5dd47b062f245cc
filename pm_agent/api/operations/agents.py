"""Operations on agents: who they are, and whether they are there."""

from pm_agent.api.handlers import agents as handlers
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import agents as schemas
from pm_agent.domain import agent
from pm_agent.features.team import view as team_view
from pm_agent.features.team.decide import HeartbeatResult, LeaveResult

AGENTS: tuple[Operation, ...] = (
    Operation(
        name="register_agent",
        kind="command",
        tier="core",
        work="claim",
        method="POST",
        path="/v1/agents",
        scope="pm:work",
        input=schemas.RegisterAgentInput,
        result=handlers.RegisterAnswer,
        command=agent.RegisterAgent,
        handler=handlers.register_agent,
        reads_first=True,
        idempotent=True,
        help="Call this first, once, to say who you are and what you can do; call it again to "
        "change that, or after a restart. Returns your agent_id and the leases you hold.",
    ),
    Operation(
        name="heartbeat_agent",
        kind="command",
        tier="wider",
        work="completion",
        method="POST",
        path="/v1/agents/{agent_id}/heartbeat",
        scope="pm:work",
        input=schemas.HeartbeatAgentInput,
        result=HeartbeatResult,
        command=agent.HeartbeatAgent,
        handler=handlers.heartbeat,
        idempotent=True,
        help="Call this every 30 s from a program beside the agent, if it registered with "
        "sends_heartbeats. Every other call is a sign of life too.",
    ),
    Operation(
        name="get_agent_status",
        kind="query",
        tier="wider",
        work="board_read",
        method="GET",
        path="/v1/agents/{agent_id}",
        scope="pm:read",
        input=schemas.AgentStatusInput,
        result=team_view.AgentStatus,
        handler=handlers.agent_status,
        idempotent=True,
        help="Call this to see which tasks an agent holds, with their lease tokens; your own, for "
        "example after a restart.",
    ),
    Operation(
        name="list_agents",
        kind="query",
        tier="wider",
        work="admin_read",
        method="GET",
        path="/v1/agents",
        scope="pm:read",
        input=schemas.ListAgentsInput,
        result=team_view.AgentPage,
        handler=handlers.list_agents,
        idempotent=True,
        help="Call this to see which agents there are, what they can do and how busy they are.",
    ),
    Operation(
        name="leave_team",
        kind="command",
        tier="wider",
        work="completion",
        method="POST",
        path="/v1/agents/{agent_id}/leave",
        scope="pm:work",
        input=schemas.LeaveTeamInput,
        result=LeaveResult,
        command=agent.LeaveTeam,
        handler=handlers.leave_team,
        destructive=True,
        idempotent=True,
        help="Call this when you will not work here any more, without tasks in hand. Nobody writes "
        "to you or counts on you from then on; registering brings you back.",
    ),
)
