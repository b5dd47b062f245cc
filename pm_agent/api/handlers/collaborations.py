"""What the operations on help and handoffs do."""

from typing import TypeVar

import msgspec

from pm_agent.api.handlers.assignments import brief_of
from pm_agent.api.handlers.blockers import blocker_of
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import collaborations as schemas
from pm_agent.domain.collaboration import RespondToCollaboration
from pm_agent.domain.envelope import Command
from pm_agent.domain.handoff import RespondToHandoff
from pm_agent.features.backlog import view as backlog_view
from pm_agent.features.blockers import view as blockers_view
from pm_agent.features.collaboration.decide import CollaborationResult
from pm_agent.features.handoff.decide import HandoffResult
from pm_agent.kernel.types import Reply


class HelpAnswer(CollaborationResult, frozen=True, kw_only=True):
    """Where the request stands; with 'accepted' comes the task that you help with.

    And the blocker, when it is about one.
    """

    task: backlog_view.TaskBrief | None = None
    blocker: blockers_view.BlockerItem | None = None


class HandoffAnswer(HandoffResult, frozen=True, kw_only=True):
    """Where the handoff stands; with 'accepted' comes the task that is yours now."""

    task: backlog_view.TaskBrief | None = None


Taken = TypeVar("Taken", HelpAnswer, HandoffAnswer)


async def respond_to_help(call: Call, given: schemas.RespondToCollaborationInput) -> Answer:
    """Answer a request for help; who says yes gets the task's context."""
    reply, answer = await _taken_up(call, call.command(RespondToCollaboration, given), HelpAnswer)
    if answer.state == "accepted" and answer.blocker_id in call.world.blockers:
        blocker = await blocker_of(call, answer.blocker_id)
        answer = msgspec.structs.replace(answer, blocker=blocker)
    return call.reply(reply, answer)


async def respond_to_handoff(call: Call, given: schemas.RespondToHandoffInput) -> Answer:
    """Answer a handoff; who says yes gets the task."""
    reply, answer = await _taken_up(call, call.command(RespondToHandoff, given), HandoffAnswer)
    return call.reply(reply, answer)


async def _taken_up(call: Call, command: Command, kind: type[Taken]) -> tuple[Reply, Taken]:
    """Answer; with a yes comes the task."""
    reply = await call.submit(command)
    answer = msgspec.json.decode(reply.result, type=kind)
    await call.ingress.reach(reply.position)
    if answer.state == "accepted" and answer.task_id in call.world.tasks:
        answer = msgspec.structs.replace(answer, task=await brief_of(call, answer.task_id))
    return reply, answer
