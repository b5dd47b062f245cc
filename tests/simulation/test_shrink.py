"""A failing run is made small, and the command that is told shows the same failure again."""

import pytest
from typer.testing import CliRunner

from pm_agent.kernel.invariants import READY_SET
from simulation.__main__ import app
from simulation.check import Plan, run
from simulation.faults import CHANCES
from simulation.shrink import command_of, shrink
from tests.simulation.broken import first_failure, holds_ignored


def test_a_failure_becomes_small_and_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    holds_ignored(monkeypatch)
    failed = first_failure(steps=2_000)
    small = shrink(failed, patience_s=5)
    assert small.violations[0].invariant == failed.violations[0].invariant == READY_SET
    assert small.plan.steps < failed.plan.steps
    assert len(small.plan.without) > len(CHANCES) // 2
    assert run(small.plan) == small
    words = command_of(small.plan).split()
    again = CliRunner().invoke(app, [*words[3:], "--no-shrink"])
    assert again.exit_code == 1
    assert small.violations[0].detail in again.output.replace("\n", "")


def test_shrinking_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    holds_ignored(monkeypatch)
    failed = first_failure(steps=2_000)
    assert shrink(failed, patience_s=-1) is failed


def test_a_command_names_the_faults_that_are_left_or_left_out_whatever_is_shorter() -> None:
    kinds = tuple(CHANCES)
    assert command_of(Plan(3, 9)) == "python -m simulation check --seed 3 --steps 9"
    assert command_of(Plan(3, 9, without=kinds[:2])).endswith(f"--without {kinds[0]},{kinds[1]}")
    assert command_of(Plan(3, 9, without=kinds[1:])).endswith(f"--only {kinds[0]}")
    assert command_of(Plan(3, 9, 2, 4, liveness=False)).endswith(
        "--agents 2 --tasks 4 --no-liveness"
    )
