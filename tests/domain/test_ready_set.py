"""The ready-set: classes in rank order, rows up to date, cost independent of the backlog."""

from collections import Counter
from random import Random

import pytest

from pm_agent.domain.ready_set import (
    AGING_US,
    COLUMNS,
    N_COLUMNS,
    NUMBER,
    ReadySet,
    rank_of,
)
from pm_agent.domain.task import Skill, Task
from pm_agent.domain.time import HOUR_US

ROW = tuple(float(i) for i in range(N_COLUMNS))


def task(number: int, **fields: object) -> Task:
    return Task(id=f"T-{number}", number=number, project_id="P-web", title="t", **fields)  # type: ignore[arg-type]


def order(ready: ReadySet) -> list[str]:
    (only,) = (c for c in ready.classes.values() if c.entries)
    return [ready.task_ids[entry.slot] for entry in only.entries]


def test_equal_tasks_keep_the_order_of_their_numbers() -> None:
    ready = ReadySet()
    for number in (3, 1, 2):
        ready.put(task(number), ROW, 0)
    assert order(ready) == ["T-1", "T-2", "T-3"]


def test_one_priority_is_worth_four_hours_of_waiting() -> None:
    plain = task(1, created_at_us=0, priority=1)
    assert AGING_US == 4 * HOUR_US
    assert rank_of(task(2, created_at_us=4 * HOUR_US - 1, priority=2)) < rank_of(plain)
    assert rank_of(task(2, created_at_us=4 * HOUR_US + 1, priority=2)) > rank_of(plain)


def test_work_behind_a_task_is_worth_at_most_one_priority() -> None:
    plain = task(1, created_at_us=AGING_US)
    behind = task(2, created_at_us=AGING_US, critical_path_min=60)
    endless = task(3, created_at_us=AGING_US, critical_path_min=10**6)
    assert rank_of(behind) < rank_of(plain)
    assert rank_of(plain) - rank_of(endless) == AGING_US


def test_a_task_put_again_moves_to_its_new_place() -> None:
    ready = ReadySet()
    ready.put(task(1), ROW, 0)
    ready.put(task(2), ROW, 0)
    ready.put(task(2, priority=3), ROW, 0)
    assert order(ready) == ["T-2", "T-1"]
    assert len(ready) == 2
    ready.put(task(2, skills=(Skill("rust", 1),)), ROW, 0)
    assert sorted(len(c.entries) for c in ready.classes.values()) == [1, 1]


def test_a_row_is_replaced_without_moving_its_task() -> None:
    ready = ReadySet()
    ready.put(task(1), ROW, 0)
    ready.put(task(1), tuple(reversed(ROW)), 0)
    (only,) = ready.classes.values()
    assert ready.columns[only.entries[0].slot].tolist()[:N_COLUMNS] == list(reversed(ROW))


def test_taking_out_what_is_not_in_does_nothing() -> None:
    ready = ReadySet()
    ready.remove("T-1")
    ready.put(task(1), ROW, 0)
    ready.remove("T-1")
    ready.remove("T-1")
    assert len(ready) == 0
    assert "T-1" not in ready


@pytest.mark.parametrize("seed", range(3))
def test_rows_stay_with_their_tasks_through_growth_and_reuse(seed: int) -> None:
    random, ready = Random(seed), ReadySet()
    kept: dict[str, float] = {}
    for step in range(3000):
        number = random.randrange(900)
        if random.random() < 0.65:
            mark = float(step)
            skills = (Skill("rust", 1),) if number % 2 else ()
            of = task(number, skills=skills, priority=random.randrange(4))
            ready.put(of, (mark, *ROW[1:]), number)
            kept[of.id] = mark
        else:
            ready.remove(f"T-{number}")
            kept.pop(f"T-{number}", None)
    assert set(ready) == set(kept)
    found = {
        ready.task_ids[entry.slot]: ready.columns[entry.slot][0]
        for ready_class in ready.classes.values()
        for entry in ready_class.entries
    }
    assert found == kept
    for ready_class in ready.classes.values():
        assert list(ready_class.entries) == sorted(ready_class.entries)


def test_a_class_admits_by_project_and_levels() -> None:
    ready = ReadySet()
    ready.put(task(1, skills=(Skill("rust", 3),)), ROW, 0)
    (only,) = ready.classes.values()
    assert only.admits(((Skill("rust", 3),), ()))
    assert only.admits(((Skill("rust", 5),), ("P-web",)))
    assert not only.admits(((Skill("rust", 2),), ()))
    assert not only.admits(((Skill("rust", 3),), ("P-app",)))


