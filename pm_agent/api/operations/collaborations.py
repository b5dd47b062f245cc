"""Operations of help and handoffs between agents."""

from pm_agent.api.handlers import collaborations as handlers
from pm_agent.api.handlers.call import sends
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import collaborations as schemas
from pm_agent.domain import collaboration, handoff
from pm_agent.features.collaboration.decide import CollaborationResult
from pm_agent.features.handoff.decide import HandoffResult

COLLABORATIONS: tuple[Operation, ...] = (
    Operation(
        name="request_collaboration",
        kind="command",
        tier="wider",
        work="progress",
        method="POST",
        path="/v1/tasks/{task_id}/collaborations",
        scope="pm:talk",
        input=schemas.RequestCollaborationInput,
        result=CollaborationResult,
        command=collaboration.RequestCollaboration,
        handler=sends(collaboration.RequestCollaboration),
        status=201,
        help="Call this when another agent could help you with your task. The best three who could "
        "are asked; the first yes comes as a message. The task stays yours.",
    ),
    Operation(
        name="respond_to_collaboration",
        kind="command",
        tier="wider",
        work="progress",
        method="POST",
        path="/v1/collaborations/{collaboration_id}/respond",
        scope="pm:talk",
        input=schemas.RespondToCollaborationInput,
        result=handlers.HelpAnswer,
        command=collaboration.RespondToCollaboration,
        handler=handlers.respond_to_help,
        help="Call this to answer a message of the kind help_wanted. With accept=true you get the "
        "task's context, if nobody was faster.",
    ),
    Operation(
        name="handoff_task",
        kind="command",
        tier="wider",
        work="progress",
        method="POST",
        path="/v1/tasks/{task_id}/handoff",
        scope="pm:talk",
        input=schemas.HandOffTaskInput,
        result=HandoffResult,
        command=handoff.HandOffTask,
        handler=sends(handoff.HandOffTask),
        status=201,
        help="Call this when a certain other agent should go on with your task. It stays yours "
        "until that agent says yes, and if it does not answer. If anybody may go on, use "
        "release_task.",
    ),
    Operation(
        name="respond_to_handoff",
        kind="command",
        tier="wider",
        work="completion",
        method="POST",
        path="/v1/handoffs/{handoff_id}/respond",
        scope="pm:talk",
        input=schemas.RespondToHandoffInput,
        result=handlers.HandoffAnswer,
        command=handoff.RespondToHandoff,
        handler=handlers.respond_to_handoff,
        help="Call this to answer a message of the kind handoff. With accept=true the task is "
        "yours, with a lease_token of its own; with false it stays where it is.",
    ),
)
