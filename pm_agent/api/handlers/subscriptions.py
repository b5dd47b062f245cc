"""What the operations on subscriptions and streams do."""

import msgspec

from pm_agent.api.handlers.call import Answer, Call, own
from pm_agent.api.schemas import subscriptions as schemas
from pm_agent.api.stream import EventStream, Wanted, project_of
from pm_agent.domain.envelope import Event
from pm_agent.domain.ids import AgentId
from pm_agent.domain.message import MessageSent
from pm_agent.domain.subscription import Subscribe
from pm_agent.features.subscriptions.decide import SubscriptionResult
from pm_agent.kernel.fencing import require_agent, require_self


class SubscribeAnswer(SubscriptionResult, frozen=True, kw_only=True):
    """A new subscription, with the secret of its webhook when it has one."""

    secret: str = ""  # signs what is posted; shown once


async def subscribe(call: Call, given: schemas.SubscribeInput) -> Answer:
    """Keep a filter; the secret of a webhook leaves in this answer alone."""
    command = call.command(Subscribe, own(call, given))
    if not command.url:
        return call.reply(await call.submit(command))
    secret = call.ingress.secrets.of((str(call.principal), call.request_id))
    reply = await call.submit(msgspec.structs.replace(command, secret=secret))
    result = msgspec.json.decode(reply.result, type=SubscribeAnswer)
    return call.reply(reply, msgspec.structs.replace(result, secret=secret))


async def stream_events(call: Call, given: schemas.StreamEventsInput) -> Answer:
    """Follow the workspace, or one project, agent or task of it."""

    def is_wanted(event: Event) -> bool:
        data = event.data
        return (
            given.project_id in (None, project_of(data, call.world))
            and given.agent_id in (None, getattr(data, "agent_id", None))
            and given.task_id in (None, getattr(data, "task_id", None))
        )

    return await _streamed(call, given.after, is_wanted)


async def stream_agent_events(call: Call, given: schemas.StreamAgentEventsInput) -> Answer:
    """Follow what concerns one agent: what it does, what is said to it, and its tasks.

    While it listens, an agent with subscriptions waits for tasks, too.
    """
    require_agent(call.world, given.agent_id)
    require_self(call.principal, given.agent_id)

    def is_wanted(event: Event) -> bool:
        data = event.data
        if given.agent_id in (getattr(data, "agent_id", None), getattr(data, "to", None)):
            return True
        if isinstance(data, MessageSent):
            return given.agent_id in data.recipients
        held = call.world.assignments.get(getattr(data, "task_id", ""))
        return held is not None and held.agent_id == given.agent_id

    return await _streamed(call, given.after, is_wanted, given.agent_id)


async def _streamed(
    call: Call, after: int | None, wanted: Wanted, waiting_id: AgentId | None = None
) -> Answer:
    stream = EventStream(call.ingress, call.grant, after, wanted, waiting_id)
    await stream.begin()
    call.ingress.hear(call.principal)
    return Answer(b"", stream.position, stream=stream)
