"""Exam ``triage``: who fixed the bug, in two trackers; a walk in time order that learns on its way.

Each bug is ranked before its fixer is told; then it is history for the next. What became of a bug
(who fixed it, through whose hands it went) is never a feature of the bug itself.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from models import exam as exams
from models.exam import Result, Row
from models.ranker import AssigneeRanker

TRACKERS = ("eclipse", "mozilla")
COLUMNS = ("id", "seq", "product", "component", "fixer", "after_path")


def run(train: Path, test: Path) -> Result:
    """Take the exam, each tracker in a process of its own."""
    with ProcessPoolExecutor(len(TRACKERS), get_context("spawn")) as processes:
        judging = [processes.submit(judge, train, test, name) for name in TRACKERS]
        judged = [one.result() for one in exams.watched(judging, "trackers")]
    metrics = {metric: value for model, _, _ in judged for metric, value in model.items()}
    baseline = {metric: value for _, plain, _ in judged for metric, value in plain.items()}
    return Result(metrics, [Row("decayed counts", baseline)], [note for _, _, note in judged])


def judge(train: Path, test: Path, name: str) -> tuple[dict[str, float], dict[str, float], str]:
    """Metrics of the ranker and of its baseline on one tracker, and a note on its sizes."""
    history, later = load(train, name), load(test, name)
    exams.refuse_overlap(history, later, ["number"])
    ranking = AssigneeRanker().fit(history).walk(later)
    new = len(set(later["agent"]) - set(history["agent"]))
    note = (
        f"{name}: {len(history)} bugs of history, {len(later)} ranked; "
        f"{new} of {later['agent'].nunique()} fixers were new."
    )
    metrics = {f"{name}_top{k}": ranking.top(k) for k in (1, 5)}
    return metrics, {f"{name}_top{k}": ranking.plain_top(k) for k in (1, 5)}, note


def load(folder: Path, name: str) -> pd.DataFrame:
    """Read one tracker's bugs in time order, as `AssigneeRanker` wants them.

    Raises
    ------
    FileNotReadable, ColumnsMissing, ValuesInvalid, NothingToLearn
    """
    table = exams.read_table(folder, f"{name}.parquet", COLUMNS)
    for column in ("product", "component", "after_path"):
        table[column] = table[column].fillna("")
    table = exams.usable(table, ("id", "seq", "fixer"), f"{folder}/{name}.parquet")
    table = table.sort_values("seq", kind="stable", ignore_index=True)
    return pd.DataFrame(
        {
            "number": table["id"].astype(float),
            "project": table["product"].astype(str),
            "kind": table["component"].astype(str),
            "agent": table["fixer"].astype(str),
            # All owners in order; the last one is the fixer.
            "passed": table["after_path"].astype(str).str.split().str[:-1].str.join(" "),
        }
    )
