"""Many agents and many tasks at once: the best total, within every limit, and proved by prices."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pm_agent.domain.assignment import AssignmentExpired, TaskAssigned
from pm_agent.domain.decision_record import DecisionRecord, packed_numbers
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.task import Skill, TaskDraft
from pm_agent.domain.time import HOUR_US
from pm_agent.features.assignment import decide
from pm_agent.features.assignment.matching import (
    FORBIDDEN,
    MAX_AGENTS,
    RESOLUTION,
    in_units,
    solve,
    unit_of,
)
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.features.assignment.view import differences, explain
from pm_agent.kernel.types import Policy
from pm_agent.ports import Scores
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    START_US,
    Scenario,
    a_project,
    an_agent,
    an_import,
    claim,
    complete,
    lift_hold,
    place_hold,
    progress,
    release,
    wait,
)

API, RUST, SQL = Skill("api", 3), Skill("rust", 3), Skill("sql", 3)


def until(scenario: Scenario) -> int:
    return scenario.now_us + HOUR_US


def fleet(scenario: Scenario, **skills_of: tuple[Skill, ...]) -> None:
    """Agents that wait, the first named the longest."""
    for name, skills in skills_of.items():
        scenario.given(an_agent(f"A-{name}", skills=skills))
        scenario.given(wait(f"A-{name}", until(scenario)))
        scenario.after(seconds=1)


def assigned(scenario: Scenario) -> list[TaskAssigned]:
    found: list[TaskAssigned] = scenario.of_kind(TaskAssigned)
    return found


def who_got_what(scenario: Scenario) -> dict[str, str]:
    return {given.agent_id: given.task_id for given in assigned(scenario)}


def score_of(record: DecisionRecord) -> float:
    return float(record.score_values[record.explained[0]])


def total(scenario: Scenario) -> float:
    return sum(score_of(given.decision) for given in assigned(scenario))


# -- the solver ------------------------------------------------------------------------------------


@st.composite
def problems(draw: st.DrawFn, most: int = 5) -> NDArray[np.int64]:
    n_agents, n_tasks = draw(st.integers(1, most)), draw(st.integers(1, most))
    top = draw(st.sampled_from([2, 10, RESOLUTION]))  # few values make many ties
    value = st.one_of(st.integers(0, top), st.just(FORBIDDEN))
    row = st.lists(value, min_size=n_tasks, max_size=n_tasks)
    return np.array(draw(st.lists(row, min_size=n_agents, max_size=n_agents)), dtype=np.int64)


def worth(values: NDArray[np.int64], tasks: list[int]) -> int:
    return sum(int(values[agent, task]) for agent, task in enumerate(tasks) if task >= 0)


def best_total(values: NDArray[np.int64]) -> int:
    """By trying everything: each agent goes without, or gets a task that is left."""

    def best(agent: int, left: frozenset[int]) -> int:
        if agent == len(values):
            return 0
        totals = [
            int(values[agent, task]) + best(agent + 1, left - {task})
            for task in left
            if values[agent, task] >= 0
        ]
        return max([best(agent + 1, left), *totals])

    return best(0, frozenset(range(values.shape[1])))


@settings(deadline=None)  # thousands of assignments are tried
@given(problems())
def test_a_solution_is_as_good_as_the_best_of_all(values: NDArray[np.int64]) -> None:
    assert worth(values, solve(values).tasks) == best_total(values)


@given(problems(most=12))
def test_a_solution_gives_no_task_twice_and_none_that_is_forbidden(
    values: NDArray[np.int64],
) -> None:
    tasks = [task for task in solve(values).tasks if task >= 0]
    assert len(tasks) == len(set(tasks))
    assert all(values[a, t] >= 0 for a, t in enumerate(solve(values).tasks) if t >= 0)


@given(problems(most=12))
def test_prices_prove_a_solution(values: NDArray[np.int64]) -> None:
    """Weak duality: no assignment is worth more than all gains and all prices together."""
    found = solve(values)
    gains = np.maximum((values - found.prices).max(axis=1), 0)
    assert (found.prices >= 0).all()
    assert gains.sum() + found.prices.sum() == worth(values, found.tasks)
    for agent, task in enumerate(found.tasks):
        gain = values[agent, task] - found.prices[task] if task >= 0 else 0
        assert gain == gains[agent]


@given(problems(most=4))
def test_a_price_is_what_the_others_lose_by_it(values: NDArray[np.int64]) -> None:
    found = solve(values)
    for agent, task in enumerate(found.tasks):
        if task >= 0:
            others = np.delete(values, agent, axis=0)
            without = np.delete(others, task, axis=1)
            assert found.prices[task] == best_total(others) - best_total(without)


@given(problems(most=12))
def test_a_solution_is_never_worse_than_one_agent_after_another(values: NDArray[np.int64]) -> None:
    left, greedy = values.copy(), 0
    for row in left:
        best = int(row.argmax())
        if row[best] >= 0:
            greedy += int(row[best])
            left[:, best] = FORBIDDEN
    assert worth(values, solve(values).tasks) >= greedy


def test_among_equals_who_came_first_is_served_and_first_tasks_go_first() -> None:
    assert solve(np.full((3, 2), 7)).tasks == [0, 1, -1]
    assert solve(np.full((2, 3), 7)).tasks == [0, 1]


@pytest.mark.parametrize("offset", [-8.0, 0.0, 500.0])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 90_000.0])
def test_scores_of_every_scale_keep_their_order_in_units(offset: float, scale: float) -> None:
    scores = (np.linspace(0, 1, 100) * scale + offset).astype(np.float32)
    units = in_units(scores, unit_of(scores))
    values = units - min(0, int(units.min()))
    assert 0 <= values.min() <= values.max() <= RESOLUTION
    assert ((np.diff(scores) > 0) == (np.diff(values) > 0)).all()


def test_scores_that_are_all_nought_have_a_unit() -> None:
    assert (
        in_units(np.zeros(3, dtype=np.float32), unit_of(np.zeros(3, dtype=np.float32))).max() == 0
    )


# -- who gets what ---------------------------------------------------------------------------------


def test_who_can_do_both_leaves_the_task_that_another_can_do_to_the_other(empty: Scenario) -> None:
    empty.given(a_project())
    fleet(empty, ada=(API, RUST), bob=(API,))
    empty.given(
        an_import(
            TaskDraft(title="api", skills=(API,), priority=3),
            TaskDraft(title="rust", skills=(RUST,), priority=1),
        )
    )
    assert who_got_what(empty) == {ADA: "T-2", BOB: "T-1"}


def two_specialists(*, one_by_one: bool, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    if one_by_one:
        monkeypatch.setattr(decide, "match", lambda *_: [])
    scenario = Scenario(FactorsScorer())
    scenario.given(a_project())
    # Both can do both; the first is better at either, but above all at the second.
    fleet(
        scenario,
        ada=(Skill("api", 5), Skill("rust", 5)),
        bob=(Skill("api", 2), Skill("rust", 2), Skill("sql", 2), Skill("ui", 2)),
    )
    scenario.given(
        an_import(
            TaskDraft(title="easy", skills=(Skill("api", 1),), complexity=2, priority=3),
            TaskDraft(title="hard", skills=(Skill("rust", 2),), complexity=5, priority=1),
        )
    )
    return scenario


def test_two_specialists_together_do_better_than_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matched = two_specialists(one_by_one=False, monkeypatch=monkeypatch)
    greedy = two_specialists(one_by_one=True, monkeypatch=monkeypatch)
    assert who_got_what(matched) == {ADA: "T-2", BOB: "T-1"}
    assert who_got_what(greedy) == {ADA: "T-1", BOB: "T-2"}
    assert total(matched) > total(greedy)


def test_one_that_waits_or_one_task_that_is_ready_needs_no_matching(team: Scenario) -> None:
    team.given(wait(ADA, until(team)))
    team.given(an_import(TaskDraft(title="a"), TaskDraft(title="b")))
    (alone,) = assigned(team)
    assert alone.decision.matching is None
    team.given(complete(alone.task_id, 1))
    team.assigned()
    fleet(team, bob=(), eve=())
    team.new_task()
    (single,) = assigned(team)
    assert (single.agent_id, single.decision.matching) == (BOB, None)


def test_more_than_one_matching_serves_a_large_fleet_in_one_step(empty: Scenario) -> None:
    n = MAX_AGENTS + 6
    empty.given(a_project())
    fleet(empty, **{f"a{i}": () for i in range(n)})
    empty.given(an_import(*(TaskDraft(title=f"t{i}") for i in range(n))))
    matchings = [given.decision.matching for given in assigned(empty)]
    assert len(matchings) == n
    assert {m.n_agents for m in matchings if m} == {MAX_AGENTS, 6}
    assert len({m.tick for m in matchings if m}) == 2


def test_of_equal_agents_the_longest_waiting_are_served(empty: Scenario) -> None:
    empty.given(a_project())
    fleet(empty, eve=(), ada=(), bob=())
    empty.given(an_import(TaskDraft(title="a"), TaskDraft(title="b")))
    assert set(who_got_what(empty)) == {EVE, ADA}


# -- within every limit ----------------------------------------------------------------------------


def test_a_limit_of_work_in_progress_is_used_up_within_the_tick(empty: Scenario) -> None:
    empty.given(a_project(max_in_progress=1), a_project("P-app"))
    fleet(empty, ada=(), bob=(), eve=())
    empty.given(place_hold("workspace", "main"))
    for _ in range(3):
        empty.new_task(priority=3)
    empty.new_task(project_id="P-app")
    empty.given(lift_hold("workspace", "main"))
    got = who_got_what(empty)
    assert len(got) == 2  # one of three in the first project, and the second project's
    assert "T-4" in got.values()


@pytest.mark.parametrize("cap", ["token_cap", "cost_cap_microusd"])
def test_a_cap_is_used_up_within_the_tick(empty: Scenario, cap: str) -> None:
    policy = empty.policy
    of_two = 2 * 30 * policy.tokens_per_estimated_min
    if cap == "token_cap":
        empty.given(a_project(token_cap=of_two))
    else:
        empty.given(a_project(cost_cap_microusd=of_two * policy.microusd_per_token))
    fleet(empty, ada=(), bob=(), eve=())
    empty.given(an_import(*(TaskDraft(title=f"t{i}", estimate_min=30) for i in range(3))))
    assert len(assigned(empty)) == 2


def test_the_same_agent_is_not_matched_with_what_it_failed_last(team: Scenario) -> None:
    failed = team.new_task(priority=3)
    given = team.assigned()
    team.given(an_agent(BOB), release(failed, given.lease_token, reason="failed"))
    team.given(wait(ADA, until(team)), wait(BOB, until(team)))
    team.given(place_hold("workspace", "main"))
    other = team.new_task()
    team.after(minutes=6)
    team.given(lift_hold("workspace", "main"))
    assert who_got_what(team) == {ADA: other, BOB: failed}
    assert all(given.decision.matching for given in assigned(team))


def test_who_is_held_back_full_or_waits_for_another_project_takes_no_part(empty: Scenario) -> None:
    empty.given(a_project(), a_project("P-app"))
    fleet(empty, held=(), ada=(), bob=(), app=())
    empty.given(wait("A-app", until(empty), "P-app"), place_hold("agent", "A-held"))
    empty.given(an_import(*(TaskDraft(title=f"t{i}") for i in range(4))))
    assert set(who_got_what(empty)) == {ADA, BOB}


def test_a_matched_agent_that_vanished_swallows_no_task(empty: Scenario) -> None:
    empty.given(a_project())
    fleet(empty, ada=(), bob=())
    empty.given(an_import(TaskDraft(title="a"), TaskDraft(title="b")))
    got = who_got_what(empty)
    empty.given(progress(got[BOB], 1, BOB))
    empty.after(minutes=10)
    (expired,) = empty.of_kind(AssignmentExpired)
    assert (expired.agent_id, expired.reason) == (ADA, "unconfirmed")
    assert got[ADA] in empty.world.ready
    assert empty.state(got[BOB]) == "assigned"


def test_an_agent_that_asks_again_gets_its_match_again(empty: Scenario) -> None:
    empty.given(a_project())
    fleet(empty, ada=(), bob=())
    empty.given(an_import(TaskDraft(title="a"), TaskDraft(title="b")))
    got = who_got_what(empty)
    empty.when(claim(ADA)).then()
    assert empty.result["task_id"] == got[ADA]


def test_a_match_that_an_agent_brings_is_not_looked_at(team: Scenario) -> None:
    urgent, other = team.new_task(priority=3), team.new_task()
    record = team.assigned().decision
    assert record.chosen_id == urgent
    team.given(complete(urgent, 1))
    brought = msgspec.structs.replace(record, explained=[1, 0])
    assert brought.chosen_id == other
    newer = team.new_task(priority=3)
    team.when(msgspec.structs.replace(claim(), match=brought))
    assert team.result["task_id"] == newer


class FailingScorer(FactorsScorer):
    """Scores one agent's candidates, but no larger matrix."""

    def score(self, facts: NDArray[np.float32]) -> Scores:
        if len(facts) > 2:
            message = "too many rows"
            raise ValueError(message)
        return super().score(facts)


