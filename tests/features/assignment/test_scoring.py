"""Both scorers: pure, bounded, and pointing the right way."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.scoring import FactorsScorer, PriorityScorer

DEFAULT = {
    "skill_use": 0.5,
    "skill_margin": 0.5,
    "agent_level": 3.0,
    "success": 0.5,
    "load": 0.2,
    "n_unblocks": 1.0,
    "critical_path_h": 2.0,
    "n_dependencies": 1.0,
    "priority": 1.0,
    "age_h": 5.0,
    "level": 3.0,
    "failures": 0.0,
}


def facts(*changes: dict[str, float]) -> NDArray[np.float32]:
    """One row a change, shape (n_tasks, n_facts)."""
    rows = [[(DEFAULT | change)[name] for name in FACTS] for change in changes]
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("fact", "worse", "better"),
    [
        ("skill_use", 0.1, 1.0),
        ("skill_margin", 1.0, 0.0),
        ("load", 2.0, 0.1),
        ("success", 0.2, 0.9),
        ("n_unblocks", 0, 5),
        ("critical_path_h", 0, 20),
        ("n_dependencies", 0, 4),
        ("priority", 0, 3),
        ("age_h", 0, 48),
        ("level", 1, 3),
    ],
)
def test_each_fact_moves_the_factors_score_the_right_way(
    fact: str, worse: float, better: float
) -> None:
    values = FactorsScorer().score(facts({fact: worse}, {fact: better})).values
    assert values[1] > values[0]


def test_factors_and_their_sum_stay_between_zero_and_one() -> None:
    extremes = facts({}, dict.fromkeys(FACTS, 0.0), {"age_h": 9000.0, "n_unblocks": 900.0})
    scored = FactorsScorer().score(extremes)
    assert scored.factors.min() >= 0.0
    assert scored.factors.max() <= 1.0
    assert sum(FactorsScorer.weights) == pytest.approx(1.0)
    assert scored.values == pytest.approx(scored.factors @ np.array(FactorsScorer.weights))


def test_one_priority_is_worth_four_hours_to_the_plain_scorer() -> None:
    values = (
        PriorityScorer()
        .score(facts({"priority": 2, "age_h": 0}, {"priority": 1, "age_h": 4}, {"age_h": 4.1}))
        .values
    )
    assert values[0] == pytest.approx(values[1])
    assert values[2] > values[0]


@pytest.mark.parametrize("scorer", [PriorityScorer(), FactorsScorer()], ids=lambda s: s.version)
def test_scores_have_one_value_and_one_row_of_factors_a_task(
    scorer: PriorityScorer | FactorsScorer,
) -> None:
    scored = scorer.score(facts({}, {"priority": 3}))
    assert scored.values.shape == (2,)
    assert scored.factors.shape == (2, len(scorer.factor_names))
    assert len(scorer.weights) == len(scorer.factor_names)
