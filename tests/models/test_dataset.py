"""A journal's tables say what was known at each decision, and what became of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.dataset import load_history
from models.errors import ColumnsMissing, FileNotReadable
from models.grid import FACT_NAMES, MORE_FACTS
from models.history import SCHEMAS, History, known_before
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.assessment import (
    AssessmentDraft,
    RequestAssessments,
    RiskMark,
    StoreAssessments,
)
from pm_agent.domain.envelope import SYSTEM, Usage
from pm_agent.domain.task import UpdateTask
from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.learned import ARITHMETIC, ARITHMETICS, Arithmetic, LearnedScorer
from pm_agent.features.assignment.scoring import SCORERS, FactorsScorer
from pm_agent.kernel.types import Policy
from pm_agent.ports import Batch
from tests.models.journals import write_journal
from tests.scenario import (
    ADA,
    BOB,
    WEB,
    Scenario,
    a_project,
    an_agent,
    complete,
    progress,
    reject,
    release,
    report_blocker,
    resolve_blocker,
    skills,
)

Save = Callable[[Scenario], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a scenario's events into a real journal."""
    return lambda scenario: write_journal(tmp_path / "main.journal.db", scenario)


@pytest.fixture
def lived() -> Scenario:
    """Two agents with accepted, rejected, failed and running work."""
    scenario = Scenario(FactorsScorer(), Policy(exploration=0.1, near_tie=0.5))
    scenario.given(a_project(completion="person"), an_agent(ADA, skills=skills(python=3)))
    scenario.given(an_agent(BOB, capacity=2))
    for number in range(6):
        scenario.new_task(f"task {number}", kind="fix" if number % 2 else "feature")
    first = scenario.assigned(ADA)
    scenario.after(minutes=10)
    scenario.given(
        progress(first.task_id, first.lease_token, usage=Usage(tokens=500, cost_microusd=20_000)),
        report_blocker(first.task_id, first.lease_token, severity="high"),
    )
    scenario.after(minutes=5)
    scenario.given(resolve_blocker("B-1"))
    scenario.after(minutes=15)
    scenario.given(
        complete(first.task_id, first.lease_token, usage=Usage(tokens=100, cost_microusd=0))
    )
    scenario.after(minutes=60)
    scenario.given(reject(first.task_id))
    second = scenario.assigned(BOB)
    scenario.after(minutes=7)
    scenario.given(release(second.task_id, second.lease_token, BOB, "failed"))
    third = scenario.assigned(BOB)
    scenario.assigned(BOB)
    scenario.after(minutes=3)
    scenario.given(release(third.task_id, third.lease_token, BOB))
    return scenario


def test_an_attempt_s_labels_say_how_it_ended(lived: Scenario, save: Save) -> None:
    attempts = load_history(save(lived)).attempts
    assert attempts["label_outcome"].tolist() == ["rejected", "failed", "released", ""]
    assert attempts["label_accepted"].tolist() == [False, False, pd.NA, pd.NA]


def assess(scenario: Scenario, task_id: str, minutes: int, level: int) -> None:
    """Have rules judge a task."""
    scenario.given(
        RequestAssessments(
            request_id=f"a-{task_id}", principal=SYSTEM, project_id=WEB, task_ids=(task_id,)
        )
    )
    (effect_id,) = [e for e in scenario.engine.outbox.pending if e.startswith("AssessTasks")]
    draft = AssessmentDraft(
        task_id=task_id, minutes=minutes, level=level, risks=(RiskMark("data", "high"),)
    )
    scenario.given(
        StoreAssessments(
            request_id=f"s-{task_id}", principal=SYSTEM, effect_id=effect_id, drafts=(draft,)
        )
    )