def test_agents_that_cannot_be_matched_are_served_one_by_one() -> None:
    scenario = Scenario(FailingScorer())
    scenario.given(a_project())
    fleet(scenario, ada=(), bob=())
    scenario.given(an_import(TaskDraft(title="a"), TaskDraft(title="b")))
    assert set(who_got_what(scenario)) == {ADA, BOB}
    assert all(found.decision.matching is None for found in assigned(scenario))


skill_sets = st.sets(st.sampled_from([API, RUST, SQL]), max_size=2).map(
    lambda s: tuple(sorted(s, key=lambda skill: skill.name))
)


@settings(max_examples=25, deadline=None)
@given(
    fleet_skills=st.lists(skill_sets, min_size=2, max_size=7),
    needed=st.lists(
        st.tuples(skill_sets, st.integers(0, 3), st.integers(1, 5)), min_size=2, max_size=7
    ),
    limit=st.sampled_from([0, 0, 2]),
)
def test_a_tick_is_never_worse_than_one_agent_after_another(
    fleet_skills: list[tuple[Skill, ...]],
    needed: list[tuple[tuple[Skill, ...], int, int]],
    limit: int,
) -> None:
    totals = []
    for is_matched in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not is_matched:
                patch.setattr(decide, "match", lambda *_: [])
            scenario = Scenario(FactorsScorer())
            scenario.given(a_project(max_in_progress=limit))
            fleet(scenario, **{f"a{i}": skills for i, skills in enumerate(fleet_skills)})
            scenario.given(
                an_import(
                    *(
                        TaskDraft(title="t", skills=skills, priority=priority, complexity=level)
                        for skills, priority, level in needed
                    )
                )
            )
            totals.append(total(scenario))
            scenario.verify()  # capacity, one lease a task, a record that recomputes
            assert not limit or len(assigned(scenario)) <= limit
    if not limit:
        assert totals[0] >= totals[1] - 1e-5


