"""Runs leave journals, models learn from them, and score other runs; families keep apart."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.dataset import load_history
from pm_agent.features.assignment.view import differences
from simulation.__main__ import app
from simulation.arrivals import arrivals
from simulation.behaviour import FAMILIES
from simulation.experiment import run
from simulation.journal import JournalFile
from simulation.policies import scorer_of, teach
from simulation.scenario import Scenario, ScenarioError
from simulation.sizing import goal_of, size
from tests.simulation.test_run import SMALL


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    card = teach(Scenario.of(SMALL), 1_000, folder).card
    assert card.n_training > 1_000
    return folder


def test_a_run_leaves_the_journal_that_it_hashes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    with JournalFile(path) as journal:
        result = run(Scenario.of(SMALL), seed=7, on_step=journal.write)
    assert result.journal_hash == run(Scenario.of(SMALL), seed=7).journal_hash
    attempts = load_history(path).attempts
    assert (
        attempts["policy"] == "factors"
    ).sum() == result.figures.attempts  # not leases regranted
    with pytest.raises(FileExistsError, match="never overwritten"):
        JournalFile(path).__enter__()


def test_a_learned_policy_decides_and_each_of_its_records_recomputes(models: Path) -> None:
    scorer = scorer_of("learned", models)
    records: list[Any] = []
    result = run(
        Scenario.of(SMALL),
        seed=7,
        scorer=scorer,
        on_step=lambda step: records.extend(
            e.data for e in step.events if type(e.data).__name__ == "TaskAssigned"
        ),
    )
    assert result.violations == []
    assert result.policy == scorer.version
    assert len(records) > 100
    for given in records[::20]:
        assert differences(given.decision, given.task_id, lambda _: scorer) == []


def test_policies_are_compared_with_a_model_from_a_folder(models: Path, tmp_path: Path) -> None:
    options = ["--policy", "factors", "--policy", "learned", "--replications", "2", "--jobs", "1"]
    words = ["compare", "cold_start", *options, "--models", str(models), "--json"]
    told = json.loads(CliRunner().invoke(app, words).stdout)
    assert told["policies"] == ["factors", "learned"]
    assert "work_per_usd" in told["differences"]["learned"]
    none = CliRunner().invoke(app, [*words[:-3], "--models", str(tmp_path)])
    assert none.exit_code == 2
    assert "no current version" in none.output


def test_a_day_is_replayed_under_a_learned_policy(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with JournalFile(path) as journal:
        run(Scenario.of(SMALL), seed=7, on_step=journal.write)
    words = ["replay", str(path), "--policy", "factors", "--policy", "learned"]
    found = CliRunner().invoke(app, [*words, "--models", str(models), "--json"])
    replays = json.loads(found.stdout)["replays"]
    assert [r["policy"].partition("-")[0] for r in replays] == ["factors", "learned"]
    assert replays[0]["journal_hash"] != replays[1]["journal_hash"]
    none = CliRunner().invoke(app, words)
    assert none.exit_code == 2
    assert "needs a registry of models" in none.output


def test_a_team_is_sized_for_a_learned_policy(models: Path) -> None:
    scorer = scorer_of("learned", models)
    scenario = Scenario.of(SMALL | {"scorer": "learned", "horizon_h": 2})
    found = size(scenario, goal_of("p50_lead_h<100"), scorer=scorer)
    assert found.policy == "learned"
    assert found.team == {"many": 1, "wide": 1}


def test_families_bring_their_own_lengths_and_unknown_ones_are_refused() -> None:
    scenario = Scenario.read("unseen_families")
    assert not set(scenario.tasks.kinds) & set(Scenario.read("known_families").tasks.kinds)
    hard = {round(h, 2) for f in scenario.tasks.kinds for _, h in FAMILIES[f]}
    found = {round(a.works[0].human_min, 2) for a in arrivals(scenario, 1)}
    assert found <= {max(h, 0.1) for h in hard}
    assert len(found) > len(hard) / 2
    with pytest.raises(ScenarioError, match="no family cooking"):
        scenario.changed(tasks={"lengths": "metr_families", "kinds": ["cooking"]})
