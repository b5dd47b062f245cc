import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from models.errors import TooLittleHistory, ValuesInvalid
from models.outcome import (
    LOG_WEIGHTS,
    OutcomeModel,
    given_group,
    group_log_weights,
    warm_start,
)


def _runs(
    n_tasks: int, seed: int, deviation: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Six agents on each task: facts, outcomes, true probabilities."""
    random = np.random.default_rng(seed)
    skill = np.linspace(-1.5, 1.5, 6)
    level = random.integers(3, size=n_tasks)
    log_odds = skill[None, :] - (level - 1)[:, None]
    log_odds = log_odds + deviation * random.normal(size=(n_tasks, 1))
    facts = pd.DataFrame(
        {
            "agent": np.tile([f"agent {k}" for k in range(6)], n_tasks),
            "level": np.repeat(level, 6),
            "task": np.repeat(np.arange(n_tasks), 6),
        }
    )
    chance = expit(log_odds).ravel()
    return facts, (random.random(len(facts)) < chance).astype(int), chance


@pytest.mark.parametrize("method", ["logit", "lightgbm"])
def test_probabilities_come_near_the_true_ones(method: str) -> None:
    facts, accepted, chance = _runs(600, seed=1)
    columns = ["agent", "level"]
    model = OutcomeModel(method, categorical=columns).fit(facts[columns], accepted)
    found = model.predict_proba(facts[columns])[:, 1]
    assert np.abs(found - chance).mean() < (0.04 if method == "logit" else 0.08)


def test_a_new_agent_is_taken_for_the_mean_and_with_less_certainty() -> None:
    facts, accepted, _ = _runs(300, seed=1)
    model = OutcomeModel(categorical=["agent", "level"], scales={"agent": 2.0}).fit(
        facts[["agent", "level"]], accepted
    )
    best, unknown, worst = model.predict_proba(
        pd.DataFrame({"agent": ["agent 5", "who?", "agent 0"], "level": 1})
    )[:, 1]
    assert worst < unknown < best
    assert unknown == pytest.approx(0.5, abs=0.1)


def test_it_measures_how_much_tasks_differ_beyond_their_facts() -> None:
    for deviation in (0.0, 2.0):
        facts, accepted, _ = _runs(500, seed=2, deviation=deviation)
        model = OutcomeModel(categorical=["agent", "level"]).fit(
            facts[["agent", "level"]], accepted, groups=facts.task
        )
        assert model.group_scale_ == pytest.approx(deviation, abs=0.4)


def test_given_a_group_the_chances_average_to_those_told() -> None:
    logits = np.array([-2.0, 0.0, 1.0])
    mean = expit(given_group(logits, 2.0)) @ np.exp(LOG_WEIGHTS)
    np.testing.assert_allclose(mean, expit(logits), atol=0.015)


def test_ten_outcomes_on_known_tasks_tell_a_good_agent_from_a_bad_one() -> None:
    facts, accepted, _ = _runs(300, seed=3, deviation=2.0)
    columns = ["agent", "level"]
    model = OutcomeModel(categorical=columns).fit(facts[columns], accepted, groups=facts.task)
    logits = model.decision_function(facts[columns])
    tasks, log_weights = group_log_weights(
        logits, accepted, facts.task.to_numpy(), model.group_scale_
    )
    assert tasks.tolist() == list(range(300))
    first = facts[(facts.task < 10)]
    for agent, sign in (("agent 5", 1), ("agent 0", -1)):
        own = (first.agent == agent).to_numpy()
        shift, deviation = warm_start(
            np.zeros(10), accepted[: len(first)][own], log_weights[:10], model.group_scale_
        )
        assert sign * shift > 0.4
        assert 0 < deviation < 1.0


def test_with_too_little_history_it_answers_with_the_smoothed_share() -> None:
    with pytest.warns(TooLittleHistory, match="needs 30"):
        model = OutcomeModel().fit([[0.0], [1.0], [2.0]], [1, 1, 0])
    assert model.predict_proba([[9.0]])[0, 1] == pytest.approx(0.6)  # (2 + 1) / (3 + 2)


def test_outcomes_all_alike_leave_a_doubt() -> None:
    model = OutcomeModel().fit(np.zeros((40, 1)), np.ones(40, int))
    assert model.is_baseline_
    assert model.classes_.tolist() == [0, 1]
    assert model.predict_proba([[0.0]])[0, 1] == pytest.approx(41 / 42)
    assert logit(41 / 42) == pytest.approx(model.decision_function([[0.0]])[0])


def test_three_kinds_of_outcome_are_refused() -> None:
    with pytest.raises(ValuesInvalid, match="3 classes"):
        OutcomeModel().fit([[0.0], [1.0], [2.0]], [0, 1, 2])
