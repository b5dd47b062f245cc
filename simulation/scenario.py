"""A scenario: load, team, behaviour, faults and policy, read from TOML and checked before it runs.

Every key has a default that a small scenario can live with; unknown keys are refused. Times carry
their unit in their names. The page docs/what_if.md explains each table.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pm_agent.domain.project import CompletionPolicy
from pm_agent.features.assignment.learned import POLICY
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.kernel.types import Policy
from simulation.behaviour import AGENTS, FAMILIES

SCENARIOS = Path(__file__).parent / "scenarios"
DEFAULT = "day"
POLICIES = (*SCORERS, POLICY)

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Level = Annotated[int, Field(ge=1, le=5)]
SkillName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+#-]*$")]


class ScenarioError(ValueError):
    """A scenario that cannot be run; the message says which key, and what it should be."""


class Table(BaseModel):
    """A table of a scenario. Unknown keys are refused: a misspelt one would silently do nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Graph(Table):
    """Tasks that come together and depend on each other."""

    shape: Literal["layered", "fan_in", "chain"] = "layered"
    tasks: Annotated[int, Field(ge=2, le=10_000)] = 50
    width: Annotated[int, Field(ge=1)] = 8  # tasks in one layer of a layered graph
    fan_in: Annotated[int, Field(ge=1)] = 2  # dependencies of a task, into the layer before


class Load(Table):
    """When tasks arrive."""

    kind: Literal["poisson", "profile", "burst", "dump"] = "poisson"
    tasks_per_day: Positive = 1_000
    # Relative rates over the day, evenly spread from midnight UTC; for the kind `profile`.
    profile: Annotated[tuple[NotNegative, ...], Field(min_length=2)] = (1, 1)
    graph: Graph | None = None  # tasks arrive as whole graphs, at the same rate of tasks

    @model_validator(mode="after")
    def _profile_is_not_empty(self) -> Self:
        if sum(self.profile) <= 0:
            raise ValueError("profile: at least one rate must be above 0")
        return self


class RequiredSkill(Table):
    """What a share of the tasks requires."""

    name: SkillName
    level: Level = 1
    share: Share


class Tasks(Table):
    """What tasks are like. `human_min`, how long a person would need, is never told to anybody."""

    # `metr_families`: kinds are families of simulation/fitted/metr_families.toml, with their tasks'
    # lengths; how hard they really are no estimate tells.
    lengths: Literal["lognormal", "metr_families"] = "lognormal"
    human_min: Positive = 30  # median
    spread: NotNegative = 1.0  # standard deviation of its natural logarithm
    estimate_spread: NotNegative = 0.5  # by how much estimates are off, in the same unit
    priorities: tuple[NotNegative, NotNegative, NotNegative, NotNegative] = (15, 60, 20, 5)
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] = ("feature", "bug", "test", "docs")
    skills: tuple[RequiredSkill, ...] = ()  # the rest requires none

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if sum(self.priorities) <= 0:
            raise ValueError("priorities: at least one weight must be above 0")
        if sum(skill.share for skill in self.skills) > 1 + 1e-9:
            raise ValueError("skills: the shares add up to more than 1")
        if self.lengths == "metr_families" and (unknown := sorted(set(self.kinds) - set(FAMILIES))):
            raise ValueError(f"kinds: no family {', '.join(unknown)}; {_one_of(FAMILIES)}")
        return self


class Project(Table):
    """A project with its share of the load and the way its work is judged."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "main"
    weight: Positive = 1
    completion: CompletionPolicy = "command"
    max_in_progress: Annotated[int, Field(ge=0)] = 0
    token_cap: Annotated[int, Field(ge=0)] = 0


class Group(Table):
    """Agents of one kind."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    count: Annotated[int, Field(ge=1, le=100_000)]
    skills: dict[SkillName, Level] = {}
    projects: tuple[str, ...] = ()  # empty: every project
    capacity: Annotated[int, Field(ge=1, le=100)] = 1
    heartbeats: bool = False  # a sidecar signs every 30 s; else any request is the sign of life
    model: str = "Claude 3.5 Sonnet (New)"  # of simulation/fitted/metr_runs.toml
    horizon_min: Positive | None = None  # work in human minutes of which it solves half
    speed: Positive = 1.0  # of work, relative to the fitted model


