"""Queues whose waits are known exactly: the simulator, engine and all, must agree with them."""

from math import factorial

import pytest

from simulation.comparison import Interval, interval
from simulation.experiment import Result, run
from simulation.metrics import Tables
from simulation.scenario import Scenario

SEEDS = range(100, 108)
NARROW = 0.3  # an interval wider than this share of its mean would agree with anything


def expected_wait_s(utilisation: float, n_agents: int, mean_s: float) -> float:
    """Mean wait in an M/M/c queue: Erlang's C formula."""
    offered = utilisation * n_agents
    busy = offered**n_agents / factorial(n_agents) / (1 - utilisation)
    all_busy = busy / (sum(offered**k / factorial(k) for k in range(n_agents)) + busy)
    return all_busy * mean_s / (n_agents * (1 - utilisation))


def waits_of(scenario: Scenario) -> tuple[list[Result], Interval]:
    results = [run(scenario, seed) for seed in SEEDS]
    return results, interval([r.figures.wait_s.mean for r in results])


def assert_agrees(found: Interval, expected: float) -> None:
    assert found.half < NARROW * expected, (found, expected)
    assert abs(found.mean - expected) < found.half, (found, expected)


def test_one_agent_and_exponential_work_wait_as_m_m_1() -> None:
    scenario = Scenario.read("mm1")
    load = scenario.load.model_dump() | {"tasks_per_day": 720}
    results, found = waits_of(scenario.changed(horizon_h=60, warm_up_h=2, load=load))
    assert_agrees(found, expected_wait_s(0.5, 1, 60))
    for result in results:
        assert result.figures.little.ratio == pytest.approx(1, abs=0.05)
        assert result.figures.utilisation == pytest.approx(0.5, abs=0.05)
        assert not result.violations


def test_five_agents_and_one_queue_wait_as_m_m_c() -> None:
    scenario = Scenario.read("mmc").changed(horizon_h=9, warm_up_h=1)
    _, found = waits_of(scenario)
    assert_agrees(found, expected_wait_s(0.8, 5, 60))


def test_two_priorities_wait_as_cobham_says() -> None:
    scenario = Scenario.read("priority_queue")
    load = scenario.load.model_dump() | {"tasks_per_day": 864}
    results, _ = waits_of(scenario.changed(horizon_h=60, warm_up_h=2, load=load))
    rho, urgent = 0.6, 0.6 * 0.3
    in_service_s = rho * 60  # mean work left of what is in service when a task comes
    expected = {2: in_service_s / (1 - urgent), 1: in_service_s / (1 - urgent) / (1 - rho)}
    for priority, wait_s in expected.items():
        means = []
        for result in results:
            tables = Tables(result.ledger)
            counted = (tables.priority == priority) & (tables.created_us >= 2 * 3_600_000_000)
            means.append(float(tables.wait_s(counted).mean()))
        assert_agrees(interval(means), wait_s)
