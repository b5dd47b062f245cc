"""Presence as intervals: an agent that signs or waits is here from one instant to another.

A thousand agents would send 4.6 million heartbeats and polls a day; nothing depends on any single
one of them. Outside its intervals an agent is heard by its requests alone, as ever.
"""

from pm_agent.domain.ids import AgentId
from pm_agent.kernel.presence import Presence
from simulation.timeline import Timeline


class Intervals(Presence):
    """The engine's presence, told of intervals instead of beats.

    Parameters
    ----------
    timeline
        Whose clock says what is now. Beats come every 30 s; here they come all the time, which
        makes a silence begin up to 30 s later than it would.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline.now_us)
        self._timeline = timeline
        self._here: set[AgentId] = set()

    def enter(self, agent_id: AgentId) -> None:
        """From now on it signs, or asks again and again."""
        self._here.add(agent_id)

    def leave(self, agent_id: AgentId) -> None:
        """From now on it is heard by its requests alone."""
        if agent_id in self._here:
            self._here.remove(agent_id)
            self.heard[agent_id] = self._timeline.now_us

    def hear(self, agent_id: AgentId, now_us: int) -> None:
        if agent_id in self._here:
            self.heard[agent_id] = now_us  # no gap: it was heard all the time
        else:
            super().hear(agent_id, now_us)

    def heard_at(self, agent_id: AgentId) -> int:
        if agent_id in self._here:
            return self._timeline.now_us
        return max(self.heard.get(agent_id, 0), self.started_us)
