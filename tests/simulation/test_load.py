import signal

import pytest
from typer.testing import CliRunner

from simulation.__main__ import app
from simulation.load import Plan, run


@pytest.mark.timeout(180)
def test_a_live_server_gives_out_what_the_simulator_says_it_will() -> None:
    plan = Plan(tasks_per_day=5_000, speed=600, agents=120, minutes=0.15, seed=3)
    found = run(plan, no_ray=True)
    assert found.errors == 0, found.error_codes
    assert found.doubles == 0
    assert found.assigned == found.created > 200
    # The server's share of the wait is its latency; a busy machine has been seen to take 0.3 s.
    assert found.assignment_ms.mean - found.simulated_wait_ms < 1_000
    assert found.done_per_min == pytest.approx(found.simulated_per_min, rel=0.25)


@pytest.mark.timeout(180)
def test_agents_that_speak_mcp_get_and_hand_in_their_tasks() -> None:
    plan = Plan(tasks_per_day=2_000, speed=600, agents=20, minutes=0.05, seed=3, over="mcp")
    found = run(plan, no_ray=True)
    assert (found.errors, found.doubles) == (0, 0), found.error_codes
    assert found.assigned == found.created > 10
    assert found.done > 0


def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    words = ["load", "--url", "http://127.0.0.1:9", "--agents", "1", "--minutes", "0.05"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 2
    assert "cannot be used" in answer.stderr


@pytest.mark.timeout(180)
def test_a_load_that_is_interrupted_tells_what_was_measured_up_to_then() -> None:
    plan = Plan(tasks_per_day=5_000, speed=600, agents=20, minutes=10, seed=3)
    interrupted: list[float] = []

    def stop(share: float) -> None:
        if not interrupted:
            interrupted.append(share)
            signal.raise_signal(signal.SIGINT)

    found = run(plan, no_ray=True, on_second=stop)
    assert found.is_partial
    assert found.minutes < 1
    assert found.assigned > 0
    assert (found.errors, found.doubles) == (0, 0), found.error_codes
