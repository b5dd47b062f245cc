"""The product keeps its promises under faults, and everything converges when they stop."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
from typer.testing import CliRunner

from pm_agent.catalog import CATALOG
from pm_agent.domain.world import APPLIERS
from simulation.__main__ import app
from simulation.check import Outcome, Plan, run
from simulation.faults import CHANCES
from simulation.seeds import Report, report_on, run_all
from tests.simulation.broken import first_failure, holds_ignored

N_SEEDS = 40
STEPS = 5_000
JOBS = min(2, os.cpu_count() or 1)
# Every refusal that a rule gives; a run that never meets them has not been there.
CODES = {
    "already_completed",
    "already_exists",
    "capacity_exceeded",
    "departed_agent",
    "dependency_cycle",
    "forbidden",
    "not_assigned",
    "not_assignee",
    "not_capable",
    "not_found",
    "request_id_reused",
    "stale_lease",
    "unknown_agent",
    "unknown_blocker",
    "unknown_collaboration",
    "unknown_handoff",
    "unknown_project",
    "unknown_task",
    "version_mismatch",
    "wrong_state",
}


@cache
def found() -> Report:
    plans = [Plan(seed, STEPS) for seed in range(N_SEEDS)]
    return report_on(list(run_all(plans, JOBS)))


@pytest.mark.timeout(900)  # a minute on two idle processors
def test_promises_hold_under_faults_and_work_gets_done_after_them() -> None:
    assert found().findings == []
    assert found().steps == N_SEEDS * STEPS


@pytest.mark.timeout(900)
def test_the_seeds_reach_every_corner() -> None:
    """A run in which nothing ever happens would keep every promise, too."""
    assert set(found().faults) == set(CHANCES)
    assert set(found().replies) >= {"ok", *CODES}
    assert set(found().events) == {kind.__name__ for kind in APPLIERS}
    assert set(found().coverage) == {kind.__name__ for kind in CATALOG.deciders}
    assert found().never_effective == []


def test_a_seed_makes_the_same_journal_every_time() -> None:
    first, again, other = (run(Plan(seed, steps=400)) for seed in (5, 5, 6))
    assert first == again
    assert first.journal_hash != other.journal_hash


def test_an_interrupted_check_tells_what_it_saw_up_to_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plans: Sequence[Plan], jobs: int) -> Iterator[Outcome]:
        yield run(plans[0])
        raise KeyboardInterrupt

    monkeypatch.setattr("simulation.__main__.run_all", interrupted)
    answer = CliRunner().invoke(app, ["check", "--seeds", "3", "--steps", "200", "--json"])
    assert answer.exit_code == 130
    told = json.loads(answer.stdout)
    assert (told["seeds"], told["is_partial"]) == (1, True)
    assert "interrupted" in answer.stderr


def test_one_object_is_printed_and_it_is_the_same_in_any_process() -> None:
    arguments = ["check", "--seeds", "3", "--steps", "300", "--json"]
    here = CliRunner().invoke(app, [*arguments, "--jobs", "1"])
    assert here.exit_code == 0, here.output
    there = subprocess.run(
        [sys.executable, "-m", "simulation", *arguments, "--jobs", "2"],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "77"},  # no order of a set may matter
    )
    assert here.stdout == there.stdout
    told = json.loads(there.stdout)
    assert (told["seeds"], told["steps"], told["violations"]) == (3, 900, 0)
    assert told["commands"] == told["accepted"] + told["refused"] > 100
    assert "a second" in there.stderr


def test_a_kind_of_fault_that_is_left_out_never_strikes() -> None:
    without = tuple(kind for kind in CHANCES if kind != "request_doubled")
    assert set(run(Plan(3, steps=400, without=without)).faults) == {"request_doubled"}


def test_a_broken_promise_is_told_and_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    holds_ignored(monkeypatch)
    seed = first_failure(steps=2_000).plan.seed
    arguments = ["check", "--seed", str(seed), "--steps", "2000", "--json", "--no-shrink"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 1
    report = json.loads(told.stdout)
    assert report["violations"] == len(report["findings"]) > 0
    assert report["findings"][0]["invariant"] == "ready-set"
    assert f"python -m simulation check --seed {seed} --steps 2000" in told.stderr


def test_an_unknown_kind_of_fault_is_refused_with_those_there_are() -> None:
    refused = CliRunner().invoke(app, ["check", "--without", "rain"])
    assert refused.exit_code == 2
    assert "request_lost" in refused.output
