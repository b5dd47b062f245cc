"""The decision record: complete, recomputable, and honest about chance."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.decision_record import DecisionRecord, packed
from pm_agent.domain.envelope import Event
from pm_agent.domain.task import Skill, TaskDraft
from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.scoring import FactorsScorer, PriorityScorer, scorer_for
from pm_agent.features.assignment.view import differences, explain
from pm_agent.kernel.types import Policy
from pm_agent.ports import Scorer
from tests.scenario import (
    ADA,
    BOB,
    START_US,
    Scenario,
    a_project,
    an_agent,
    an_import,
    complete,
    release,
)

DRAFTS = (
    TaskDraft(title="a", key="a", priority=0, estimate_min=15),
    TaskDraft(title="b", key="b", priority=1, estimate_min=60, skills=(Skill("rust", 2),)),
    TaskDraft(title="c", key="c", priority=2, estimate_min=300, kind="bug"),
    TaskDraft(title="d", key="d", priority=3, complexity=5, skills=(Skill("api", 1),)),
    TaskDraft(title="e", key="e", priority=1, dependencies=("a", "c")),
    TaskDraft(title="f", key="f", priority=1, dependencies=("a",)),
    TaskDraft(title="g", key="g", skills=(Skill("api", 3), Skill("rust", 3))),
)


def board(scorer: Scorer, policy: Policy | None = None, seed: int = 1) -> Scenario:
    scenario = Scenario(scorer, policy, seed)
    known = (Skill("api", 3), Skill("rust", 4), Skill("sql", 2))
    scenario.given(a_project(), an_agent(skills=known, capacity=9), an_agent(BOB))
    scenario.given(an_import(*DRAFTS))
    return scenario


def assign_all(scenario: Scenario) -> list[TaskAssigned]:
    """Everything on the board, with completions and one failure that only A-ada can repair."""
    found = []
    has_failed = False
    for _ in range(len(DRAFTS) + 1):
        given = scenario.assigned()
        found.append(given)
        scenario.after(minutes=7)
        if not has_failed and scenario.task(given.task_id).skills:
            scenario.given(release(given.task_id, given.lease_token, reason="failed"))
            has_failed = True
        else:
            scenario.given(complete(given.task_id, given.lease_token))
    return found


@pytest.mark.parametrize("scorer", [PriorityScorer(), FactorsScorer()], ids=lambda s: s.version)
@pytest.mark.parametrize("exploration", [0.0, 1.0])
def test_every_record_recomputes_without_the_world(scorer: Scorer, exploration: float) -> None:
    scenario = board(scorer, Policy(exploration=exploration, near_tie=0.5, reserve=0.5))
    for given in assign_all(scenario):
        assert differences(given.decision, given.task_id) == []
        assert given.decision.version == scorer.version
    scenario.verify()


def test_a_record_survives_the_journal_unchanged() -> None:
    given = assign_all(board(FactorsScorer()))[0]
    again = msgspec.json.decode(msgspec.json.encode(given), type=TaskAssigned)
    assert again == given
    assert differences(again.decision, again.task_id) == []


def test_every_factor_varies_over_a_mixed_board() -> None:
    scenario = board(FactorsScorer())
    seen: dict[str, set[float]] = {name: set() for name in FactorsScorer.factor_names}
    for given in assign_all(scenario):
        for factors in given.decision.factor_rows.tolist():
            for name, value in zip(FactorsScorer.factor_names, factors, strict=True):
                seen[name].add(value)
                assert 0.0 <= value <= 1.0, name
    assert {name for name, values in seen.items() if len(values) < 2} == set()


def test_every_fact_varies_over_a_mixed_board() -> None:
    rows = [row for given in assign_all(board(FactorsScorer())) for row in given.decision.fact_rows]
    spread = np.ptp(np.array(rows), axis=0)
    flat = {name for name, width in zip(FACTS, spread, strict=True) if width == 0}
    assert flat == {"critical_path_h"}  # no portfolio manager proposed a plan


def test_an_explanation_names_factors_facts_and_rank() -> None:
    scenario = board(FactorsScorer())
    given = scenario.assigned()
    event = Event(1, START_US, 1, "agent:A-ada", "r", given)
    told = explain(event, given)
    assert told.recomputed
    assert told.rank == 1
    assert (told.task_id, told.agent_id) == (given.task_id, ADA)
    assert set(told.chosen.factors) == set(FactorsScorer.factor_names)
    assert set(told.chosen.facts) == set(FACTS)
    weighed = sum(told.weights[name] * value for name, value in told.chosen.factors.items())
    assert weighed == pytest.approx(told.chosen.score, abs=1e-5)


@pytest.mark.parametrize("field", ["scores", "propensity", "seed", "factors", "version", "reserve"])
def test_a_record_that_was_tampered_with_is_found_out(field: str) -> None:
    scenario = board(FactorsScorer(), Policy(exploration=1.0, near_tie=1.0))
    given = scenario.assigned()
    record = given.decision
    factors = record.factor_rows.copy()
    factors[0, 0] = 0.123
    changes = {
        "scores": packed(record.score_values / 2),
        "propensity": record.propensity / 2,
        "seed": next(s for s in range(99) if _draws_another(record, s, given.task_id)),
        "factors": packed(factors),
        "version": "unknown-9",
        "reserve": 0.9,
    }
    forged = msgspec.structs.replace(record, **{field: changes[field]})
    assert differences(forged, given.task_id) != []


def _draws_another(record: DecisionRecord, seed: int, task_id: str) -> bool:
    other = msgspec.structs.replace(record, seed=seed)
    return any("the seed draws" in d for d in differences(other, task_id))


def test_exploration_draws_near_ties_as_often_as_its_propensities_say() -> None:
    exploration, n = 0.3, 3000
    scenario = Scenario(PriorityScorer(), Policy(exploration=exploration, reserve=0.0), seed=7)
    scenario.given(a_project(), an_agent())
    for i in range(3):
        scenario.new_task(f"t{i}")
    chosen: Counter[str] = Counter()
    told: dict[str, float] = {}
    for _ in range(n):
        given = scenario.assigned()
        chosen[given.task_id] += 1
        told[given.task_id] = given.decision.propensity
        scenario.given(release(given.task_id, given.lease_token))
    assert sum(told.values()) == pytest.approx(1.0, abs=1e-5)
    best = max(told, key=lambda t: told[t])
    assert told[best] == pytest.approx(1 - exploration + exploration / 3, abs=1e-5)
    for task_id, propensity in told.items():
        deviation = (propensity * (1 - propensity) / n) ** 0.5
        assert abs(chosen[task_id] / n - propensity) < 4 * deviation, (task_id, chosen)


def test_without_exploration_the_best_is_always_taken() -> None:
    scenario = board(FactorsScorer(), Policy(exploration=0.0, near_tie=1.0, reserve=0.0))
    for given in assign_all(scenario):
        assert given.decision.propensity == 1.0 or given.decision.exploration == 0.0
        record = given.decision
        assert record.score_values[record.explained[0]] == max(record.score_values)


def test_scorers_are_found_by_their_version() -> None:
    assert isinstance(scorer_for("priority-1"), PriorityScorer)
    assert isinstance(scorer_for("factors-1"), FactorsScorer)
    assert scorer_for("lightgbm-3") is None
