"""All exams on odd but lawful folders: any order of rows, more columns, gaps, news, few rows."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from models import (
    exam_assignment,
    exam_metr_runs,
    exam_sprints,
    exam_story_points,
    exam_swe_agents,
    exam_triage,
)
from models.errors import RowsLeftOut, TooLittleHistory
from models.exam import Result, as_json
from tests.models.exam_folders import change, write_metr_runs, write_swe_agents
from tests.models.test_ranker import bugs, write_tracker
from tests.models.test_sprints import sprints
from tests.models.test_sprints import write as write_sprints
from tests.models.test_story_points import issues
from tests.models.test_story_points import write as write_issues

KEYS = {
    "swe_agents": ["brier", "auc", "calls_abs_log2", "cover80", "new_agent_brier_after_10"],
    "metr_runs": ["brier", "duration_abs_log2", "cover80"],
    "assignment": ["solved_quota_14", "solved_quota_28", "solved_quota_56", "solved_budget_0.20"],
    "triage": ["eclipse_top1", "eclipse_top5"],
    "story_points": ["ratio_choet", "ratio_tawosi", "worst_project_ratio"],
    "sprints": ["nmae_ratio_0", "nmae_ratio_30", "nmae_ratio_80"],
}


def _triage(train: Path, test: Path) -> Result:
    """One tracker, in this process."""
    metrics, _, note = exam_triage.judge(train, test, "eclipse")
    return Result(metrics, notes=[note])


TAKE: dict[str, Callable[[Path, Path], Result]] = {
    "swe_agents": exam_swe_agents.run,
    "metr_runs": exam_metr_runs.run,
    "assignment": exam_assignment.run,
    "triage": _triage,
    "story_points": exam_story_points.run,
    "sprints": exam_sprints.run,
}


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(exam_metr_runs, "STEPS", 4)  # each third of them fits anew
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", TooLittleHistory)
        yield


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "train", tmp_path / "test"


def write(name: str, train: Path, test: Path) -> None:
    """Small folders for one exam."""
    if name in {"swe_agents", "assignment"}:
        write_swe_agents(train, test, n_tasks=40, n_agents=4)
    elif name == "metr_runs":
        write_metr_runs(train, test, n_families=6)
    elif name == "triage":
        write_tracker(train, bugs(150))
        write_tracker(test, bugs(40, seed=2, start=150))
    elif name == "story_points":
        write_issues(train, issues("A", 170, 1), issues("B", 170, 2))
        write_issues(test, issues("C", 60, 3))
    else:
        write_sprints(train, sprints("A", 60, 1))
        write_sprints(test, sprints("B", 30, 2))


def edit(folder: Path, change_rows: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    for path in folder.glob("*.parquet"):
        change_rows(pd.read_parquet(path)).to_parquet(path)


@pytest.mark.parametrize("name", TAKE)
def test_the_order_of_rows_and_columns_beside_do_not_matter(
    name: str, folders: tuple[Path, Path]
) -> None:
    write(name, *folders)
    before = TAKE[name](*folders).metrics
    assert list(before) == KEYS[name]
    for folder in folders:
        edit(folder, lambda rows: rows.assign(beside=None).iloc[::-1])
        edit(folder, lambda rows: rows[sorted(rows)].sample(frac=1.0, random_state=1))
    assert TAKE[name](*folders).metrics == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("name", TAKE)
def test_a_handful_of_test_rows_is_judged(name: str, folders: tuple[Path, Path]) -> None:
    write(name, *folders)
    if name not in {"swe_agents", "assignment"}:
        edit(folders[1], lambda table: table.tail(2))
    else:  # one later task, run by all
        last = pd.read_parquet(folders[1] / "tasks.parquet").instance_id.iloc[-1]
        edit(folders[1], lambda table: table[table.instance_id == last])
    metrics = json.loads(as_json(name, TAKE[name](*folders)))["metrics"]
    assert list(metrics) == KEYS[name]
    assert all(value is None or np.isfinite(value) for value in metrics.values())


def test_tasks_of_another_kind_than_training_are_judged(folders: tuple[Path, Path]) -> None:
    write_swe_agents(*folders)
    tasks = pd.read_parquet(folders[1] / "tasks.parquet")
    is_old = tasks.instance_id.isin(pd.read_parquet(folders[0] / "tasks.parquet").instance_id)
    new = tasks[~is_old].reset_index(drop=True)
    odd = new.assign(
        repo="elsewhere",
        difficulty=[None, "a fortnight"] * (len(new) // 2),
        problem_statement=None,
    )
    odd.to_parquet(folders[1] / "tasks.parquet")
    metrics = exam_swe_agents.run(*folders).metrics
    assert all(np.isfinite(value) for value in metrics.values())
    assert np.isfinite(exam_assignment.run(*folders).metrics["solved_budget_0.20"])


def test_columns_stored_as_dictionaries_are_read_as_their_values(
    folders: tuple[Path, Path],
) -> None:
    write_swe_agents(*folders, n_tasks=40, n_agents=4)
    before = exam_assignment.run(*folders).metrics
    for folder in folders:
        edit(folder, lambda rows: rows.astype(dict.fromkeys(rows.select_dtypes("str"), "category")))
    assert exam_assignment.run(*folders).metrics == before


def test_training_on_three_tasks_is_judged(folders: tuple[Path, Path]) -> None:
    write_swe_agents(*folders)
    few = pd.read_parquet(folders[0] / "tasks.parquet").instance_id[:3]
    edit(folders[0], lambda table: table[table.instance_id.isin(few)])
    metrics = exam_swe_agents.run(*folders).metrics
    assert all(np.isfinite(value) for value in metrics.values())


def test_later_runs_of_families_in_training_are_judged(folders: tuple[Path, Path]) -> None:
    write_metr_runs(*folders)
    runs = pd.read_parquet(folders[0] / "runs.parquet")
    is_later = runs.duplicated(["agent", "task_id"])
    runs[is_later].to_parquet(folders[1] / "runs.parquet")
    runs[~is_later].to_parquet(folders[0] / "runs.parquet")
    result = exam_metr_runs.run(*folders)
    assert "0 families are new." in result.notes
    assert all(np.isfinite(value) for value in result.metrics.values())


def test_the_last_fifth_alone_is_judged_by_a_past_in_training(folders: tuple[Path, Path]) -> None:
    whole = issues("A", 170, 1)
    write_issues(folders[0], whole[~whole.is_judged], issues("B", 170, 2))
    write_issues(folders[1], whole[whole.is_judged])
    metrics = exam_story_points.run(*folders).metrics
    assert all(0 < value < 1 for value in metrics.values())


def test_an_agent_that_training_never_saw_run_is_judged(folders: tuple[Path, Path]) -> None:
    write_metr_runs(*folders)
    change(folders[1], "runs.parquet", agent="another")
    metrics = exam_metr_runs.run(*folders).metrics
    assert all(np.isfinite(value) for value in metrics.values())


def test_runs_that_lack_an_outcome_are_left_out_and_counted(folders: tuple[Path, Path]) -> None:
    write_metr_runs(*folders)
    runs = pd.read_parquet(folders[1] / "runs.parquet")
    n_agents = int((runs.agent != "human").sum())
    spoilt = runs.index[runs.agent != "human"][:2]
    runs["score_binarized"] = runs.score_binarized.astype(float)
    runs.loc[spoilt[0], "score_binarized"] = np.nan
    runs.loc[spoilt[1], "duration_s"] = 0.0
    runs.to_parquet(folders[1] / "runs.parquet")
    with pytest.warns(RowsLeftOut, match=f"of {n_agents} rows 2 lack values"):
        _, test = exam_metr_runs.read(*folders)
    assert len(test) == n_agents - 2
