"""Priority inheritance: work is as urgent as the most urgent work that waits for it."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pm_agent.domain.ready_set import rank_of
from pm_agent.domain.task import CancelTask, ReopenTask, Task, TaskDraft, UpdateTask
from pm_agent.domain.world import World
from tests.scenario import (
    PERSON,
    Scenario,
    a_project,
    a_task,
    an_agent,
    an_import,
    complete,
    request_id,
)


def person() -> dict[str, Any]:
    return {"request_id": request_id(), "principal": PERSON}


def effective(scenario: Scenario, task_id: str) -> int:
    found: int = scenario.world.inheritance.of(scenario.task(task_id))
    return found


def by_brute_force(world: World, task: Task) -> int:
    """Highest priority of a task and of the open ones that wait for it, however far."""
    seen, todo, highest = {task.id}, [task.id], task.priority
    while todo:
        waits_for = todo.pop()
        for other in world.tasks.values():
            if waits_for in other.dependencies and not other.is_terminal and other.id not in seen:
                seen.add(other.id)
                todo.append(other.id)
                highest = max(highest, other.priority)
    return highest


@pytest.fixture
def chain(team: Scenario) -> Scenario:
    """T-1 (low) is waited for by T-2 (low), and that by T-3 (urgent)."""
    team.new_task(priority=0)
    team.new_task(priority=0, dependencies=("T-1",))
    team.new_task(priority=3, dependencies=("T-2",))
    return team


def test_urgent_work_makes_urgent_what_it_waits_for(chain: Scenario) -> None:
    assert [effective(chain, t) for t in ("T-1", "T-2", "T-3")] == [3, 3, 3]
    chain.new_task(priority=2)
    assert chain.assigned().task_id == "T-1"


def test_work_that_is_no_more_urgent_lets_it_fall_again(chain: Scenario) -> None:
    chain.given(UpdateTask(**person(), task_id="T-3", priority=1))
    assert [effective(chain, t) for t in ("T-1", "T-2")] == [1, 1]
    chain.given(CancelTask(**person(), task_id="T-3"))
    assert [effective(chain, t) for t in ("T-1", "T-2")] == [0, 0]
    other = chain.new_task(priority=2)
    assert chain.assigned().task_id == other


def test_cancelled_work_urges_again_when_it_is_reopened(chain: Scenario) -> None:
    chain.given(CancelTask(**person(), task_id="T-3"))
    chain.given(ReopenTask(**person(), task_id="T-3", reason="needed"))
    assert effective(chain, "T-1") == 3


def test_a_cancelled_task_in_between_passes_nothing_on(chain: Scenario) -> None:
    chain.given(CancelTask(**person(), task_id="T-2"))
    assert effective(chain, "T-1") == 0


def test_work_done_and_reopened_is_urged_by_who_still_waits(chain: Scenario) -> None:
    chain.done("T-1")
    chain.given(UpdateTask(**person(), task_id="T-3", priority=2))
    chain.given(ReopenTask(**person(), task_id="T-1", reason="it broke"))
    assert effective(chain, "T-1") == 2


def test_a_dependency_that_is_taken_away_urges_no_more(chain: Scenario) -> None:
    chain.given(UpdateTask(**person(), task_id="T-2", dependencies=()))
    assert [effective(chain, t) for t in ("T-1", "T-2")] == [0, 3]


def test_an_import_may_name_what_it_waits_for_later(team: Scenario) -> None:
    drafts = [
        TaskDraft(title="last", key="c", priority=3, dependencies=("b",)),
        TaskDraft(title="middle", key="b", priority=0, dependencies=("a",)),
        TaskDraft(title="first", key="a", priority=1),
    ]
    team.given(an_import(*drafts))
    assert [effective(team, t) for t in ("T-1", "T-2", "T-3")] == [3, 3, 3]


def test_who_waits_is_counted_once_when_a_loaded_world_reopens_what_had_ended(
    team: Scenario,
) -> None:
    drafts = [
        TaskDraft(title="last", key="b", priority=3, dependencies=("a",)),
        TaskDraft(title="first", key="a", priority=0),
    ]
    team.given(an_import(*drafts), CancelTask(**person(), task_id="T-2"))
    team.restart(snapshot_at=len(team.journal))
    team.given(ReopenTask(**person(), task_id="T-2", reason="needed"))
    assert effective(team, "T-2") == 3
    team.given(CancelTask(**person(), task_id="T-1"))
    assert effective(team, "T-2") == 0


def test_the_record_of_a_choice_holds_the_effective_priority(chain: Scenario) -> None:
    scorer = chain.scorer
    record = chain.assigned().decision
    assert record.fact_rows[0][scorer.fact_names.index("priority")] == 3


def test_a_long_chain_needs_no_deep_stack_and_little_time(team: Scenario) -> None:
    n = 3_000
    drafts = [
        TaskDraft(title=f"t{i}", key=f"k{i}", priority=0, dependencies=(f"k{i - 1}",) if i else ())
        for i in range(n)
    ]
    team.given(an_import(*drafts))
    team.given(UpdateTask(**person(), task_id=f"T-{n}", priority=3))
    assert {effective(team, t) for t in team.world.tasks} == {3}


def turn(scenario: Scenario, random: Random) -> None:
    """Do something that may change who is how urgent."""
    known = list(scenario.world.tasks)
    some = tuple(random.sample(known, min(len(known), random.randrange(4))))
    task_id = random.choice(known) if known else "T-1"
    choice = random.randrange(8)
    if choice < 3:
        scenario.when(a_task(priority=random.randrange(4), dependencies=some))
    elif choice == 3:
        scenario.when(UpdateTask(**person(), task_id=task_id, priority=random.randrange(4)))
    elif choice == 4:
        scenario.when(
            UpdateTask(**person(), task_id=task_id, dependencies=some, priority=random.randrange(4))
        )
    elif choice == 5:
        scenario.when(CancelTask(**person(), task_id=task_id))
    elif choice == 6:
        scenario.when(ReopenTask(**person(), task_id=task_id, reason="again"))
    elif scenario.world.ready:
        given = scenario.assigned()
        scenario.given(complete(given.task_id, given.lease_token))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), n_turns=st.integers(1, 60))
def test_effective_priorities_are_those_of_brute_force_on_any_graph(
    seed: int, n_turns: int
) -> None:
    random, scenario = Random(seed), Scenario(seed=seed)
    scenario.given(a_project(), an_agent())
    for _ in range(n_turns):
        turn(scenario, random)
        world = scenario.world
        for task in world.tasks.values():
            if not task.is_terminal:
                assert world.inheritance.of(task) == by_brute_force(world, task), task
        ranks = {
            world.ready.task_ids[entry.slot]: entry.rank
            for ready_class in world.ready.classes.values()
            for entry in ready_class.entries
        }
        assert ranks == {
            t: rank_of(world.tasks[t], by_brute_force(world, world.tasks[t])) for t in ranks
        }
    scenario.verify()
