"""Exam ``sprints``: how far a sprint will end from its plan, mostly in projects never seen before.

Each sprint is looked at when it starts, at 30 % and at 80 % of its days. The model walks a test
project's sprints in order and learns from those that ended; it is judged on the newest fifth, or on
all test sprints of a project whose past is in the training data. The error is the mean absolute one
over the interquartile range of what happened (NMAE), averaged over projects; the metric is its
ratio to that of the project's own running median.

One sprint shows on several boards: of the newest fifth of the file's rows, three in four or more
are sprints that stand further up too, often with the same numbers. In file order a model would thus
be told the outcome of what it is asked. So the order here is the sprint's own number, and all rows
of a sprint are predicted before any of them is known.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from models import exam as exams
from models.exam import Result, Row
from models.sprints import COLUMNS as SPRINT_COLUMNS
from models.sprints import SprintModel, running_median

NAMES = {  # of the source → ours
    "project": "project",
    "boardid": "board",
    "sprintid": "order",  # the tracker counts sprints up as they are made
    "at_pct": "at_pct",
    "planday": "planned_days",
    "vel_starttime": "started_with",
    "vel_added": "added",
    "vel_removed": "removed",
    "vel_todo": "todo",
    "vel_inprogress": "in_progress",
    "vel_done": "done",
    "no_issue_starttime": "n_started_with",
    "no_issue_added": "n_added",
    "no_issue_removed": "n_removed",
    "no_issuedone": "n_done",
    "no_teammember": "team_size",
    "vel_diff": "difference",
}
assert tuple(NAMES.values()) == SPRINT_COLUMNS
LOOKS = (0, 30, 80)
JUDGED = 0.2  # newest share of a project's sprints


def run(train: Path, test: Path) -> Result:
    """Take the exam."""
    history, later = load(train), load(test)
    exams.refuse_overlap(history, later, ["project", "board", "order"])
    model = SprintModel().fit(history)
    looked: list[pd.DataFrame] = []
    for project, sprints in exams.watched(list(later.groupby("project", sort=True)), "projects"):
        past = history[history["project"] == project]
        medians = running_median(pd.concat([past, sprints], ignore_index=True))[len(past) :]
        since = sprints["order"].quantile(1 - JUDGED) if past.empty else -np.inf
        looked.append(
            sprints.assign(
                model=model.walk(sprints),
                median=medians.to_numpy(),
                is_judged=sprints["order"] >= since,
            )
        )
    rows = pd.concat(looked)
    judged = rows[rows["is_judged"]]
    metrics = {f"nmae_ratio_{at}": ratio(judged[judged["at_pct"] == at]) for at in LOOKS}
    whole = ", ".join(f"{at} %: {ratio(rows[rows['at_pct'] == at]):.3f}" for at in LOOKS)
    notes = [
        f"{_count(rows)} sprints walked, {_count(judged)} judged.",
        f"Over all sprints, the first ones included: {whole}.",
    ]
    return Result(metrics, [Row("running median", dict.fromkeys(metrics, 1.0))], notes)


def _count(rows: pd.DataFrame) -> int:
    return len(rows[["project", "board", "order"]].drop_duplicates())


def load(folder: Path) -> pd.DataFrame:
    """Read sprints as `SprintModel` wants them.

    Raises
    ------
    FileNotReadable, ColumnsMissing, ValuesInvalid, NothingToLearn
    """
    table = exams.read_table(folder, "iterations.parquet", list(NAMES))
    table = exams.usable(table, list(NAMES), f"{folder}/iterations.parquet")
    return (
        table.rename(columns=NAMES)
        .sort_values(["project", "order", "board", "at_pct"])
        .reset_index(drop=True)
    )


def ratio(rows: pd.DataFrame) -> float:
    """Mean NMAE of the model over that of the running median."""
    return float(nmae(rows, "model").mean() / nmae(rows, "median").mean())


def nmae(rows: pd.DataFrame, column: str) -> pd.Series:
    """Mean absolute error over the interquartile range, by project."""
    by_project = rows.assign(error=(rows[column] - rows["difference"]).abs()).groupby("project")
    width = by_project["difference"].quantile(0.75) - by_project["difference"].quantile(0.25)
    return by_project["error"].mean() / width.where(width > 0, np.nan)
