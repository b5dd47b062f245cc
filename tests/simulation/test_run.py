import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pm_agent.kernel.engine import Step
from simulation.__main__ import app
from simulation.comparison import compare, replicate
from simulation.experiment import Result, run
from simulation.ledger import OUTCOMES
from simulation.metrics import figure, figure_names
from simulation.scenario import Scenario, names
from simulation.sizing import Try, goal_of, size

SMALL: dict[str, Any] = {
    "name": "small",
    "horizon_h": 8,
    "load": {"tasks_per_day": 600},
    "tasks": {"skills": [{"name": "python", "level": 2, "share": 0.5}]},
    "team": [
        {"name": "many", "count": 10, "skills": {"python": 3}, "horizon_min": 240},
        {"name": "wide", "count": 3, "capacity": 3, "heartbeats": True, "horizon_min": 240},
    ],
    "faults": {"crash": 0.1, "silence": 0.1, "blocker": 0.1, "vanish": 0.05},
}


@pytest.fixture(scope="module")
def result() -> Result:
    return run(Scenario.of(SMALL), seed=7)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_same_seed_gives_the_same_journal(result: Result) -> None:
    again = run(Scenario.of(SMALL), seed=7)
    assert again.journal_hash == result.journal_hash
    assert again.figures == result.figures
    assert run(Scenario.of(SMALL), seed=8).journal_hash != result.journal_hash


def test_no_promise_is_broken_while_agents_die_fall_silent_and_come_back(result: Result) -> None:
    assert result.violations == []
    assert set(result.ledger.column("outcome").tolist()) == set(range(len(OUTCOMES)))
    assert result.refusals.keys() <= {"stale_lease", "already_completed", "not_assigned"}


def test_late_work_races_the_live_attempt_through_the_gate() -> None:
    """Some is first, and stops an agent that may wait for an answer; some is not good enough."""
    often = {"faults": {"silence": 0.4, "silence_min": 45, "crash": 0.1, "blocker": 0.2}}
    seen = Counter[str]()

    def note(step: Step) -> None:
        for event in step.events:
            seen[getattr(event.data, "reason", "") or event.kind] += 1

    found = run(Scenario.of(SMALL | often | {"horizon_h": 24}), seed=3, on_step=note)
    assert found.violations == []
    assert min(seen["CandidateKept"], seen["CandidateRejected"], seen["stopped"]) > 0
    outcomes = Counter(found.ledger.column("outcome").tolist())
    assert outcomes[OUTCOMES.index("stopped")] == seen["stopped"]
    assert found.ledger.samples[-1].busy <= 13


def test_an_agent_that_waited_says_at_once_that_it_has_the_task() -> None:
    """However long the work lasts until it reports: else the lease would end unconfirmed."""
    slow = {"success": 1, "duration": "fixed", "mean_min": 18, "report_every_min": 18}
    calm = SMALL | {"faults": {}, "behaviour": slow, "drain": True, "review": {"false_alarms": 0}}
    figures = run(Scenario.of(calm), seed=7).figures
    assert figures.attempts == figures.tasks_done == figures.tasks_created > 100


def test_what_is_never_done_counts_in_the_restricted_lead_time() -> None:
    hopeless = {"success": 0, "duration": "fixed", "mean_min": 5}
    strict = {"behaviour": hopeless, "review": {"finds": 1}, "faults": {}}
    figures = run(Scenario.of(SMALL | strict), seed=7).figures
    assert (figures.lead_h.mean, figures.restricted_lead_h) == (0, 8)
    easy = run(Scenario.of(SMALL | {"behaviour": hopeless | {"success": 1}, "drain": True}), 7)
    assert easy.figures.restricted_lead_h < 2


def test_books_add_up(result: Result) -> None:
    figures, ledger = result.figures, result.ledger
    ended = figures.tasks_done + figures.tasks_dead
    assert figures.tasks_created == ended + figures.tasks_open
    assert ledger.n_tasks == figures.tasks_created
    assert figures.attempts == ledger.n_attempts == ledger.column("attempts").sum()
    assert ledger.n_inside == figures.tasks_open
    last = ledger.samples[-1]
    assert last.open + last.assigned + last.blocked + last.in_review == figures.tasks_open


