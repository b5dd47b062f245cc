"""What an agent is told with every result: what it must obey, and how much waits to be read.

Texts of others are never part of it: a directive is the system's word alone.
"""

from typing import TYPE_CHECKING, NamedTuple

from pm_agent.domain.hold import directives_for
from pm_agent.domain.ids import AgentId

if TYPE_CHECKING:
    from pm_agent.domain.world import World


class Notice(NamedTuple):
    """Said to one agent."""

    directives: tuple[str, ...] = ()
    inbox: int = 0  # messages that it has not acknowledged


NO_NOTICE = Notice()


def notice_for(world: "World", agent_id: AgentId) -> Notice:
    """What an agent must obey now, and how many messages wait for it."""
    directives = directives_for(world, agent_id)
    inbox = world.inboxes.get(agent_id)
    if inbox is None:
        return Notice(directives) if directives else NO_NOTICE
    if inbox.n_urgent:
        told = f"Read your {inbox.n_urgent} urgent message(s) first: call read_messages."
        directives = (*directives, told)
    return Notice(directives, len(inbox.unread))
