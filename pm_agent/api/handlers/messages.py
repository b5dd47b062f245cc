"""What the operations on messages do."""

from pm_agent.api.handlers.call import LOOKED_BACK, Answer, Call, own
from pm_agent.api.schemas import messages as schemas
from pm_agent.domain.message import AcknowledgeMessages
from pm_agent.features.messages import view as messages_view
from pm_agent.kernel.fencing import require_member, require_self


async def read_messages(call: Call, given: schemas.ReadMessagesInput) -> Answer:
    """Acknowledge messages that were read, then show those that wait, or a whole thread."""
    given = own(call, given)
    assert given.agent_id is not None
    require_self(call.principal, given.agent_id)
    if given.acknowledge:
        reply = await call.submit(call.command(AcknowledgeMessages, given))
        await call.ingress.reach(reply.position)
    require_member(call.world, given.agent_id)
    if given.thread_id:
        events = await call.ingress.history(given.thread_id, LOOKED_BACK)
        found = messages_view.thread(events, given.thread_id, given.agent_id)[-given.limit :]
    else:
        found = messages_view.waiting(call.world, given.agent_id, given.limit)
    texts = await call.ingress.texts(one.text for one in found)
    return call.read(messages_view.page(call.world, given.agent_id, found, texts))
