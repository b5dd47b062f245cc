"""Exam ``story_points``: estimates of whole projects that were never seen, issue by issue.

The model learns on the training projects how far each signal can be trusted. Then it walks each
test project from its first issue, sees an issue's points after it predicted them, and is judged
on the last fifth. Earlier issues in the training data are the project's past. The yardstick is the
median of what comes before the last fifth, frozen: a ratio of 1 is no better than that constant.
Ratios are averaged over projects, so one drifting giant does not decide.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from models import exam as exams
from models.exam import Result, Row
from models.story_points import StoryPointModel

FILES = ("choet", "tawosi")
COLUMNS = ("issuekey", "title", "description", "storypoint", "project", "seq", "split")
EXTRA = ("type", "components", "created")  # tawosi alone has them
EPOCH = pd.Timestamp(0, tz="UTC")


def run(train: Path, test: Path) -> Result:
    """Take the exam."""
    history = {name: load(train, name) for name in FILES}
    later = {name: load(test, name) for name in FILES}
    known = pd.concat(history.values(), ignore_index=True)
    exams.refuse_overlap(known, pd.concat(later.values()), ["key"])
    model = StoryPointModel().fit(each_project_once(history))
    metrics: dict[str, float] = {}
    rolling: dict[str, float] = {}
    worst: list[float] = []
    worst_rolling: list[float] = []
    notes = []
    for name, table in later.items():
        ratios, baselines = {}, []
        for project, issues in exams.watched(list(table.groupby("project", sort=True)), name):
            known = history[name]
            is_past = (known["project"] == project) & (known["seq"] < issues["seq"].min())
            past = known[is_past].assign(is_judged=False)
            ratio, baseline = judge(model, pd.concat([past, issues], ignore_index=True))
            ratios[project] = ratio
            baselines.append(baseline)
        metrics[f"ratio_{name}"] = float(pd.Series(ratios).mean())  # of those that have one
        rolling[f"ratio_{name}"] = float(pd.Series(baselines).mean())
        worst += ratios.values()
        worst_rolling += baselines
        notes.append(f"{name}: " + ", ".join(f"{p} {r:.3f}" for p, r in ratios.items()))
    metrics["worst_project_ratio"] = float(pd.Series(worst).max())
    rolling["worst_project_ratio"] = float(pd.Series(worst_rolling).max())
    return Result(metrics, [Row("median of the last 50", rolling)], notes)


def judge(model: StoryPointModel, issues: pd.DataFrame) -> tuple[float, float]:
    """Errors of the model, and of the median of the last fifty, over those of a constant.

    Parameters
    ----------
    issues : DataFrame
        One project in order of creation.

    Returns
    -------
    tuple of float
        NaN where all judged points are the constant itself, or none are judged, or all.
    """
    points = issues["points"].to_numpy(float)
    judged = issues["is_judged"].to_numpy(bool)
    if judged.all() or not judged.any():
        return np.nan, np.nan
    found = model.walk(issues)
    constant = np.median(points[~judged])
    scale = np.abs(points - constant)[judged].mean()
    rolling = issues["points"].shift().rolling(50, min_periods=1).median().to_numpy()
    if scale == 0:  # the constant is always right
        return np.nan, np.nan
    return (
        float(np.abs(found - points)[judged].mean() / scale),
        float(np.abs(rolling - points)[judged].mean() / scale),
    )


def load(folder: Path, name: str) -> pd.DataFrame:
    """Read issues by project in order of creation, as `StoryPointModel` wants them.

    Raises
    ------
    FileNotReadable, ColumnsMissing, ValuesInvalid, NothingToLearn
    """
    table = exams.read_table(folder, f"{name}.parquet", COLUMNS)
    whole = pd.read_parquet(folder / f"{name}.parquet")
    for column in set(EXTRA) & set(whole.columns):
        table[column] = whole[column].to_numpy()
    needed = ("issuekey", "project", "seq", "storypoint")
    table = exams.usable(table, needed, f"{folder}/{name}.parquet")
    table = table.sort_values(["project", "seq"], kind="stable", ignore_index=True)
    found = pd.DataFrame(
        {
            "key": table["issuekey"].astype(str),
            "project": table["project"].astype(str),
            "seq": table["seq"],
            "title": table["title"],
            "description": table["description"],
            "points": table["storypoint"].astype(float),
            "number": table["issuekey"].astype(str).str.extract(r"(\d+)$")[0].astype(float),
            "is_judged": table["split"] == "test",
        }
    )
    if "created" in table:
        created = pd.to_datetime(table["created"], utc=True)
        found["created_days"] = (created - EPOCH) / pd.Timedelta(days=1)
    for column, source in (("kind", "type"), ("component", "components")):
        if source in table:
            found[column] = table[source].astype("string")
    return found


def each_project_once(history: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All projects, each from the file that has most of it."""
    sizes = pd.concat(
        [table.groupby("project").size().rename(name) for name, table in history.items()], axis=1
    ).fillna(0)
    best = sizes.idxmax(axis=1)
    parts = [table[table["project"].map(best) == name] for name, table in history.items()]
    return pd.concat(parts, ignore_index=True)
