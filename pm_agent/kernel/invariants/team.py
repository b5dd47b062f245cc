"""What may happen to agents, projects, holds and messages."""

from collections.abc import Callable

from pm_agent.domain.agent import AgentLeft, AgentRegistered
from pm_agent.domain.envelope import Event, EventData
from pm_agent.domain.hold import HoldLifted, HoldPlaced
from pm_agent.domain.ids import number_of
from pm_agent.domain.message import MAX_INBOX, MessagesAcknowledged, MessageSent
from pm_agent.domain.project import ProjectCreated, ProjectUpdated
from pm_agent.kernel.invariants.promises import CAPACITY, MESSAGES
from pm_agent.kernel.invariants.seen import Seen, SeenProject


def _registered(seen: Seen, _: Event, data: AgentRegistered) -> None:
    seen.capacity[data.agent_id] = data.capacity


def _left(seen: Seen, _: Event, data: AgentLeft) -> None:
    if seen.n_active[data.agent_id]:
        seen.broken(CAPACITY, f"{data.agent_id} left with tasks in hand")
    seen.inboxes.pop(data.agent_id, None)
    seen.capacity.pop(data.agent_id, None)


def _project(seen: Seen, _: Event, data: ProjectCreated | ProjectUpdated) -> None:
    project = seen.projects.setdefault(data.project_id, SeenProject())
    for limit in ("max_in_progress", "cost_cap_microusd", "token_cap"):
        value = getattr(data, limit)
        if value is not None:
            setattr(project, limit, value)


def _hold_placed(seen: Seen, _: Event, data: HoldPlaced) -> None:
    target = "" if data.scope == "workspace" else data.target_id
    seen.holds.setdefault((data.scope, target), set()).add(data.kind)


def _hold_lifted(seen: Seen, _: Event, data: HoldLifted) -> None:
    target = "" if data.scope == "workspace" else data.target_id
    seen.holds.get((data.scope, target), set()).discard(data.kind)


def _message_sent(seen: Seen, _: Event, data: MessageSent) -> None:
    if data.number <= seen.newest_message or number_of(data.message_id) != data.number:
        detail = f"{data.message_id} follows message {seen.newest_message}"
        seen.broken(MESSAGES, detail)
    seen.newest_message = max(seen.newest_message, data.number)
    for agent_id in data.recipients:
        inbox = seen.inboxes.setdefault(agent_id, {})
        if agent_id not in seen.capacity or data.message_id in inbox:
            seen.broken(MESSAGES, f"{data.message_id} cannot be delivered to {agent_id}")
        inbox[data.message_id] = None
        if len(inbox) > MAX_INBOX:
            seen.broken(MESSAGES, f"{len(inbox)} messages wait for {agent_id}")


def _messages_read(seen: Seen, _: Event, data: MessagesAcknowledged) -> None:
    inbox = seen.inboxes.get(data.agent_id, {})
    for message_id in data.message_ids:
        if message_id not in inbox:
            detail = f"{data.agent_id} acknowledges {message_id}, which does not wait for it"
            seen.broken(MESSAGES, detail)
        inbox.pop(message_id, None)
    if not inbox:
        seen.inboxes.pop(data.agent_id, None)


FOLDS: dict[type[EventData], Callable[..., None]] = {
    AgentRegistered: _registered,
    AgentLeft: _left,
    MessageSent: _message_sent,
    MessagesAcknowledged: _messages_read,
    ProjectCreated: _project,
    ProjectUpdated: _project,
    HoldPlaced: _hold_placed,
    HoldLifted: _hold_lifted,
}