def test_a_long_run_keeps_old_rows_in_files(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.ledger.SPILL_ROWS", 64)
    again = run(Scenario.of(SMALL), seed=7)
    assert again.ledger.n_in_files > 64
    assert again.figures == result.figures
    assert again.journal_hash == result.journal_hash


def test_nobody_works_on_more_than_there_are_places_for(result: Result) -> None:
    assert all(sample.busy <= 13 for sample in result.ledger.samples)
    assert 0 < result.figures.utilisation < 1


@pytest.mark.parametrize("name", names())
def test_every_scenario_that_comes_along_runs(name: str) -> None:
    scenario = Scenario.read(name)
    few = scenario.load.model_dump() | {"tasks_per_day": min(scenario.load.tasks_per_day, 1000)}
    found = run(scenario.changed(horizon_h=2, warm_up_h=0, load=few), seed=1)
    assert found.figures.tasks_done > 0
    assert found.violations == []


def test_tasks_of_a_graph_wait_for_each_other() -> None:
    found = run(Scenario.read("chain").changed(horizon_h=6), seed=3)
    ledger = found.ledger
    assert ledger.column("end")[0] == 1
    assert ledger.column("ready_us")[1] == ledger.column("ended_us")[0]


def test_the_machine_readable_result_has_its_keys() -> None:
    answer = invoke("run", "mm1", "--seed", "7", "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["seed"] == 7
    assert found["violations"] == 0
    assert found["policy"] == "priority-1"
    assert len(found["journal_hash"]) == 64
    wanted = {"scenario_hash", "wall_s", "tasks_created", "tasks_done", "utilisation"}
    assert wanted <= found.keys()
    for name in ("lead_h", "wait_s"):
        assert {"p50", "p95", "p99"} <= found[name].keys()


def test_an_interrupted_run_is_a_part_and_says_so() -> None:
    scenario = Scenario.of(SMALL)

    def stop(share: float) -> None:
        if share > 0.4:
            signal.raise_signal(signal.SIGINT)

    part = run(scenario, seed=7, on_slice=stop)
    assert part.is_partial
    assert part.horizon_h < scenario.horizon_h
    assert part.figures.tasks_created > 0
    assert part.as_dict()["partial"] is True


def test_policies_meet_the_same_tasks_and_luck() -> None:
    found = compare(Scenario.of(SMALL), ["priority", "factors"], replications=2, seed=5)
    assert found.seeds == [5, 6]
    assert found.violations == 0
    assert set(found.differences) == {"factors"}
    hashes = found.journal_hashes
    assert hashes["priority"] != hashes["factors"]
    one, other = (
        run(Scenario.of(SMALL | {"scorer": s}), 5).ledger for s in ("priority", "factors")
    )
    for column in ("created_us", "human_min", "priority"):
        assert one.column(column).tolist() == other.column(column).tolist()


def test_a_goal_is_reached_by_the_team_that_is_found() -> None:
    scenario = Scenario.of(SMALL | {"horizon_h": 6, "faults": {}})
    found = size(scenario, goal_of("p95_wait_s<600"), seed=2)
    assert found.value < 600
    assert sum(found.team.values()) < scenario.n_agents
    assert any(not one.is_enough for one in found.tries)


def test_a_goal_out_of_reach_is_said_to_be_so() -> None:
    found = size(Scenario.of(SMALL | {"horizon_h": 1}), goal_of("p99_lead_h<0.001"))
    assert found.team == {}


def test_figures_have_short_names(result: Result) -> None:
    assert figure(result.figures, "p95_lead_h") == result.figures.lead_h.p95
    assert figure(result.figures, "utilisation") == result.figures.utilisation
    for name in figure_names():
        figure(result.figures, name)
    with pytest.raises(KeyError, match="no figure 'speed'"):
        figure(result.figures, "speed")


def test_a_search_that_is_interrupted_says_what_was_enough_up_to_then() -> None:
    def stop(one: Try) -> None:
        if one.is_enough:
            signal.raise_signal(signal.SIGINT)

    found = size(Scenario.of(SMALL), goal_of("p95_lead_h<100"), on_try=stop)
    assert found.is_partial
    assert found.team == {"many": 10, "wide": 3}
    assert len(found.tries) == 1


def test_a_run_that_was_interrupted_is_no_replication(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def stopped(scenario: Scenario, seed: int, **kept: Any) -> Result:
        seeds.append(seed)
        is_last = len(seeds) == 3
        return run(scenario, seed, on_slice=_interrupt if is_last else None, **kept)

    monkeypatch.setattr("simulation.comparison.run", stopped)
    runs = replicate(Scenario.of(SMALL), ["priority", "factors"], 2, seed=5, jobs=1)
    assert [next(runs).policy, next(runs).policy] == ["priority", "factors"]
    with pytest.raises(KeyboardInterrupt):
        next(runs)


def _interrupt(share: float) -> None:
    signal.raise_signal(signal.SIGINT)


def test_a_folder_that_cannot_be_made_is_refused_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    answer = invoke("run", "day", "--out", str(file / "report"))
    assert answer.exit_code == 2
    assert "cannot be made" in " ".join(answer.output.split())


def test_a_run_may_last_as_long_as_one_says() -> None:
    answer = invoke("run", "mm1", "--hours", "30", "--json")
    assert json.loads(answer.stdout)["horizon_h"] == 30
    refused = invoke("run", "mm1", "--hours", "4")
    assert refused.exit_code == 2
    assert "warm_up_h must be shorter than horizon_h" in refused.output
