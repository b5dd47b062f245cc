"""Many agents, many tasks, one choice: the assignment with the best total score.

When several agents wait and several tasks become ready at once, serving the agents one by one lets
the first take what only the second could have done well. A tick solves the assignment problem for
all of them instead. Its solution comes with a price for each task, and by duality each agent has
got the task whose score less price is best for it: so each record still proves its own choice.

The solver is our own: SciPy's is faster, but importing it takes 0.3 s and 41 MiB in the process of
the single writer, and it gives no prices (docs/decisions/0012).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.agent import Agent
from pm_agent.domain.decision_record import DecisionRecord, Matching, packed_numbers
from pm_agent.domain.world import World
from pm_agent.features.assignment.budget import within_budget
from pm_agent.features.assignment.facts import Shortlist, shortlist
from pm_agent.features.assignment.pick import Pick, best_first
from pm_agent.features.assignment.record import record_of
from pm_agent.kernel.presence import Offer
from pm_agent.kernel.types import Context
from pm_agent.ports import Scores

# Agents of one tick: with a shortlist of 100 tasks each it takes about 10 ms, and reaches 98 % of
# the total that one tick for 200 agents would.
MAX_AGENTS = 64
# Values are whole numbers up to this, so that sums are exact and prices fit 32 bits. Scores are
# float32 and have 24 bits.
RESOLUTION = 1 << 30
FORBIDDEN = -(1 << 40)  # worse than any chain of exchanges could make good
_FAR = 1 << 60
_NONE = -1


class Match(NamedTuple):
    """A waiting agent and the record of the task that the tick chose for it."""

    offer: Offer
    record: DecisionRecord


class Solution(NamedTuple):
    """An assignment with the best total, and the prices that prove it."""

    tasks: list[int]  # of each agent; -1: none
    prices: NDArray[np.int64]  # (n_tasks,), 0 for tasks that nobody got


class _Row(NamedTuple):
    """One agent of a tick, with what it could take."""

    offer: Offer
    agent: Agent
    found: Shortlist
    columns: NDArray[np.intp]  # (n_candidates,), places of its candidates among the tick's tasks
    scored: Scores


def match(world: World, offers: list[Offer], context: Context) -> list[Match]:
    """Choose tasks for waiting agents together.

    Parameters
    ----------
    offers
        Of agents that may take a task now, longest waiting first; at most `MAX_AGENTS`.

    Returns
    -------
    list of Match
        In the order of the offers, without agents that get nothing. Empty when fewer than two
        agents are left to choose from, or one task whose agent the scorer cannot choose: there is
        nothing to match then.
    """
    numbers, rows = _rows(world, offers, context)
    least = 1 if context.scorer.compares_agents else 2
    if len(rows) < 2 or len(numbers) < least:  # noqa: PLR2004 - one agent has no match
        return []
    scores = np.concatenate([row.scored.values for row in rows])
    unit = unit_of(scores)
    floor = min(0, int(in_units(scores, unit).min()))
    values = np.full((len(rows), len(numbers)), FORBIDDEN)  # (n_agents, n_tasks)
    for place, row in enumerate(rows):
        values[place, row.columns] = in_units(row.scored.values, unit) - floor
    solution = solve(values)
    matches = []
    for row, task in zip(rows, solution.tasks, strict=True):
        if task != _NONE:
            matching = Matching(
                tick=world.position,
                n_agents=len(rows),
                n_tasks=len(numbers),
                unit=unit,
                prices=packed_numbers(solution.prices.take(row.columns).astype(np.int32)),
            )
            matches.append(Match(row.offer, _record(row, task, matching, context)))
    return matches


def unit_of(scores: NDArray[np.float32]) -> float:
    """Score that one unit of value stands for, so that all values fit `RESOLUTION`."""
    top = float(scores.max()) - min(0.0, float(scores.min()))
    return top / RESOLUTION or 1.0


def in_units(scores: NDArray[np.float32], unit: float) -> NDArray[np.int64]:
    """Scores as whole numbers of units."""
    return np.rint(scores.astype(np.float64) / unit).astype(np.int64)


def solve(values: NDArray[np.int64]) -> Solution:
    """Solve the assignment problem exactly, with any number of agents and tasks.

    Agents come one after another, each by the cheapest chain of exchanges: it takes a task, whose
    owner takes another, until one takes a free task or somebody goes without. Among equals tasks
    with lower places go first, and an agent that came later goes without.

    Parameters
    ----------
    values : array, shape (n_agents, n_tasks)
        From 0 to `RESOLUTION`, or `FORBIDDEN`. Going without is worth 0.

    References
    ----------
    Successive shortest paths with potentials: Kuhn, "The Hungarian method for the assignment
    problem", 1955; Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse
    linear assignment problems", Computing 38, 1987.
    """
    market = _Market(values)
    for agent in range(len(values)):
        market.admit(agent)
    return Solution(market.tasks, market.prices)


class _Market:
    """Who has what at which price. No agent would gain by another task at these prices."""

    def __init__(self, values: NDArray[np.int64]) -> None:
        n_agents, n_tasks = values.shape
        self.values = values
        self.prices = np.zeros(n_tasks, dtype=np.int64)
        self.tasks = [_NONE] * n_agents
        self._owners = [_NONE] * n_tasks
        self._gains = [0] * n_agents  # of each agent: value less price of its task
        kinds: dict[bytes, int] = {}
        # Number of each agent's kind: the same for agents to whom all tasks are worth the same.
        self._kinds = [kinds.setdefault(row.tobytes(), len(kinds)) for row in values]

    def admit(self, agent: int) -> None:
        """Let one more agent in, and exchange tasks until the total is the best again.

        Dijkstra's search: the length of a path is what the exchanges along it lose, against all
        gaining most at the present prices.
        """
        prices = self.prices.copy()  # of visited tasks: too high for a second, shorter way to them
        lengths = prices - self.values[agent]  # (n_tasks,)
        gain = max(0, -int(lengths.min()))
        lengths += gain
        via = np.full(len(prices), agent)
        visited: list[tuple[int, int]] = []  # task, length
        asked = {self._kinds[agent]: gain}  # what leaving cost the first of each kind
        leaver, end = agent, gain  # the cheapest way that ends with somebody going without
        while True:
            task = int(lengths.argmin())
            length = int(lengths[task])
            if end < length:
                task = self.tasks[leaver]
                break
            owner = self._owners[task]
            if owner == _NONE:
                leaver, end = _NONE, length
                break
            visited.append((task, length))
            lengths[task], prices[task] = _FAR, 2 * _FAR
            leave = length + self._gains[owner]
            if leave < end:
                leaver, end = owner, leave
            if leave >= asked.get(self._kinds[owner], _FAR):
                continue  # where it could go, its equal has shown; fleets are full of equals
            asked[self._kinds[owner]] = leave
            through = prices - self.values[owner]
            through += leave
            is_shorter = through < lengths
            np.copyto(lengths, through, where=is_shorter)
            via[is_shorter] = owner
        for seen, length in visited:
            self.prices[seen] += end - length
            self._gains[self._owners[seen]] -= end - length
        self._gains[agent] = gain - end
        if leaver != agent:
            self._exchange(agent, leaver, task, via)

    def _exchange(self, agent: int, leaver: int, task: int, via: NDArray[np.intp]) -> None:
        """Pass tasks on along the path that ends with this task."""
        if leaver != _NONE:
            self.tasks[leaver] = _NONE
        while task != _NONE:
            taker = int(via[task])
            self._owners[task] = taker
            self.tasks[taker], task = task, self.tasks[taker]


def _rows(
    world: World, offers: list[Offer], context: Context
) -> tuple[NDArray[np.int32], list[_Row]]:
    """Numbers of all tasks in question, (n_tasks,), and a row for each agent that can take one."""
    listed = []
    for offer in offers:
        agent = world.agents[offer.agent_id]
        wanted = world.watchlists.wanted_by(agent.id)
        found = shortlist(world, agent, offer.project_id, context, wanted)
        if found is not None:
            listed.append((offer, agent, found))
    if not listed:
        return np.empty(0, dtype=np.int32), []
    ends = np.cumsum([len(found.numbers) for _, _, found in listed])[:-1]
    all_numbers = np.concatenate([found.numbers for _, _, found in listed])
    numbers, columns = np.unique(all_numbers, return_inverse=True)
    scored = context.scorer.score(np.concatenate([found.facts for _, _, found in listed]))
    values, factors = np.split(scored.values, ends), np.split(scored.factors, ends)
    rows = []
    for (offer, agent, found), of_agent, *parts in zip(
        listed, np.split(columns, ends), values, factors, strict=True
    ):
        kept, kept_scored = within_budget(world, found, Scores(*parts), context.scorer)
        places = of_agent if kept is found else np.searchsorted(numbers, kept.numbers)
        rows.append(_Row(offer, agent, kept, places, kept_scored))
    return numbers, rows


def _record(row: _Row, task: int, matching: Matching, context: Context) -> DecisionRecord:
    chosen = int(np.flatnonzero(row.columns == task)[0])
    choice = Pick(chosen, 1.0, best_first(row.scored.values).tolist())  # there is no chance in it
    return record_of(row.agent, row.found, row.scored, choice, context, matching=matching)