# -- the record ------------------------------------------------------------------------------------


def matched_pair() -> list[TaskAssigned]:
    scenario = Scenario(FactorsScorer(), Policy(exploration=1.0, near_tie=1.0))
    scenario.given(a_project())
    fleet(scenario, ada=(API, RUST), bob=(API,))
    scenario.given(
        an_import(
            TaskDraft(title="api", skills=(API,), priority=3),
            TaskDraft(title="rust", skills=(RUST,), priority=1),
            TaskDraft(title="more", skills=(API,)),
        )
    )
    scenario.verify()
    return assigned(scenario)


def test_each_record_of_a_tick_proves_its_own_choice() -> None:
    ticks = set()
    for found in matched_pair():
        record = found.decision
        assert differences(record, found.task_id) == []
        assert (record.propensity, record.exploration) == (1.0, 0.0)  # no chance in it
        assert record.matching is not None
        assert (record.matching.n_agents, record.matching.n_tasks) == (2, 3)
        ticks.add(record.matching.tick)
    assert len(ticks) == 1


def test_a_task_has_the_same_price_in_all_records_of_a_tick() -> None:
    prices: dict[str, set[int]] = {}
    for found in matched_pair():
        record = found.decision
        assert record.matching is not None
        units = record.matching.price_units.tolist()
        for task_id, price in zip(record.candidate_ids, units, strict=True):
            prices.setdefault(task_id, set()).add(price)
    assert all(len(of_task) == 1 for of_task in prices.values())
    assert len(prices) == 3


