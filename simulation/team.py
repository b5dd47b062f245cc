"""The simulated agents: what they say about themselves, and what they really can do."""

from math import sqrt
from typing import Any

import numpy as np

from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.envelope import Principal
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.task import Skill
from simulation.arrivals import TEAM, stream
from simulation.behaviour import AGENTS, ability_of
from simulation.scenario import Group, Scenario


class Worker:
    """One simulated agent.

    Attributes
    ----------
    profile : RegisterAgent
        What it says about itself; all that the product gets to know.
    ability : dict of str to float
        Its logits of success at a task of one human minute, by kind of task. Hidden.
    pace : float
        log2 of its median seconds for such a task. Hidden.
    attempts : list
        Its attempts under way, as it sees them (`simulation.lives`).
    """

    __slots__ = ("ability", "attempts", "group", "heartbeats", "id", "is_away", "number", "pace",
                 "places", "principal", "profile")  # fmt: skip

    def __init__(
        self,
        number: int,
        group: int,
        profile: RegisterAgent,
        pace: float,
        ability: dict[str, float],
    ) -> None:
        self.number = number
        self.group = group
        self.profile = profile
        self.id: AgentId = profile.agent_id
        self.principal = profile.principal
        self.heartbeats = profile.sends_heartbeats
        self.places = profile.capacity
        self.pace = pace
        self.ability = ability
        self.attempts: list[Any] = []
        self.is_away = False


def project_id(name: str) -> ProjectId:
    """Id of a scenario's project."""
    return f"P-{name}"


def team_of(scenario: Scenario, seed: int) -> list[Worker]:
    """Make all agents of a scenario; the same ones for every policy."""
    behaviour = scenario.behaviour
    random = stream(seed, TEAM)
    team: list[Worker] = []
    for place, group in enumerate(scenario.team):
        general = ability_of(group.model, group.horizon_min)
        talents = random.normal(general, behaviour.talent_spread, group.count)
        affinities = random.normal(
            0, behaviour.affinity_spread, (group.count, len(scenario.tasks.kinds))
        )
        if len(scenario.tasks.kinds) > 1:  # around the talent: no agent is better at everything
            affinities -= affinities.mean(axis=1, keepdims=True)
            affinities *= sqrt(len(scenario.tasks.kinds) / (len(scenario.tasks.kinds) - 1))
        pace = AGENTS[group.model].pace - float(np.log2(group.speed))
        for number in range(group.count):
            logits = (talents[number] + affinities[number]).tolist()
            ability = dict(zip(scenario.tasks.kinds, logits, strict=True))
            profile = _profile(group, number + 1)
            team.append(Worker(len(team), place, profile, pace, ability))
    return team


def _profile(group: Group, number: int) -> RegisterAgent:
    agent_id = f"A-{group.name}-{number}"
    return RegisterAgent(
        request_id=f"register:{agent_id}",
        principal=Principal("agent", agent_id),
        agent_id=agent_id,
        name=f"{group.name}-{number}",
        skills=tuple(Skill(name, level) for name, level in sorted(group.skills.items())),
        capacity=group.capacity,
        project_ids=tuple(sorted(project_id(name) for name in group.projects)),
        sends_heartbeats=group.heartbeats,
    )
