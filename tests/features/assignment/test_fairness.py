"""No task waits past its ageing bound while a capable agent keeps claiming."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm_agent.domain.ready_set import AGING_US, rank_of
from pm_agent.domain.task import Skill, Task
from pm_agent.domain.time import MINUTE_US
from pm_agent.features.assignment.scoring import FactorsScorer, PriorityScorer
from pm_agent.kernel.types import Policy
from pm_agent.ports import Scorer
from tests.scenario import Scenario, a_project, a_task, an_agent, claim, complete

SKILLS = (Skill("api", 3), Skill("rust", 3))
PLAIN, URGENT = 1, 3


def rank(scenario: Scenario, task: Task) -> int:
    return rank_of(task, scenario.world.inheritance.of(task))


def new_task(scenario: Scenario, random: Random) -> None:
    known = list(scenario.world.tasks)
    scenario.given(
        a_task(
            priority=random.randrange(4),
            skills=random.choice([(), SKILLS[:1], SKILLS[1:], SKILLS]),
            estimate_min=random.choice([0, 10, 240]),
            dependencies=tuple(random.sample(known, min(len(known), random.randrange(2)))),
        )
    )


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    scorer=st.sampled_from([PriorityScorer(), FactorsScorer()]),
    reserve=st.sampled_from([0.1, 1.0]),
)
def test_only_what_goes_before_a_task_by_rank_ever_takes_its_turn(
    seed: int, scorer: Scorer, reserve: float
) -> None:
    """So a task waits for at most as many turns as tasks go before it, and these are bounded:

    none that is created more than the ageing bound later is among them.
    """
    random = Random(seed)
    scenario = Scenario(scorer, Policy(exploration=0.0, reserve=reserve), seed)
    scenario.given(a_project(), an_agent(skills=SKILLS))
    for _ in range(60):
        for _ in range(random.randrange(3)):
            new_task(scenario, random)
        scenario.after(minutes=random.choice([1, 60, 600]))
        ranks = {t: rank(scenario, scenario.task(t)) for t in scenario.world.ready}
        scenario.when(claim())
        if scenario.result["outcome"] != "assigned":
            assert not ranks
            continue
        given_ = scenario.events[0]
        record = given_.decision  # type: ignore[attr-defined]  # a task was assigned
        turn = record.candidate_ids[record.first]
        assert ranks[turn] == min(ranks.values())
        if reserve == 1.0:
            assert given_.task_id == turn  # type: ignore[attr-defined]
        scenario.given(complete(given_.task_id, given_.lease_token))  # type: ignore[attr-defined]
    scenario.verify()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9).map(lambda m: m * MINUTE_US),
    st.integers(0, 10**9).map(lambda m: m * MINUTE_US),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.integers(0, 10**6),
)
def test_nothing_created_past_the_ageing_bound_goes_before_a_task(
    created_us: int, later_us: int, priorities: tuple[int, int], critical_path_min: int
) -> None:
    def task(number: int, at_us: int, priority: int, behind_min: int) -> Task:
        return Task(
            id=f"T-{number}",
            number=number,
            project_id="P-web",
            title="t",
            created_at_us=at_us,
            priority=priority,
            critical_path_min=behind_min,
        )

    old = task(1, created_us, priorities[0], 0)
    after_us = created_us + 4 * AGING_US + 1 + later_us
    young = task(2, after_us, priorities[1], critical_path_min)
    assert rank_of(old) < rank_of(young)


def claims_until_taken(reserve: float, seed: int, n_claims: int) -> int | None:
    """How often other tasks are claimed before a plain one, while an urgent one comes each time."""
    scenario = Scenario(FactorsScorer(), Policy(exploration=0.03, reserve=reserve), seed)
    scenario.given(a_project(), an_agent(skills=SKILLS))
    old = scenario.new_task(priority=PLAIN)
    for n in range(n_claims):
        scenario.new_task(priority=URGENT, skills=SKILLS)
        scenario.after(minutes=30)
        found = scenario.assigned()
        if found.task_id == old:
            return n
        scenario.given(complete(found.task_id, found.lease_token))
    return None


def test_better_tasks_that_keep_coming_starve_a_task_without_the_reserve() -> None:
    assert claims_until_taken(0.0, seed=1, n_claims=150) is None


@pytest.mark.parametrize("seed", range(8))
def test_the_reserve_brings_its_turn(seed: int) -> None:
    # After 8 h, or 16 claims, its rank is the lowest. That 88 draws of a tenth all miss has then a
    # chance of one in ten thousand.
    assert claims_until_taken(0.1, seed, n_claims=16 + 88) is not None