class Behaviour(Table):
    """How agents work. `fitted` uses the tables in simulation/fitted."""

    success: Literal["fitted"] | Share = "fitted"
    duration: Literal["fitted", "exponential", "fixed"] = "fitted"
    mean_min: Positive = 30  # of `exponential` and `fixed`
    talent_spread: NotNegative = 0.5  # between agents of a group, in logits
    affinity_spread: NotNegative = 0.3  # of one agent between kinds of tasks, in logits
    gives_up: Share = 0.15  # of attempts that fail; the others hand in work that is not right
    report_every_min: Positive = 15  # while it works
    tokens_per_min: NotNegative = 4_000  # assumption, the same as the product's own prediction
    usd_per_million_tokens: NotNegative = 3.0  # assumption


class Review(Table):
    """How handed-in work is judged."""

    gate_min: NotNegative = 3  # of a command
    person_min: Positive = 45  # median of a person's answer
    person_spread: NotNegative = 1.0
    finds: Share = 0.95  # of work that is not right
    false_alarms: Share = 0.01  # of work that is right


class People(Table):
    """Who answers blockers and judges work, one question at a time, around the clock.

    A question lies until somebody turns to it (`review.person_min`, `faults.blocker_min`), waits
    for one who is free, and is then so much work.
    """

    # 0: attention without end; nothing waits for a free one, and an answer is no work.
    count: Annotated[int, Field(ge=0, le=10_000)] = 0
    answer_min: Positive = 20  # median; an assumption, see simulation/causes.py
    answer_spread: NotNegative = 0.5


class Faults(Table):
    """What goes wrong, as shares of attempts. No public data: assumptions."""

    crash: Share = 0.0  # the agent's process dies
    crash_min: Positive = 20  # median until it is back
    silence: Share = 0.0  # the agent is not heard, and works on later: late work
    silence_min: Positive = 40  # median
    blocker: Share = 0.0  # it needs an answer
    blocker_min: Positive = 45  # median until somebody answers
    blocker_release: Share = 0.3  # of blockers, with which the agent gives the task back
    ladder: Literal["full", "advice", "person"] = "person"  # what is done before a person is asked
    vanish: Share = 0.0  # of offers that a waiting agent does not answer

    @model_validator(mode="after")
    def _are_shares_of_one(self) -> Self:
        if self.crash + self.silence + self.blocker > 1:
            raise ValueError("crash, silence and blocker add up to more than 1")
        return self


