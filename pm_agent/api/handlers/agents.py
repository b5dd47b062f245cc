"""What the operations on agents do."""

import msgspec

from pm_agent.api.cursor import seal, unseal
from pm_agent.api.handlers.access import issue
from pm_agent.api.handlers.call import Answer, Call, own
from pm_agent.api.schemas import agents as schemas
from pm_agent.domain import agent
from pm_agent.domain.envelope import Principal
from pm_agent.features.team import view as team_view
from pm_agent.features.team.decide import RegisterResult


class RegisterAnswer(RegisterResult, frozen=True, kw_only=True):
    """A registration, with an access token when it made one."""

    access_token: str = ""  # of a new agent, when an administrator registered it; shown once


async def register_agent(call: Call, given: schemas.RegisterAgentInput) -> Answer:
    """Register an agent; with a new one of an administrator comes its access token."""
    principal = call.principal
    command = call.command(agent.RegisterAgent, given)
    token_request = f"{call.request_id}:token"
    is_new = command.agent_id not in call.world.agents
    is_retry = (str(principal), token_request) in call.ingress.secrets
    if "pm:access" not in call.grant.scopes or not (is_new or is_retry):
        return call.reply(await call.submit(command))
    # Made before the agent is: a retry after a lost reply, or half of the work, finds it.
    call.ingress.secrets.of((str(principal), token_request))
    reply = await call.submit(command)
    owner = Principal("agent", command.agent_id, given.role)
    secret, _, issued = await issue(call, owner, token_request, "by registration")
    result = msgspec.json.decode(reply.result, type=RegisterAnswer)
    return call.reply(issued, msgspec.structs.replace(result, access_token=secret))


async def heartbeat(call: Call, given: schemas.HeartbeatAgentInput) -> Answer:
    """Hear an agent."""
    return call.reply(await call.submit(call.command(agent.HeartbeatAgent, own(call, given))))


async def leave_team(call: Call, given: schemas.LeaveTeamInput) -> Answer:
    """Take an agent off the team."""
    return call.reply(await call.submit(call.command(agent.LeaveTeam, own(call, given))))


async def agent_status(call: Call, given: schemas.AgentStatusInput) -> Answer:
    """Read one agent."""
    who = own(call, given).agent_id
    assert who is not None
    signs = await call.ingress.signs([who])
    return call.read(team_view.agent_status(call.world, who, signs))


async def list_agents(call: Call, given: schemas.ListAgentsInput) -> Answer:
    """Read all agents, by pages."""
    key = call.cursor_key
    asked = given.model_dump(exclude={"response_format"}) | {
        "cursor": unseal(key, "list_agents", given)
    }
    page = team_view.list_agents(call.world, **asked)
    after = seal(key, "list_agents", given, page.next_cursor)
    page = msgspec.structs.replace(page, next_cursor=after)
    signs = await call.ingress.signs(item.agent_id for item in page.agents if item.active_tasks)
    return call.read(team_view.with_lease_states(call.world, page, signs))
