"""How many agents a goal needs, and of which kind.

First the whole team is scaled, by bisection, to the smallest size that reaches the goal. Then each
group is made smaller by itself as long as the goal holds: what is left are the skills that matter.
Or the team stays as it is, and the fewest people are looked for who answer its questions in time.
"""

import operator
import re
from collections.abc import Callable
from math import ceil
from statistics import fmean
from typing import Literal, NamedTuple

import msgspec

from pm_agent.ports import Scorer
from simulation.experiment import run
from simulation.metrics import figure, figure_names
from simulation.scenario import Scenario, ScenarioError

MAX_FACTOR = 16  # of the team; a goal that needs more is out of reach of more agents
MAX_PEOPLE = 4_096
Sought = Literal["team", "people"]
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Goal(NamedTuple):
    """A figure, how it is compared, and with what."""

    name: str
    sign: str
    value: float

    def is_met_by(self, found: float) -> bool:
        return _COMPARE[self.sign](found, self.value)


class Try(msgspec.Struct, frozen=True):
    """A team that was tried, with so many people; 0: their attention has no end."""

    team: dict[str, int]
    value: float
    is_enough: bool
    people: int = 0


class Sizing(msgspec.Struct):
    """The smallest team, or the fewest people, and all that was tried.

    No team and no people when none were enough.
    """

    goal: str
    scenario_hash: str
    seeds: list[int]
    policy: str
    team: dict[str, int]
    value: float
    tries: list[Try]
    is_partial: bool = False  # Ctrl-C came before the end: a smaller team may be enough
    find: Sought = "team"
    people: int = 0


def goal_of(text: str) -> Goal:
    """Read a goal such as ``p95_lead_h<4``.

    Raises
    ------
    ValueError
        It is no comparison of a figure with a number.
    """
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", text)
    if found is None:
        raise ValueError(f"no goal: {text!r}; write a figure, < or >, and a number: p95_lead_h<4")
    if found[1] not in figure_names():
        raise ValueError(f"no figure {found[1]!r}; there are {', '.join(figure_names())}")
    return Goal(found[1], found[2], float(found[3]))


def size(
    scenario: Scenario,
    goal: Goal,
    *,
    replications: int = 1,
    seed: int = 0,
    find: Sought = "team",
    scorer: Scorer | None = None,
    on_try: Callable[[Try], None] = lambda _: None,
) -> Sizing:
    """Find the smallest team of this mixture that reaches a goal, or the fewest people.

    Parameters
    ----------
    replications
        Runs of each team; the goal is compared with their mean.
    find
        What is looked for; the other stays as the scenario says.
    scorer
        Instead of the rules that the scenario names.
    on_try
        Told of each team that was tried.

    Raises
    ------
    ScenarioError
        People are looked for where nobody is asked anything.

    Notes
    -----
    Ctrl-C ends the search; the result is the smallest team up to then, and says `is_partial`.
    """
    if find == "people" and not scenario.asks_people:
        message = "nobody is asked here: set faults.blocker, or a project's completion = 'person'"
        raise ScenarioError(message)
    search = _Search(scenario, goal, range(seed, seed + replications), scorer, on_try)
    is_partial = False
    try:
        best = _fewest_people(search) if find == "people" else _smallest(scenario, search)
    except KeyboardInterrupt:
        best, is_partial = search.best(find), True
    return Sizing(
        goal="".join(map(str, goal)),
        scenario_hash=scenario.hash,
        seeds=list(range(seed, seed + replications)),
        policy=scenario.scorer,
        team=best.team if best else {},
        value=best.value if best else float("nan"),
        tries=search.tries,
        is_partial=is_partial,
        find=find,
        people=best.people if best else 0,
    )


def _fewest_people(search: "_Search") -> Try | None:
    """With more people questions wait less, so halving finds the fewest."""
    if not search.tried(people=0).is_enough:  # not even with attention without end
        return None
    low, high = 0, 1
    while not search.tried(people=high).is_enough:
        low, high = high, high * 2
        if high > MAX_PEOPLE:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if search.tried(people=middle).is_enough else (middle, high)
    return search.tried(people=high)


def _smallest(scenario: Scenario, search: "_Search") -> Try | None:
    full = search.full
    factor = 1.0
    while not search.is_enough(search.scaled(full, factor)):
        factor *= 2
        if factor > MAX_FACTOR:
            return None
    low, high = (factor / 2 if factor > 1 else 0.0), factor
    while search.scaled(full, high) != search.scaled(full, low) and high - low > high * 0.03:
        middle = (low + high) / 2
        low, high = (
            (low, middle) if search.is_enough(search.scaled(full, middle)) else (middle, high)
        )
    team = search.scaled(full, high)
    for name in sorted(team, key=lambda name: -team[name]):
        team = search.shrunk(team, name)
    return search.tried(team)


class _Search:
    def __init__(
        self,
        scenario: Scenario,
        goal: Goal,
        seeds: range,
        scorer: Scorer | None,
        on_try: Callable[[Try], None],
    ) -> None:
        self._scenario, self._goal, self._seeds = scenario, goal, seeds
        self._scorer, self._on_try = scorer, on_try
        self._known: dict[tuple[int, ...], Try] = {}
        self.full = {group.name: group.count for group in scenario.team}

    @property
    def tries(self) -> list[Try]:
        return list(self._known.values())

    def scaled(self, team: dict[str, int], factor: float) -> dict[str, int]:
        return {name: max(1, ceil(count * factor)) for name, count in team.items()}

    def is_enough(self, team: dict[str, int]) -> bool:
        return self.tried(team).is_enough

    def tried(self, team: dict[str, int] | None = None, people: int | None = None) -> Try:
        """Try a team with so many people; left out: as the scenario says."""
        scenario = self._scenario
        team = self.full if team is None else team
        count = scenario.people.count if people is None else people
        key = (*team.values(), count)
        if key not in self._known:
            values = [group.model_dump() | {"count": team[group.name]} for group in scenario.team]
            table = scenario.people.model_dump() | {"count": count}
            changed = scenario.changed(team=values, people=table)
            found = fmean(self._value(changed, seed) for seed in self._seeds)
            self._known[key] = Try(dict(team), found, self._goal.is_met_by(found), count)
            self._on_try(self._known[key])
        return self._known[key]

    def _value(self, scenario: Scenario, seed: int) -> float:
        result = run(scenario, seed, scorer=self._scorer)
        if result.is_partial:
            raise KeyboardInterrupt
        return figure(result.figures, self._goal.name)

    def best(self, find: Sought) -> Try | None:
        """The smallest so far that was enough."""
        enough = [one for one in self.tries if one.is_enough and (find == "team" or one.people)]
        return min(enough, key=lambda one: (sum(one.team.values()), one.people), default=None)

    def shrunk(self, team: dict[str, int], name: str) -> dict[str, int]:
        """Make one group as small as the goal allows, to about a tenth of its size."""
        low, high = 0, team[name]
        while high - low > max(1, team[name] // 10):
            middle = (low + high) // 2
            if self.is_enough(team | {name: max(1, middle)}):
                high = max(1, middle)
            else:
                low = middle
        return team | {name: high}
