"""What the operations on the workspace and the server do."""

from pm_agent.api.convert import result_json
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import workspace as schemas
from pm_agent.features.backlog import status as backlog_status
from pm_agent.kernel.types import Result


class HandOverAnswer(Result, frozen=True, kw_only=True):
    """Where the journal stands that another server may take over."""

    position: int
    epoch: int  # of the server that handed over; its successor's is higher
    next_step: str


async def status(call: Call, given: schemas.StatusInput) -> Answer:
    """Read the whole workspace."""
    ingress = call.ingress
    signs = await ingress.signs(a.agent_id for a in backlog_status.suspected(call.world))
    status = backlog_status.workspace_status(
        call.world, parked=ingress.waiters.n_parked, is_stale=ingress.is_stale, signs=signs
    )
    return call.read(status)


async def hand_over(call: Call, given: schemas.HandOverInput) -> Answer:
    """Let another server take over; about the server, so nothing of it is in the journal."""
    health = await call.ingress.hand_over(given.drain_s)
    body = result_json(handed_over(health.position, health.epoch), call.ingress.now_us())
    return Answer(body, health.position)


def handed_over(position: int, epoch: int) -> HandOverAnswer:
    """What a handover tells that is done."""
    next_step = "Start the new server on the same journal; this one reads on until it is ended."
    return HandOverAnswer(position=position, epoch=epoch, next_step=next_step)