class Scenario(Table):
    """A what-if question: everything that a run depends on besides its seed.

    Examples
    --------
    >>> Scenario.read("mm1").team[0].count
    1
    """

    name: str = "scenario"
    title: str = ""
    horizon_h: Positive = 24
    warm_up_h: NotNegative = 0  # tasks created before are not counted
    drain: bool = False  # go on after the horizon until all tasks have ended, one horizon at most
    sample_min: Positive = 5  # between two points of the time series
    replications: Annotated[int, Field(ge=1, le=10_000)] = 5  # of a comparison
    scorer: str = "factors"
    policy: dict[str, int | float] = {}  # numbers of `pm_agent.kernel.types.Policy`
    load: Load = Load()
    tasks: Tasks = Tasks()
    projects: Annotated[tuple[Project, ...], Field(min_length=1)] = (Project(),)
    team: Annotated[tuple[Group, ...], Field(min_length=1)]
    behaviour: Behaviour = Behaviour()
    review: Review = Review()
    people: People = People()
    faults: Faults = Faults()

    @classmethod
    def read(cls, place: str | Path) -> "Scenario":
        """Read a scenario: a name from simulation/scenarios, or a file.

        Raises
        ------
        ScenarioError
            There is no such scenario, it is no TOML, or a key is wrong.
        """
        path = _path_of(place)
        try:
            values = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"{path} is no TOML: {error}") from error
        return cls.of({"name": path.stem, **values})

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Scenario":
        """Check values and make a scenario of them.

        Raises
        ------
        ScenarioError
            A key is wrong; all that are wrong are named.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ScenarioError(_explained(error)) from error

    def changed(self, **changes: Any) -> "Scenario":
        """Return the scenario with some keys changed, checked again."""
        return Scenario.of(self.model_dump() | changes)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all values, in canonical JSON."""
        said = self.model_dump(mode="json")
        if self.people == People():  # a younger table: scenarios without it keep their hash
            del said["people"]
        values = json.dumps(said, sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:16]

    @property
    def n_agents(self) -> int:
        return sum(group.count for group in self.team)

    @property
    def asks_people(self) -> bool:
        """Whether anything of it needs a person."""
        return self.faults.blocker > 0 or any(p.completion == "person" for p in self.projects)

    def numbers(self) -> Policy:
        """Numbers of decisions, with those that the scenario changes."""
        numbers = msgspec.to_builtins(Policy()) | {"blocker_ladder": self.faults.ladder}
        return msgspec.convert(numbers | self.policy, Policy, strict=False)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known_projects = {project.name for project in self.projects}
        for group in self.team:
            if group.model not in AGENTS:
                raise ValueError(f"team {group.name}: no model {group.model!r}; {_one_of(AGENTS)}")
            if unknown := sorted(set(group.projects) - known_projects):
                raise ValueError(f"team {group.name}: no project {', '.join(unknown)}")
        if self.scorer not in POLICIES:
            raise ValueError(f"scorer: no policy {self.scorer!r}; {_one_of(POLICIES)}")
        if unknown := sorted(set(self.policy) - set(Policy.__struct_fields__)):
            raise ValueError(
                f"policy: no number {', '.join(unknown)}; {_one_of(Policy.__struct_fields__)}"
            )
        if negative := sorted(key for key, value in self.policy.items() if value < 0):
            raise ValueError(f"policy: {', '.join(negative)} must not be negative")
        if self.warm_up_h >= self.horizon_h:
            raise ValueError("warm_up_h must be shorter than horizon_h")
        return self

    @model_validator(mode="after")
    def _somebody_can(self) -> Self:
        for skill in self.tasks.skills:
            for project in self.projects:
                able = [
                    group
                    for group in self.team
                    if group.skills.get(skill.name, 0) >= skill.level
                    and (not group.projects or project.name in group.projects)
                ]
                if not able:
                    raise ValueError(
                        f"tasks.skills: nobody in the team has {skill.name} at level "
                        f"{skill.level} for project {project.name}; such tasks would wait for ever"
                    )
        return self


def names() -> list[str]:
    """Scenarios that come with the package."""
    return sorted(path.stem for path in SCENARIOS.glob("*.toml"))


def _path_of(place: str | Path) -> Path:
    path = Path(place)
    if path.suffix == ".toml" or path.parent != Path():
        if path.is_file():
            return path
        raise ScenarioError(f"There is no file {path}.")
    shipped = SCENARIOS / f"{place}.toml"
    if shipped.is_file():
        return shipped
    raise ScenarioError(f"There is no scenario {place!r}; {_one_of(names())}, or name a .toml file")


def _one_of(known: Any) -> str:
    return f"there are {', '.join(known)}"


def _explained(error: ValidationError) -> str:
    """One line a wrong key: where, and what it should be."""
    lines = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        what = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            what = "unknown key"
        elif not isinstance(one["input"], dict | list | BaseModel):
            what = f"{what}; it is {one['input']!r}"
        lines.append(f"{where}: {what}" if where else what)
    return "\n".join(lines)