def test_an_agent_known_before_a_class_came_finds_it() -> None:
    ready = ReadySet()
    rust = ((Skill("rust", 3),), ())
    assert ready.eligible(rust).classes == []
    ready.put(task(1, skills=(Skill("rust", 1),)), ROW, 0)
    (only,) = ready.eligible(rust).classes
    assert only.n == 1
    ready.remove("T-1")
    assert only.n == 0


def head_of(ready: ReadySet, n: int) -> list[str]:
    (only,) = ready.classes.values()
    return [f"T-{number:.0f}" for number in ready.head(only, n).rows[:, NUMBER]]


def test_a_head_is_gathered_again_when_it_changes() -> None:
    ready = ReadySet()
    for number in range(1, 6):
        ready.put(task(number), ROW, 0)
    assert head_of(ready, 3) == ["T-1", "T-2", "T-3"]
    ready.put(task(9), ROW, 0)  # behind the head
    assert head_of(ready, 3) == ["T-1", "T-2", "T-3"]
    ready.remove("T-2")
    assert head_of(ready, 3) == ["T-1", "T-3", "T-4"]
    ready.put(task(8, priority=3), ROW, 0)
    assert head_of(ready, 3) == ["T-8", "T-1", "T-3"]
    assert head_of(ready, 99) == ["T-8", "T-1", "T-3", "T-4", "T-5", "T-9"]


@pytest.mark.parametrize("seed", range(3))
def test_a_head_always_equals_the_first_of_its_class(seed: int) -> None:
    random, ready = Random(seed), ReadySet()
    for step in range(1500):
        number = random.randrange(40)
        if random.random() < 0.6:
            ready.put(task(number, priority=random.randrange(4)), (float(step), *ROW[1:]), step)
        else:
            ready.remove(f"T-{number}")
        for ready_class in ready.classes.values():
            slots = [entry.slot for entry in ready_class.entries[:10]]
            rows = ready.head(ready_class, 10).rows.tolist()
            assert rows == ready.columns[slots].tolist()
            assert [row[NUMBER] for row in rows] == [e.number for e in ready_class.entries[:10]]


@pytest.mark.parametrize("seed", range(3))
def test_who_failed_last_is_counted_over_the_ready_tasks(seed: int) -> None:
    random, ready = Random(seed), ReadySet()
    failed: dict[str, int] = {}
    for _ in range(1500):
        of, agent = task(random.randrange(300), priority=random.randrange(4)), random.randrange(4)
        if random.random() < 0.6:
            ready.put(of, ROW, agent)
            failed[of.id] = agent
        else:
            ready.remove(of.id)
            failed.pop(of.id, None)
        assert +ready.failed_by == Counter(a for a in failed.values() if a)


def lasting(minutes: float, priority: float = 0.0) -> tuple[float, ...]:
    known = {"estimate_min": minutes, "priority": priority}
    return tuple(known.get(name, 0.0) for name in COLUMNS)


def mixed(ready: ReadySet, n: int) -> list[str]:
    (only,) = ready.classes.values()
    return [f"T-{number:.0f}" for number in ready.mixed(only, n).rows[:, NUMBER]]


def test_half_of_a_mixed_head_are_the_shortest_tasks_however_late_they_came() -> None:
    ready = ReadySet()
    for number in range(1, 9):
        ready.put(task(number), lasting(100.0 - number), 0)
    assert mixed(ready, 4) == ["T-1", "T-2", "T-8", "T-7"]
    assert mixed(ready, 8) == [f"T-{number}" for number in range(1, 9)]
    ready.put(task(3), lasting(1.0), 0)  # in its place by rank, and the shortest now
    assert mixed(ready, 4) == ["T-1", "T-2", "T-3", "T-8"]
    ready.remove("T-3")
    ready.put(task(9), lasting(60.0, priority=1.0), 0)  # counts as half an hour
    assert mixed(ready, 4) == ["T-1", "T-2", "T-9", "T-8"]


def test_one_that_is_both_first_and_shortest_stands_once_in_a_mixed_head() -> None:
    ready = ReadySet()
    for number in range(1, 9):
        ready.put(task(number), lasting(number), 0)
    assert mixed(ready, 4) == ["T-1", "T-2", "T-3", "T-4"]


def test_the_order_by_length_is_kept_through_any_changes() -> None:
    random, ready = Random(5), ReadySet()
    for number in range(1, 400):
        ready.put(task(number), lasting(random.choice((0, 5, 30, 600))), 0)
        mixed(ready, 10)
        other = random.randint(1, number)
        if random.random() < 0.4:
            ready.remove(f"T-{other}")
        elif f"T-{other}" in ready:
            ready.put(task(other), lasting(random.randint(0, 90), random.randint(0, 3)), 0)
    (only,) = ready.classes.values()
    assert only.by_length is not None
    assert list(only.by_length) == list(ready.sorted_by_length(only))
    assert len(only.by_length) == only.n == len(ready)
