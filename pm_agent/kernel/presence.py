"""Signs of life and standing offers: input to decisions, not truth. Never journaled.

After a recovery nobody has been heard yet, so every lease gets one full silence allowance counted
from the start of this process.
"""

import msgspec

from pm_agent.domain.agent import Agent, Signature
from pm_agent.domain.ids import AgentId, ProjectId


class Offer(msgspec.Struct, frozen=True, gc=False):
    """An agent waits for a task until an instant."""

    agent_id: AgentId
    since_us: int
    until_us: int
    project_id: ProjectId | None = None


class Presence:
    """Who was heard when, and who waits for work."""

    def __init__(self, started_us: int = 0) -> None:
        self.started_us = started_us
        self.heard: dict[AgentId, int] = {}
        self.offers: dict[AgentId, Offer] = {}
        # Standing offers of agents with the same skills and projects, longest waiting first.
        self._by_signature: dict[Signature, dict[AgentId, Offer]] = {}
        self._signature_of: dict[AgentId, Signature] = {}

    def hear(self, agent_id: AgentId, now_us: int) -> None:
        self.heard[agent_id] = now_us

    def heard_at(self, agent_id: AgentId) -> int:
        """Last sign of life, or the start of this process."""
        return max(self.heard.get(agent_id, 0), self.started_us)

    def stand(self, agent: Agent, offer: Offer) -> None:
        """Leave an offer; one an agent."""
        self.withdraw(agent.id)
        self.offers[agent.id] = offer
        self._by_signature.setdefault(agent.signature, {})[agent.id] = offer
        self._signature_of[agent.id] = agent.signature

    def withdraw(self, agent_id: AgentId) -> None:
        if self.offers.pop(agent_id, None) is not None:
            signature = self._signature_of.pop(agent_id)
            waiting = self._by_signature[signature]
            del waiting[agent_id]
            if not waiting:
                del self._by_signature[signature]

    def signatures(self) -> list[Signature]:
        """Signatures for which somebody waits."""
        return list(self._by_signature)

    def waiting(self, signature: Signature, now_us: int) -> list[Offer]:
        """Offers that still stand, longest waiting first; others are dropped on the way."""
        offers = self._by_signature.get(signature, {})
        for late in [o for o in offers.values() if o.until_us <= now_us]:
            self.withdraw(late.agent_id)
        return list(self._by_signature.get(signature, {}).values())
