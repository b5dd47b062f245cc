"""The timeline: one sentence an event, for people who want to know what happened."""

from collections.abc import Callable
from typing import Any

import msgspec

from pm_agent.domain.envelope import Event
from pm_agent.domain.time import iso

ERASED = "(erased)"
# Bookkeeping, and what nobody asks for who wants to know what the team did.
QUIET = frozenset(
    {
        "AssessmentsRequested",
        "CriticalPathsSet",
        "EffectAbandoned",
        "InstructionsWritten",
        "KeyExpirySet",
        "KeyIssued",
        "KeyRevoked",
        "KeysUsed",
        "MessagesAcknowledged",
        "TokenDenied",
        "TokenIssued",
        "TokenRevoked",
    }
)
# Fields of events that are references of texts, the telling one first.
_TEXTS = ("text", "note", "resolution", "description", "summary", "decision", "report")
# What an event says, by its name, with the event's own fields.
_SAYS = {
    "AgentRegistered": "{agent_id} joins the team",
    "AgentLeft": "{agent_id} leaves the team",
    "ProjectCreated": "project {project_id} begins",
    "ProjectUpdated": "project {project_id} is changed",
    "TaskCreated": "{task_id} is created: {title}",
    "TaskUpdated": "{task_id} is changed",
    "TaskCancelled": "{task_id} is cancelled",
    "TaskReopened": "{task_id} is opened again: {reason}",
    "TaskDeadLettered": "{task_id} is given up: {reason}",
    "TaskArchived": "{task_id} is archived",
    "ProgressReported": "{agent_id} is at {percent} % of {task_id}",
    "CompletionSubmitted": "{agent_id} hands {task_id} in",
    "CompletionAccepted": "{task_id} by {agent_id} is accepted",
    "CompletionRejected": "{task_id} by {agent_id} is rejected",
    "LeaseSuspected": "{agent_id} has been silent about {task_id} for long",
    "AssignmentExpired": "{agent_id} loses {task_id}: {reason}",
    "LeaseRegranted": "{agent_id} comes late with {task_id}, and nobody else had it",
    "CandidateKept": "{agent_id} comes too late with {task_id}; its work is kept",
    "CandidateRejected": "the late work of {agent_id} on {task_id} is rejected",
    "TaskAssessed": "{task_id} is judged: level {level}, {minutes} minutes",
    "BlockerReported": "{agent_id} is stuck on {task_id} ({blocker_id})",
    "BlockerStepTaken": "{blocker_id} of {task_id}, step {number}: {step}",
    "BlockerStepEnded": "{blocker_id} of {task_id}, step {number}: {outcome}",
    "BlockerAdvised": "advice on {blocker_id} of {task_id}",
    "BlockerAcknowledged": "{blocker_id} of {task_id} is in a person's hands",
    "BlockerResolved": "{blocker_id} of {task_id} is resolved",
    "DecisionLogged": "a decision about {task_id}",
    "ArtifactLogged": "{task_id} has made {name}",
    "HoldPlaced": "{scope} {target_id} is held: {kind}",
    "HoldLifted": "{scope} {target_id} is no longer held: {kind}",
    "HandoffOffered": "{agent_id} offers {task_id} to {to} ({handoff_id})",
    "HandoffAccepted": "{agent_id} takes {task_id} over from {giver_id}",
    "HandoffDeclined": "{agent_id} does not take {task_id} over",
    "HandoffExpired": "{agent_id} has not answered: {task_id} stays where it is",
    "Subscribed": "{agent_id} subscribes ({subscription_id})",
    "Unsubscribed": "{agent_id} drops {subscription_id}",
    "TaskPushed": "{task_id} is pushed to {agent_id}",
    "PushFailed": "{task_id} cannot be pushed to {agent_id}: {reason}",
}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline."""

    position: int
    at: str
    by: str  # who caused it
    event: str
    what: str
    text: str = ""  # what was said with it, in its author's words: data, not instructions


def _assigned(data: Any) -> str:
    how = "is woken by" if data.is_offered else "gets"
    return f"{data.agent_id} {how} {data.task_id}"


def _sent(data: Any) -> str:
    to = ", ".join(data.recipients[:5]) or "nobody"
    more = len(data.recipients) - 5
    to += f" and {more} more" if more > 0 else ""
    about = f" about {data.about_task}{_blocker(data)}" if data.about_task else ""
    missed = f"; {len(data.missed)} full inboxes missed it" if data.missed else ""
    return f"{data.kind.replace('_', ' ')} to {to}{about}{missed}"


def _requested(data: Any) -> str:
    asked = ", ".join(data.invited)
    return f"{data.agent_id} asks {asked} for help with {data.task_id}{_blocker(data)}"


def _helps(data: Any) -> str:
    return f"{data.agent_id} helps {data.asker_id} with {data.task_id}{_blocker(data)}"


def _declined(data: Any) -> str:
    return f"{data.agent_id} does not help with {data.task_id}{_blocker(data)}"


def _unhelped(data: Any) -> str:
    return f"the request of {data.agent_id} for help with {data.task_id}{_blocker(data)} is over"


def _blocker(data: Any) -> str:
    return f" ({data.blocker_id})" if data.blocker_id else ""


def _released(data: Any) -> str:
    return f"{data.agent_id} gives {data.task_id} back: {data.reason.replace('_', ' ')}"


_SAYERS: dict[str, Callable[[Any], str]] = {
    "TaskReleased": _released,
    "TaskAssigned": _assigned,
    "MessageSent": _sent,
    "CollaborationRequested": _requested,
    "CollaborationAccepted": _helps,
    "CollaborationDeclined": _declined,
    "CollaborationExpired": _unhelped,
}


def moment(event: Event, texts: dict[str, str]) -> Moment:
    """Tell one event."""
    ref = text_of(event)
    return Moment(
        position=event.position,
        at=iso(event.at_us),
        by=event.principal,
        event=event.kind,
        what=_what(event),
        text=texts.get(ref, ERASED) if ref else "",
    )


def text_of(event: Event) -> str:
    """Reference of what was said with an event; empty: nothing."""
    for name in _TEXTS:
        value = getattr(event.data, name, None)
        if isinstance(value, str) and value:
            return value
    return ""


def concerns(event: Event, identifier: str) -> bool:
    """Whether an event names a task, an agent, a project or anything else by its id."""
    if event.principal.partition(":")[2] == identifier:
        return True
    for name in event.data.__struct_fields__:
        value = getattr(event.data, name)
        if value == identifier or (isinstance(value, tuple) and identifier in value):
            return True
    return False


def _what(event: Event) -> str:
    sayer = _SAYERS.get(event.kind)
    if sayer is not None:
        return sayer(event.data)
    fields = {name: getattr(event.data, name) for name in event.data.__struct_fields__}
    says = _SAYS.get(event.kind)
    if says is not None:
        return says.format(**fields).removesuffix(": ")
    named = [f"{v}" for n, v in fields.items() if n.endswith("_id") and v and n != "effect_id"]
    return " ".join([event.kind, *named])
