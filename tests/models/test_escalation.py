import numpy as np
import pytest
from scipy.special import logit

from models.escalation import assign, chains, least_worth


def test_with_quotas_the_best_agent_takes_the_tasks_where_it_matters_most() -> None:
    chance = np.array([[0.9, 0.8], [0.9, 0.1]])
    assert assign(chance, quota=1).tolist() == [1, 0]
    assert assign(chance, quota=2).tolist() == [0, 0]


def test_tasks_beyond_all_quotas_stay_unassigned() -> None:
    found = assign(np.full((3, 2), 0.5), quota=1)
    assert sorted(found.tolist()) == [-1, 0, 1]


def test_the_cheap_agent_goes_first_and_the_strong_one_follows() -> None:
    plan = chains(logit(np.array([[0.6, 0.7]])), np.array([[0.04, 0.30]]), group_scale=0.0)
    assert plan.agent.tolist() == [[0, 1]]
    np.testing.assert_allclose(plan.chance, [[0.6, 0.7]], atol=1e-6)
    # The second is paid only when the first has failed.
    assert plan.spend_usd(0.0)[0] == pytest.approx(0.04 + 0.4 * 0.30)
    assert plan.spend_usd(10.0)[0] == pytest.approx(0.04)


def test_a_failure_lowers_the_chances_of_the_others_on_that_task() -> None:
    logits, cost = logit(np.array([[0.6, 0.7]])), np.array([[0.04, 0.30]])
    alone = chains(logits, cost, group_scale=0.0)
    together = chains(logits, cost, group_scale=2.5)
    assert together.chance[0, 0] == pytest.approx(0.6, abs=0.02)
    assert together.chance[0, 1] < alone.chance[0, 1] - 0.1


def test_worth_never_rises_along_a_chain() -> None:
    random = np.random.default_rng(0)
    plan = chains(random.normal(size=(20, 6)), random.uniform(0.01, 1, (20, 6)), group_scale=2.0)
    assert (np.diff(plan.worth, axis=1) <= 0).all()
    assert (np.sort(plan.agent, axis=1) == np.arange(6)).all()


def test_the_expected_spend_stays_within_the_money_and_uses_most_of_it() -> None:
    random = np.random.default_rng(0)
    plan = chains(random.normal(size=(200, 6)), random.uniform(0.01, 1, (200, 6)), group_scale=1.0)
    for money in (0.0, 5.0, 20.0):
        spend = plan.spend_usd(least_worth(plan, money)).sum()
        assert spend <= money
        assert spend > money - 1.0
    assert least_worth(plan, 1e9) == pytest.approx(0.0, abs=1e-9)


def test_an_agent_that_cannot_run_a_task_has_no_chance() -> None:
    plan = chains(np.array([[-np.inf, 0.0]]), np.array([[0.0, 0.1]]), group_scale=1.0)
    assert plan.agent[0, 0] == 1
    assert plan.chance[0, 1] == 0.0
