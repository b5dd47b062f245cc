"""What the operations on help and handoffs do."""

import msgspec

from pm_agent.api.handlers.assignments import brief_of
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import collaborations as schemas
from pm_agent.domain.collaboration import RespondToCollaboration
from pm_agent.domain.envelope import Command
from pm_agent.domain.handoff import RespondToHandoff
from pm_agent.features.backlog import view as backlog_view
from pm_agent.features.collaboration.decide import CollaborationResult
from pm_agent.features.handoff.decide import HandoffResult


class HelpAnswer(CollaborationResult, frozen=True, kw_only=True):
    """Where the request stands; with 'accepted' comes the task that you help with."""

    task: backlog_view.TaskBrief | None = None


class HandoffAnswer(HandoffResult, frozen=True, kw_only=True):
    """Where the handoff stands; with 'accepted' comes the task that is yours now."""

    task: backlog_view.TaskBrief | None = None


async def respond_to_help(call: Call, given: schemas.RespondToCollaborationInput) -> Answer:
    """Answer a request for help; who says yes gets the task's context."""
    return await _taken_up(call, call.command(RespondToCollaboration, given), HelpAnswer)


async def respond_to_handoff(call: Call, given: schemas.RespondToHandoffInput) -> Answer:
    """Answer a handoff; who says yes gets the task."""
    return await _taken_up(call, call.command(RespondToHandoff, given), HandoffAnswer)


async def _taken_up(
    call: Call, command: Command, kind: type[HelpAnswer] | type[HandoffAnswer]
) -> Answer:
    reply = await call.submit(command)
    answer = msgspec.json.decode(reply.result, type=kind)
    await call.ingress.reach(reply.position)
    if answer.state != "accepted" or answer.task_id not in call.world.tasks:
        return call.reply(reply, answer)
    return call.reply(
        reply, msgspec.structs.replace(answer, task=await brief_of(call, answer.task_id))
    )