def test_an_assessment_is_known_to_the_decisions_after_it_alone(save: Save) -> None:
    scenario = Scenario()
    scenario.given(a_project(), an_agent(ADA))
    task_id = scenario.new_task("a task")
    scenario.given(release(task_id, scenario.assigned().lease_token))
    assess(scenario, task_id, 90, 4)
    scenario.after(minutes=6)
    scenario.given(release(task_id, scenario.assigned().lease_token))
    renamed = UpdateTask(request_id="u", principal=SYSTEM, task_id=task_id, title="another")
    scenario.given(renamed)
    scenario.after(minutes=6)
    scenario.assigned()
    attempts = load_history(save(scenario)).attempts
    known = ["estimate_min", "level", "assessed_min", "assessed_level", "n_risks", "n_high_risks"]
    nothing = [0, 1, 0, 0, 0, 0]
    assert attempts[known].to_numpy().tolist() == [nothing, [90, 4, 90, 4, 1, 1], nothing]


def test_work_lasts_until_it_is_handed_in_without_the_wait_for_an_answer(
    lived: Scenario, save: Save
) -> None:
    first = load_history(save(lived)).attempts.iloc[0]
    assert first["label_duration_min"] == pytest.approx(25.0)
    assert first["label_blocked_min"] == pytest.approx(5.0)
    assert first["label_n_blockers"] == 1
    assert not first["label_is_censored"]


def test_work_that_still_runs_or_failed_is_censored_and_not_dropped(
    lived: Scenario, save: Save
) -> None:
    attempts = load_history(save(lived)).attempts.iloc[1:]
    assert attempts["label_is_censored"].all()
    assert attempts["label_duration_min"].tolist() == pytest.approx([7.0, 3.0, 3.0])


def test_use_is_summed_for_its_attempt_and_listed_as_reported(lived: Scenario, save: Save) -> None:
    history = load_history(save(lived))
    assert history.attempts["label_tokens"].tolist() == [600, 0, 0, 0]
    assert history.attempts["label_cost_usd"].iloc[0] == pytest.approx(0.02)
    assert history.usage["tokens"].tolist() == [500, 100]


def test_an_agent_s_record_is_that_of_the_instant_of_the_decision(
    lived: Scenario, save: Save
) -> None:
    attempts = load_history(save(lived)).attempts
    assert attempts["agent_failed"].iloc[:2].tolist() == [0.0, 0.0]
    bobs = attempts[attempts["agent_id"] == BOB]
    assert bobs["agent_n_held"].tolist() == [0, 0, 1]


def test_a_blocker_says_how_long_its_answer_took(lived: Scenario, save: Save) -> None:
    blocker = load_history(save(lived)).blockers.iloc[0]
    assert blocker["severity"] == "high"
    assert blocker["label_waited_min"] == pytest.approx(5.0)


def test_candidates_carry_the_facts_of_the_decision_by_name(lived: Scenario, save: Save) -> None:
    candidates = load_history(save(lived)).candidates
    chosen = candidates[candidates["is_chosen"]]
    assert len(chosen) == 4
    assert chosen["label_accepted"].iloc[:2].tolist() == [False, False]
    assert candidates.loc[~candidates["is_chosen"], "label_accepted"].isna().all()
    assert {f"fact_{name}" for name in FACTS} <= set(candidates.columns)
    assert candidates["fact_priority"].eq(1.0).all()
    assert candidates["propensity"].between(0, 1, inclusive="right").all()


def test_whatever_is_no_label_was_known_at_its_instant(lived: Scenario, save: Save) -> None:
    path = save(lived)
    whole = load_history(path)
    for at_us in sorted({int(at) for table in whole for at in table["at_us"]}):
        then = load_history(path, as_of_us=at_us)
        for early, late in zip(then, whole, strict=True):
            expected = known_before(late[late["at_us"] <= at_us]).reset_index(drop=True)
            columns = [c for c in expected if c in early]  # facts come with the first decision
            pd.testing.assert_frame_equal(known_before(early)[columns], expected[columns])


def test_facts_of_an_unknown_scorer_are_left_out(lived: Scenario, save: Save) -> None:
    candidates = load_history(save(lived), fact_names={}).candidates
    assert list(candidates.columns) == list(SCHEMAS["candidates"])


