"""Sprints: how far they end from their plan, from what the board did before."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models import exam as exams
from models import exam_sprints
from models.errors import ColumnsMissing, TestOverlapsTraining
from models.sprints import COLUMNS, SprintModel, running_median, sprint_features

LOOKS = (0, 30, 80)


def sprints(project: str, n: int, seed: int) -> pd.DataFrame:
    """Three boards: one delivers half of its plan, one all of it, one a fixed 20 points."""
    random = np.random.default_rng(seed)
    rows = []
    for order in range(n):
        board = order % 3
        plan = float(random.integers(10, 60))
        delivered = [plan // 2, plan, 20.0][board]
        for at in LOOKS:
            done = delivered * at // 100
            row = dict.fromkeys(COLUMNS, 0.0) | {
                "project": project,
                "board": board,
                "order": order,
                "at_pct": at,
                "planned_days": 14.0,
                "started_with": plan,
                "todo": max(plan - done, 0.0),
                "done": done,
                "team_size": 4.0,
                "difference": delivered - plan,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def test_a_board_s_habit_beats_the_running_median() -> None:
    model = SprintModel(n_rounds=60, n_seeds=1).fit(sprints("A", 150, 1))
    later = sprints("B", 90, 2)
    rows = later.assign(model=model.walk(later), median=running_median(later))
    assert exam_sprints.ratio(rows) < 0.5


def test_a_prediction_does_not_depend_on_how_this_or_later_sprints_end() -> None:
    model = SprintModel(n_rounds=20, n_seeds=1).fit(sprints("A", 120, 1))
    table = sprints("B", 60, 2)
    changed = table.copy()
    late = changed["order"] >= 40
    changed.loc[late, "difference"] = 500.0
    before = (table["order"] <= 40).to_numpy()
    np.testing.assert_allclose(model.walk(table)[before], model.walk(changed)[before])


def test_a_sprint_that_shows_on_two_boards_does_not_tell_its_own_outcome() -> None:
    table = sprints("B", 60, 2)
    twice = pd.concat([table, table.assign(board=9)], ignore_index=True)
    changed = twice.copy()
    of_copy = (changed["order"] == 45) & (changed["board"] == 9)
    changed.loc[of_copy, "difference"] = 500.0
    model = SprintModel(n_rounds=20, n_seeds=1).fit(sprints("A", 120, 1))
    asked = ((twice["order"] == 45) & (twice["board"] != 9)).to_numpy()
    np.testing.assert_allclose(model.walk(twice)[asked], model.walk(changed)[asked])
    medians = [running_median(rows)[asked] for rows in (twice, changed)]
    pd.testing.assert_series_equal(*medians)


def test_a_project_unlike_all_others_gets_its_running_median() -> None:
    model = SprintModel(n_rounds=20, n_seeds=1).fit(sprints("A", 120, 1))
    other = sprints("B", 60, 2).assign(difference=7.0)
    late = (other["order"] >= 10).to_numpy()
    assert np.abs(model.walk(other) - 7.0)[late].mean() < 0.5


def test_no_sprint_is_said_to_deliver_less_than_nothing() -> None:
    model = SprintModel(n_rounds=20, n_seeds=1).fit(sprints("A", 120, 1).assign(difference=-90.0))
    later = sprints("B", 10, 2)
    assert (model.walk(later) >= -later["started_with"]).all()


def test_without_any_history_the_median_answers() -> None:
    table = sprints("B", 40, 2)
    found = SprintModel().walk(table)
    # Between nothing, which is all there is to say at first, and the running median.
    assert (found[:3] == 0.0).all()
    assert (np.abs(found) <= np.abs(running_median(table)))[: 3 * 30].all()
    assert np.isfinite(found).all()


def test_a_sprint_is_like_those_that_the_same_other_boards_show() -> None:
    """One board shows two teams' sprints in turn; each team has a board of its own beside it."""
    rows = sprints("A", 24, 1).assign(board=0)
    is_first_team = rows["order"] % 2 == 0
    plan = rows["started_with"]
    rows["difference"] = np.where(is_first_team, 0.0, -plan)  # all of the plan, and nothing
    table = pd.concat([rows, rows.assign(board=np.where(is_first_team, 1, 2))], ignore_index=True)
    found = sprint_features(table).loc[rows.index].assign(order=rows["order"], at=rows["at_pct"])
    late = found[(found["order"] >= 10) & (found["at"] == 0)]
    assert (late["recent_ratio"][late["order"] % 2 == 0] > 0.9).all()
    assert (late["recent_ratio"][late["order"] % 2 == 1] < 0.1).all()


def test_features_come_in_the_order_of_the_rows() -> None:
    table = sprints("A", 12, 1)
    shuffled = table.sample(frac=1.0, random_state=3)
    found = sprint_features(shuffled).sort_index()
    pd.testing.assert_frame_equal(found, sprint_features(table))


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(ColumnsMissing, match="team_size"):
        SprintModel().fit(sprints("A", 5, 1).drop(columns="team_size"))


# -- the exam ---------------------------------------------------------------------------------


def write(folder: Path, *projects: pd.DataFrame) -> None:
    folder.mkdir(exist_ok=True)
    ours = {ours: source for source, ours in exam_sprints.NAMES.items()}
    table = pd.concat(projects).rename(columns=ours)
    table.to_parquet(folder / "iterations.parquet")


def test_the_exam_compares_with_the_running_median(tmp_path: Path) -> None:
    write(tmp_path / "train", sprints("A", 110, 1))
    write(tmp_path / "test", sprints("B", 40, 2), sprints("C", 40, 3))
    result = exams.run("sprints", tmp_path / "train", tmp_path / "test")
    assert list(result.metrics) == ["nmae_ratio_0", "nmae_ratio_30", "nmae_ratio_80"]
    assert all(0 <= value < 1 for value in result.metrics.values())


def test_the_exam_refuses_sprints_that_it_trained_on(tmp_path: Path) -> None:
    write(tmp_path, sprints("A", 30, 1))
    with pytest.raises(TestOverlapsTraining):
        exams.run("sprints", tmp_path, tmp_path)


def test_all_later_sprints_of_a_project_in_training_are_judged(tmp_path: Path) -> None:
    table = sprints("A", 60, 1)
    is_later = table["order"] >= 45
    write(tmp_path / "train", table[~is_later], sprints("B", 60, 2))
    write(tmp_path / "test", table[is_later])
    result = exams.run("sprints", tmp_path / "train", tmp_path / "test")
    assert result.notes[0] == "15 sprints walked, 15 judged."
    assert all(value < 0.5 for value in result.metrics.values())


def test_of_what_was_trained_on_only_earlier_sprints_are_a_project_s_past() -> None:
    table = sprints("A", 60, 1)
    is_asked = table["order"].between(30, 39)
    later = table["order"] >= 40
    changed = table.assign(difference=table["difference"].mask(later, 500.0))
    found = [
        SprintModel(n_rounds=20, n_seeds=1).fit(rows[~is_asked]).walk(rows[is_asked])
        for rows in (table, changed)
    ]
    np.testing.assert_allclose(found[0], found[1])