def test_a_record_of_a_matching_survives_the_journal_unchanged() -> None:
    found = matched_pair()[0]
    again = msgspec.json.decode(msgspec.json.encode(found), type=TaskAssigned)
    assert again == found
    assert differences(again.decision, again.task_id) == []


@pytest.mark.parametrize("field", ["prices", "scores", "propensity", "choice"])
def test_a_record_of_a_matching_that_was_tampered_with_is_found_out(field: str) -> None:
    found = next(f for f in matched_pair() if len(f.decision.explained) > 1)
    record, task_id = found.decision, found.task_id
    assert record.matching is not None
    if field == "prices":
        units = record.matching.price_units.copy()
        units[record.explained[0]] += RESOLUTION // 2
        matching = msgspec.structs.replace(record.matching, prices=packed_numbers(units))
        record = msgspec.structs.replace(record, matching=matching)
    elif field == "scores":
        scores = record.score_values[::-1].tobytes()
        record = msgspec.structs.replace(record, scores=scores)
    elif field == "propensity":
        record = msgspec.structs.replace(record, propensity=0.5)
    else:
        other = record.explained[1]
        task_id = record.candidate_ids[other]
        order = [other, record.explained[0], *record.explained[2:]]
        record = msgspec.structs.replace(record, explained=order)
    assert differences(record, task_id) != []


def test_an_explanation_tells_of_the_matching_and_its_prices() -> None:
    found = next(f for f in matched_pair() if f.agent_id == BOB)
    told = explain(Event(9, START_US, 1, str(SYSTEM), "r", found), found)
    assert told.recomputed
    assert told.matching is not None
    assert (told.matching.n_agents, told.matching.n_tasks) == (2, 3)
    gains = [c.score - c.price for c in (told.chosen, *told.next_best)]
    assert gains[0] == pytest.approx(max(gains))