def test_an_empty_journal_gives_empty_tables_with_all_columns(save: Save) -> None:
    history = load_history(save(Scenario()))
    for name, table in history._asdict().items():
        assert table.empty
        assert list(table.columns) == list(SCHEMAS[name])


def test_saved_tables_read_back_as_they_were(lived: Scenario, save: Save, tmp_path: Path) -> None:
    history = load_history(save(lived))
    history.save(tmp_path / "tables")
    for before, after in zip(history, load_history(tmp_path / "tables"), strict=True):
        pd.testing.assert_frame_equal(before, after)


def test_a_missing_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotReadable, match="no journal"):
        load_history(tmp_path / "none.db")


def test_a_folder_with_a_damaged_table_is_refused(
    lived: Scenario, save: Save, tmp_path: Path
) -> None:
    folder = tmp_path / "tables"
    load_history(save(lived)).save(folder)
    (folder / "usage.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FileNotReadable, match=r"usage\.parquet"):
        load_history(folder)


def test_a_table_without_its_columns_is_refused(
    lived: Scenario, save: Save, tmp_path: Path
) -> None:
    history = load_history(save(lived))
    History(history.attempts.drop(columns="kind"), *history[1:]).save(tmp_path / "tables")
    with pytest.raises(ColumnsMissing, match="kind"):
        load_history(tmp_path / "tables")


async def test_history_loads_where_an_event_loop_runs(lived: Scenario, tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "j.db", "main")
    head = await journal.activate()
    await journal.append(Batch(head.epoch, lived.journal, [], []))
    await journal.close()
    assert len(load_history(tmp_path / "j.db").attempts) == 4


@pytest.mark.parametrize("kind", SCORERS.values())
def test_the_facts_of_each_scorer_are_known_by_name(kind: type[FactorsScorer]) -> None:
    assert FACT_NAMES[kind.version] == kind.fact_names


@pytest.mark.parametrize("arithmetic", ARITHMETICS.values())
def test_the_facts_of_learned_scorers_are_known_by_name(arithmetic: Arithmetic) -> None:
    assert FACT_NAMES[arithmetic.name] == arithmetic.fact_names


class AllAlike:
    """Forecasts the same of everything, and so leaves the choice to the facts."""

    version = "v1-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones((len(facts), 5), dtype=np.float32)


def test_facts_worked_out_for_training_are_those_that_a_decision_sees(save: Save) -> None:
    scenario = Scenario(LearnedScorer(AllAlike()), Policy(exploration=0.1, near_tie=0.5))
    scenario.given(a_project(), an_agent(ADA, skills=skills(python=3)), an_agent(BOB))
    for number in range(12):
        kind, known = ("fix", "feature")[number % 2], skills(python=2) if number % 3 == 0 else ()
        minutes = 10 * (number // 2)
        scenario.new_task(f"task {number}", kind=kind, skills=known, estimate_min=minutes)
    assess(scenario, "T-2", 55, 3)
    for number in range(10):
        agent_id = (ADA, BOB)[number % 2]
        given = scenario.assigned(agent_id)
        scenario.after(minutes=3 + number)
        if number % 4 == 0:
            scenario.given(release(given.task_id, given.lease_token, agent_id, "failed"))
        else:
            scenario.given(complete(given.task_id, given.lease_token, agent_id))
        scenario.after(minutes=6)
    seen = [f"seen_{name}" for name in MORE_FACTS]
    names = {ARITHMETIC.name: (*FACTS, *seen, "failed_success", "failed_outcomes")}
    candidates = load_history(save(scenario), fact_names=names).candidates
    assert set(candidates["fact_rarity"]) == {1.0, 2.0}
    for name in MORE_FACTS:
        np.testing.assert_allclose(
            candidates[f"fact_{name}"], candidates[f"fact_seen_{name}"], rtol=1e-6, err_msg=name
        )
