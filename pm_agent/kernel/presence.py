"""Signs of life and standing offers: input to decisions, not truth. Never journaled.

After a recovery nobody has been heard yet, so every lease gets one full silence allowance counted
from the start of this process, and the habits of agents are learned anew: gaps are measured several
times a minute, and only what came of them, an allowance granted with a lease, is in the journal.
"""

from collections.abc import Iterable, Iterator
from math import ceil, log
from random import Random

import msgspec
from sortedcontainers import SortedList

from pm_agent.domain.agent import Agent
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.signature import Signature


class Offer(msgspec.Struct, frozen=True, gc=False):
    """An agent waits for a task until an instant."""

    agent_id: AgentId
    since_us: int
    until_us: int
    project_id: ProjectId | None = None
    is_pushed: bool = False  # it stands for a stream or a webhook, and not for the agent's own wait


class Signs(msgspec.Struct, frozen=True):
    """Last signs of life of some agents, for who reads away from the coordinator."""

    now_us: int = 0  # when they were read
    started_us: int = 0  # when the coordinator took over
    heard: dict[AgentId, int] = {}

    def heard_at(self, agent_id: AgentId) -> int:
        """Last sign of life, or the start of the coordinator."""
        return max(self.heard.get(agent_id, 0), self.started_us)


class Gaps:
    """Gaps between one agent's signs of life: a histogram that forgets, for one quantile.

    Buckets grow by a constant factor, so a quantile is off by at most `_ACCURACY` of its value,
    whatever its size; each new gap weighs a little more than the one before, so old habits fade
    with a half-life counted in gaps. Adding costs O(1).

    References
    ----------
    The buckets: Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
    Relative-Error Guarantees", VLDB 2019. The growing weights instead of scaling all buckets down:
    "forward decay" in Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009.
    """

    __slots__ = ("_next_weight", "_weights", "n")

    def __init__(self) -> None:
        self.n = 0
        self._next_weight = 1.0
        self._weights: dict[int, float] = {}

    def add(self, gap_us: int) -> None:
        bucket = ceil(log(gap_us) / _LOG_GROWTH)
        self._weights[bucket] = self._weights.get(bucket, 0.0) + self._next_weight
        self._next_weight *= _FORGET
        self.n += 1
        if self._next_weight > _LARGE:
            self._weights = {b: w / self._next_weight for b, w in self._weights.items()}
            self._next_weight = 1.0

    def quantile_us(self, share: float) -> int:
        """Gap that this share of the weight does not exceed; there must be one gap at least."""
        left = share * sum(self._weights.values())
        for bucket in sorted(self._weights):
            left -= self._weights[bucket]
            if left <= 0:
                break
        return round(2 * _GROWTH**bucket / (_GROWTH + 1))


_ACCURACY = 0.1
_GROWTH = (1 + _ACCURACY) / (1 - _ACCURACY)
_LOG_GROWTH = log(_GROWTH)
_FORGET = 2 ** (1 / 200)  # half-life: 200 gaps, a day or two of work
_LARGE = 1e12
# Requests closer than this belong to one burst: an agent that reads a context and reports at once
# has not paused in between.
BURST_US = 1_000_000
MIN_GAPS = 20  # fewer say nothing about a 95th percentile


class Presence:
    """Who was heard when, and who waits for work."""

    def __init__(self, started_us: int = 0) -> None:
        self.started_us = started_us
        self.heard: dict[AgentId, int] = {}
        self._gaps: dict[AgentId, Gaps] = {}
        self.offers: dict[AgentId, Offer] = {}
        # Standing offers of agents with the same skills and projects, longest waiting first.
        # Of each its place: since when, and the agent's id.
        self._by_signature: dict[Signature, SortedList] = {}
        self._signature_of: dict[AgentId, Signature] = {}

    def hear(self, agent_id: AgentId, now_us: int) -> None:
        """Note a sign of life, and how long the agent was silent before it."""
        gap_us = now_us - self.heard.get(agent_id, now_us)
        self.heard[agent_id] = now_us
        if gap_us >= BURST_US:
            gaps = self._gaps.get(agent_id)
            if gaps is None:
                gaps = self._gaps[agent_id] = Gaps()
            gaps.add(gap_us)

    def gap_us(self, agent_id: AgentId, share: float) -> int:
        """Quantile of the agent's gaps between signs of life; 0 while too few were seen."""
        gaps = self._gaps.get(agent_id)
        return gaps.quantile_us(share) if gaps is not None and gaps.n >= MIN_GAPS else 0

    def signs(self, agent_ids: Iterable[AgentId], now_us: int) -> Signs:
        """Last signs of life of these agents."""
        heard = {a: self.heard[a] for a in agent_ids if a in self.heard}
        return Signs(now_us, self.started_us, heard)

    def heard_at(self, agent_id: AgentId) -> int:
        """Last sign of life, or the start of this process."""
        return max(self.heard.get(agent_id, 0), self.started_us)

    def stand(self, agent: Agent, offer: Offer) -> None:
        """Leave an offer; one an agent."""
        self.withdraw(agent.id)
        self.offers[agent.id] = offer
        signature = self._signature_of[agent.id] = agent.signature
        waiting = self._by_signature.get(signature)
        if waiting is None:  # making a list costs more than all the rest
            waiting = self._by_signature[signature] = SortedList()
        waiting.add((offer.since_us, agent.id))

    def withdraw(self, agent_id: AgentId) -> None:
        offer = self.offers.pop(agent_id, None)
        if offer is not None:
            signature = self._signature_of.pop(agent_id)
            waiting = self._by_signature[signature]
            waiting.remove((offer.since_us, agent_id))
            if not waiting:
                del self._by_signature[signature]

    def signatures(self) -> list[Signature]:
        """Signatures for which somebody waits."""
        return list(self._by_signature)

    def waiting(self, signature: Signature, now_us: int) -> list[Offer]:
        """Offers that still stand, longest waiting first; others are dropped on the way."""
        return list(self.queue(signature, now_us))

    def queue(self, signature: Signature, now_us: int) -> Iterator[Offer]:
        """As `waiting`, one by one; offers may be left and withdrawn meanwhile."""
        place: tuple[int, AgentId] | None = None
        while waiting := self._by_signature.get(signature):
            index = waiting.bisect_right(place) if place is not None else 0
            if index == len(waiting):
                return
            place = waiting[index]
            offer = self.offers[place[1]]
            if offer.until_us > now_us:
                yield offer
            else:
                self.withdraw(offer.agent_id)

    def drawn(self, signature: Signature, now_us: int, n: int, random: Random) -> Iterator[Offer]:
        """As `queue`, but at most ``n`` of the offers, each as likely."""
        places = list(self._by_signature.get(signature, ()))
        if len(places) > n:
            places = [places[index] for index in sorted(random.sample(range(len(places)), n))]
        for place in places:
            offer = self.offers.get(place[1])
            if offer is None:
                continue
            if offer.until_us > now_us:
                yield offer
            else:
                self.withdraw(offer.agent_id)
