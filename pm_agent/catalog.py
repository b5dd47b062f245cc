"""Which feature handles what. Explicit lists; nothing is discovered."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pm_agent.domain import (
    access,
    agent,
    assessment,
    assignment,
    blocker,
    collaboration,
    handoff,
    hold,
    instruction,
    message,
    project,
    subscription,
    task,
)
from pm_agent.domain.envelope import Command, EventData
from pm_agent.domain.world import World
from pm_agent.features.access import decide as access_decide
from pm_agent.features.assessment import decide as assessment_decide
from pm_agent.features.assessment import react as assessment_react
from pm_agent.features.assessment import view as assessment_view
from pm_agent.features.assignment import decide as assignment_decide
from pm_agent.features.assignment import react as assignment_react
from pm_agent.features.backlog import decide as backlog_decide
from pm_agent.features.backlog import react as backlog_react
from pm_agent.features.blockers import decide as blockers_decide
from pm_agent.features.blockers import react as blockers_react
from pm_agent.features.blockers import view as blockers_view
from pm_agent.features.collaboration import decide as collaboration_decide
from pm_agent.features.collaboration import react as collaboration_react
from pm_agent.features.handoff import decide as handoff_decide
from pm_agent.features.handoff import react as handoff_react
from pm_agent.features.holds import decide as holds_decide
from pm_agent.features.holds import react as holds_react
from pm_agent.features.instructions import decide as instructions_decide
from pm_agent.features.instructions import react as instructions_react
from pm_agent.features.instructions import view as instructions_view
from pm_agent.features.messages import decide as messages_decide
from pm_agent.features.planning import decide as planning_decide
from pm_agent.features.progress import decide as progress_decide
from pm_agent.features.quality import decide as quality_decide
from pm_agent.features.quality import react as quality_react
from pm_agent.features.subscriptions import decide as subscriptions_decide
from pm_agent.features.subscriptions import react as subscriptions_react
from pm_agent.features.subscriptions import view as subscriptions_view
from pm_agent.features.team import decide as team_decide
from pm_agent.kernel.effects import (
    Alarm,
    AskForAdvice,
    AssessTasks,
    Effect,
    PushTask,
    WriteInstructions,
)
from pm_agent.kernel.types import Catalog, Decider, Reactor
from pm_agent.ports import Brief

DECIDERS: dict[type[Command], Decider] = {
    # backlog
    project.CreateProject: backlog_decide.create_project,
    project.UpdateProject: backlog_decide.update_project,
    task.CreateTask: backlog_decide.create_task,
    task.ImportTasks: backlog_decide.import_tasks,
    task.UpdateTask: backlog_decide.update_task,
    task.CancelTask: backlog_decide.cancel_task,
    task.ReopenTask: backlog_decide.reopen_task,
    task.ArchiveTask: backlog_decide.archive_task,
    task.LogDecision: backlog_decide.log_decision,
    task.LogArtifact: backlog_decide.log_artifact,
    # team
    agent.RegisterAgent: team_decide.register,
    agent.HeartbeatAgent: team_decide.heartbeat,
    agent.LeaveTeam: team_decide.leave,
    # assignment
    assignment.ClaimTask: assignment_decide.claim,
    assignment.WaitForTask: assignment_decide.wait,
    assignment.WithdrawOffer: assignment_decide.withdraw,
    assignment.ReleaseTask: assignment_decide.release,
    assignment.CheckLease: assignment_decide.check_lease,
    # progress, quality, blockers
    assignment.ReportProgress: progress_decide.report,
    assignment.CompleteTask: quality_decide.complete,
    assignment.AcceptCompletion: quality_decide.accept,
    assignment.RejectCompletion: quality_decide.reject,
    assignment.SubmitCandidate: quality_decide.submit_candidate,
    blocker.ReportBlocker: blockers_decide.report,
    blocker.ResolveBlocker: blockers_decide.resolve,
    blocker.ReportFix: blockers_decide.report_fix,
    blocker.AcknowledgeBlocker: blockers_decide.acknowledge,
    blocker.CheckBlocker: blockers_decide.check,
    blocker.SettleBlockers: blockers_decide.settle,
    blocker.StoreAdvice: blockers_decide.store_advice,
    # messages, collaboration, handoff
    message.SendMessage: messages_decide.send,
    message.BroadcastUpdate: messages_decide.broadcast,
    message.AcknowledgeMessages: messages_decide.acknowledge,
    collaboration.RequestCollaboration: collaboration_decide.request,
    collaboration.RespondToCollaboration: collaboration_decide.respond,
    collaboration.ExpireCollaboration: collaboration_decide.expire,
    handoff.HandOffTask: handoff_decide.offer,
    handoff.RespondToHandoff: handoff_decide.respond,
    handoff.ExpireHandoff: handoff_decide.expire,
    # subscriptions
    subscription.Subscribe: subscriptions_decide.subscribe,
    subscription.Unsubscribe: subscriptions_decide.unsubscribe,
    subscription.NotePush: subscriptions_decide.note_push,
    # instructions
    instruction.StoreInstructions: instructions_decide.store,
    instruction.AbandonEffect: instructions_decide.abandon,
    # assessment
    assessment.RequestAssessments: assessment_decide.request,
    assessment.StoreAssessments: assessment_decide.store,
    # holds
    hold.PlaceHold: holds_decide.place,
    hold.LiftHold: holds_decide.lift,
    hold.LiftDueHold: holds_decide.lift_due,
    # planning
    task.SetCriticalPaths: planning_decide.set_critical_paths,
    # access
    access.IssueToken: access_decide.issue,
    access.RevokeToken: access_decide.revoke,
    access.IssueKey: access_decide.issue_key,
    access.RotateKey: access_decide.rotate_key,
    access.RevokeKey: access_decide.revoke_key,
    access.NoteKeysUsed: access_decide.note_keys_used,
    access.DenyToken: access_decide.deny,
    access.NoteRefusals: access_decide.note_refusals,
}


def _alarms(world: World) -> Iterator[Alarm]:
    yield from assignment_react.alarms(world)
    yield from quality_react.alarms(world)
    yield from backlog_react.alarms(world)
    yield from collaboration_react.alarms(world)
    yield from handoff_react.alarms(world)
    yield from blockers_react.alarms(world)
    yield from holds_react.alarms(world)


def _reactors() -> dict[type[EventData], tuple[Reactor, ...]]:
    lists: tuple[Mapping[Any, Any], ...] = (  # of reactors, each for its own event
        assessment_react.REACTORS,
        assignment_react.REACTORS,
        backlog_react.REACTORS,
        collaboration_react.REACTORS,
        handoff_react.REACTORS,
        blockers_react.REACTORS,
        blockers_react.DEADLINES,
        holds_react.REACTORS,
        instructions_react.REACTORS,
        quality_react.REACTORS,
        subscriptions_react.REACTORS,
    )
    by_event: dict[type[EventData], tuple[Reactor, ...]] = {}
    for reactors in lists:
        for kind, reactor in reactors.items():
            by_event[kind] = (*by_event.get(kind, ()), reactor)
    return by_event


class Briefing(NamedTuple):
    """What the language model is told for an effect: the texts to read, and the brief of them."""

    refs: Callable[[World, Effect], list[str]]
    brief: Callable[[World, Effect, dict[str, str]], Brief]


BRIEFS: dict[type, Briefing] = {
    WriteInstructions: Briefing(instructions_view.body_refs, instructions_view.brief),
    AskForAdvice: Briefing(blockers_view.advice_refs, blockers_view.advice_brief),
    AssessTasks: Briefing(assessment_view.body_refs, assessment_view.brief),
    PushTask: Briefing(subscriptions_view.body_refs, subscriptions_view.push),
}

CATALOG = Catalog(
    deciders=DECIDERS,
    reactors=_reactors(),
    settle=assignment_decide.settle,
    alarms=_alarms,
)
