"""Story points: each issue is estimated from what was known before it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models import exam as exams
from models import exam_story_points
from models.errors import ColumnsMissing, RowsLeftOut, TestOverlapsTraining, ValuesInvalid
from models.story_points import FEATURES, WARM_UP, StoryPointModel

SCALE = np.array([1.0, 2.0, 3.0, 5.0, 8.0])
WORDS = ["typo in label", "button colour", "new report page", "migrate database", "rewrite parser"]


def issues(project: str, n: int, seed: int, factor: float = 1.0) -> pd.DataFrame:
    """What an issue is about decides its points, with some noise."""
    random = np.random.default_rng(seed)
    topic = random.integers(0, 5, n)
    noisy = np.clip(topic + random.choice([-1, 0, 0, 0, 1], n), 0, 4)
    return pd.DataFrame(
        {
            "key": [f"{project}-{i}" for i in range(n)],
            "project": project,
            "title": [f"{WORDS[t]} {random.integers(100)}" for t in topic],
            "description": [f"Please do: {WORDS[t]}" if t else None for t in topic],
            "points": SCALE[noisy] * factor,
            "number": np.arange(n, dtype=float),
            "is_judged": np.arange(n) >= 0.8 * n,
        }
    )


@pytest.fixture(scope="module")
def model() -> StoryPointModel:
    table = pd.concat([issues(f"P{i}", 200, i, factor=1.0 + i) for i in range(3)])
    return StoryPointModel(n_rounds=40, n_seeds=1).fit(table)


def test_texts_beat_the_median_on_a_project_never_seen(model: StoryPointModel) -> None:
    ratio, rolling = exam_story_points.judge(model, issues("NEW", 250, 9, factor=2.0))
    assert ratio < 0.85 < rolling


def test_an_estimate_does_not_depend_on_later_issues(model: StoryPointModel) -> None:
    table = issues("NEW", 120, 5)
    changed = table.copy()
    changed.loc[100:, "points"] = 40.0
    np.testing.assert_allclose(model.walk(table)[:101], model.walk(changed)[:101])
    assert not np.allclose(model.walk(table)[101:], model.walk(changed)[101:])


def test_a_project_with_one_value_has_no_scale_to_be_judged_by(model: StoryPointModel) -> None:
    table = issues("SAME", 60, 3).assign(points=3.0)
    assert model.walk(table)[WARM_UP:] == pytest.approx(3.0, rel=0.05)
    assert np.isnan(exam_story_points.judge(model, table)).all()


@pytest.mark.parametrize("n", [1, 5, WARM_UP, WARM_UP + 1])
def test_short_projects_are_answered(model: StoryPointModel, n: int) -> None:
    found = model.walk(issues("SHORT", n, 4))
    assert found.shape == (n,)
    assert np.isfinite(found).all()


def test_with_little_history_medians_answer() -> None:
    model = StoryPointModel().fit(issues("P", 50, 1))
    assert model.boosters_ == []
    assert np.isfinite(model.walk(issues("NEW", 60, 2))).all()


def test_columns_that_some_trackers_lack_are_used_where_they_are(model: StoryPointModel) -> None:
    table = issues("NEW", 80, 6).assign(kind="bug", component=None, created_days=np.arange(80.0))
    signals = model._signals(table)
    assert signals is not None
    known = pd.DataFrame(signals.matrix, columns=list(FEATURES)).notna().all()
    assert known["kind_mean"]
    assert known["days_since"]
    assert not known["component_mean"]


def test_a_table_without_texts_is_refused(model: StoryPointModel) -> None:
    with pytest.raises(ColumnsMissing, match="title"):
        model.walk(issues("NEW", 30, 1).drop(columns="title"))


# -- the exam ---------------------------------------------------------------------------------


def write(folder: Path, *projects: pd.DataFrame) -> None:
    folder.mkdir(exist_ok=True)
    table = pd.concat(projects)
    source = pd.DataFrame(
        {
            "issuekey": table["key"],
            "title": table["title"],
            "description": table["description"],
            "storypoint": table["points"],
            "project": table["project"],
            "seq": table["number"].astype(int),
            "split": np.where(table["is_judged"], "test", "train"),
        }
    )
    source.to_parquet(folder / "choet.parquet")
    source.assign(created=pd.Timestamp("2020-01-01"), type="Bug", components="core").to_parquet(
        folder / "tawosi.parquet"
    )


def test_the_exam_judges_each_project_beside_its_frozen_median(tmp_path: Path) -> None:
    write(tmp_path / "train", issues("A", 200, 1), issues("B", 200, 2))
    write(tmp_path / "test", issues("C", 100, 3), issues("D", 100, 4))
    result = exams.run("story_points", tmp_path / "train", tmp_path / "test")
    assert list(result.metrics) == ["ratio_choet", "ratio_tawosi", "worst_project_ratio"]
    assert 0 < result.metrics["ratio_choet"] <= result.metrics["worst_project_ratio"]


def test_the_exam_refuses_projects_that_it_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "train", issues("A", 60, 1))
    with pytest.raises(TestOverlapsTraining):
        exams.run("story_points", tmp_path / "train", tmp_path / "train")


def test_the_exam_leaves_out_a_few_issues_without_points_and_refuses_many(tmp_path: Path) -> None:
    table = issues("A", 30, 1)
    table.loc[3, "points"] = np.nan
    write(tmp_path, table)
    with pytest.warns(RowsLeftOut, match="of 30 rows 1 lack values: 1 a usable storypoint"):
        assert len(exam_story_points.load(tmp_path, "choet")) == 29
    table.loc[3:7, "points"] = np.nan
    write(tmp_path, table)
    with pytest.raises(ValuesInvalid, match="of 30 rows 5 lack"):
        exam_story_points.load(tmp_path, "choet")


def test_a_project_of_both_files_trains_once() -> None:
    whole, part = issues("A", 50, 1), issues("A", 20, 1)
    found = exam_story_points.each_project_once({"choet": part, "tawosi": whole})
    assert len(found) == 50
