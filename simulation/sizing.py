"""How many agents a goal needs, and of which kind.

First the whole team is scaled, by bisection, to the smallest size that reaches the goal. Then each
group is made smaller by itself as long as the goal holds: what is left are the skills that matter.
"""

import operator
import re
from collections.abc import Callable
from math import ceil
from statistics import fmean
from typing import NamedTuple

import msgspec

from pm_agent.ports import Scorer
from simulation.experiment import run
from simulation.metrics import figure, figure_names
from simulation.scenario import Scenario

MAX_FACTOR = 16  # of the team; a goal that needs more is out of reach of more agents
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
    """A team that was tried."""

    team: dict[str, int]
    value: float
    is_enough: bool


class Sizing(msgspec.Struct):
    """The smallest team found, and all that were tried. No team when none was enough."""

    goal: str
    scenario_hash: str
    seeds: list[int]
    policy: str
    team: dict[str, int]
    value: float
    tries: list[Try]
    is_partial: bool = False  # Ctrl-C came before the end: a smaller team may be enough


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
    scorer: Scorer | None = None,
    on_try: Callable[[Try], None] = lambda _: None,
) -> Sizing:
    """Find the smallest team of this mixture that reaches a goal.

    Parameters
    ----------
    replications
        Runs of each team; the goal is compared with their mean.
    scorer
        Instead of the rules that the scenario names.
    on_try
        Told of each team that was tried.

    Notes
    -----
    Ctrl-C ends the search; the result is the smallest team up to then, and says `is_partial`.
    """
    search = _Search(scenario, goal, range(seed, seed + replications), scorer, on_try)
    try:
        return search.found(_smallest(scenario, search))
    except KeyboardInterrupt:
        found = search.found(search.best())
        found.is_partial = True
        return found


def _smallest(scenario: Scenario, search: "_Search") -> dict[str, int]:
    full = {group.name: group.count for group in scenario.team}
    factor = 1.0
    while not search.is_enough(search.scaled(full, factor)):
        factor *= 2
        if factor > MAX_FACTOR:
            return {}
    low, high = (factor / 2 if factor > 1 else 0.0), factor
    while search.scaled(full, high) != search.scaled(full, low) and high - low > high * 0.03:
        middle = (low + high) / 2
        low, high = (
            (low, middle) if search.is_enough(search.scaled(full, middle)) else (middle, high)
        )
    team = search.scaled(full, high)
    for name in sorted(team, key=lambda name: -team[name]):
        team = search.shrunk(team, name)
    return team


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

    def scaled(self, team: dict[str, int], factor: float) -> dict[str, int]:
        return {name: max(1, ceil(count * factor)) for name, count in team.items()}

    def is_enough(self, team: dict[str, int]) -> bool:
        key = tuple(team.values())
        if key not in self._known:
            values = [
                group.model_dump() | {"count": team[group.name]} for group in self._scenario.team
            ]
            scenario = self._scenario.changed(team=values)
            found = fmean(self._value(scenario, seed) for seed in self._seeds)
            self._known[key] = Try(dict(team), found, self._goal.is_met_by(found))
            self._on_try(self._known[key])
        return self._known[key].is_enough

    def _value(self, scenario: Scenario, seed: int) -> float:
        result = run(scenario, seed, scorer=self._scorer)
        if result.is_partial:
            raise KeyboardInterrupt
        return figure(result.figures, self._goal.name)

    def best(self) -> dict[str, int]:
        """The smallest team so far that was enough; none: empty."""
        enough = [one.team for one in self._known.values() if one.is_enough]
        return min(enough, key=lambda team: sum(team.values()), default={})

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

    def found(self, team: dict[str, int]) -> Sizing:
        known = self._known.get(tuple(team.values()))
        return Sizing(
            goal="".join(map(str, self._goal)),
            scenario_hash=self._scenario.hash,
            seeds=list(self._seeds),
            policy=self._scenario.scorer,
            team=team,
            value=known.value if known else float("nan"),
            tries=list(self._known.values()),
        )
