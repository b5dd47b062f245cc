"""Exams: fit on one folder of real data, walk another in time order, and say how good it was.

Each exam is a module with ``run(train, test) -> Result``, listed in `EXAMS`. A folder holds
parquet files. What all exams share is here: reading with clear errors, refusing test rows that
were trained on, and showing the result.
"""

import importlib
import json
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd
from pyarrow import ArrowException
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits

from models.errors import (
    ColumnsMissing,
    FileNotReadable,
    NothingToLearn,
    RowsLeftOut,
    TestOverlapsTraining,
    TimesInFuture,
    ValuesInvalid,
)

Step = TypeVar("Step")

# Loaded when asked for: an exam then pays only for what it imports itself.
EXAMS = {
    "swe_agents": "models.exam_swe_agents",
    "metr_runs": "models.exam_metr_runs",
    "assignment": "models.exam_assignment",
    "triage": "models.exam_triage",
    "story_points": "models.exam_story_points",
    "sprints": "models.exam_sprints",
}

# More rows that cannot be used than this share are no accident: the table is another one.
MOST_LEFT_OUT = 0.1


class Row(NamedTuple):
    """One line of the readable table: a model or a baseline, and its value of each metric."""

    name: str
    metrics: dict[str, float]


class Result(NamedTuple):
    """What an exam found."""

    metrics: dict[str, float]  # of the model under test
    baselines: Sequence[Row] = ()  # trivial ones, measured on the same rows
    notes: Sequence[str] = ()  # sizes, and what a reader must know of the walk


def run(name: str, train: Path, test: Path) -> Result:
    """Take the exam ``name``."""
    take: Callable[[Path, Path], Result] = importlib.import_module(EXAMS[name]).run
    # More threads spin against each other on a busy machine: minutes instead of seconds.
    with threadpool_limits(limits=1):
        return take(train, test)


def read_table(folder: Path, file: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read the columns of one parquet file.

    Raises
    ------
    FileNotReadable, ColumnsMissing, NothingToLearn
    """
    path = folder / file
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise FileNotReadable(
            f"There is no {file} in {folder}.", "Give the folder that holds it."
        ) from error
    except (ArrowException, OSError, ValueError) as error:
        raise FileNotReadable(f"{path} cannot be read: {error}.") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ColumnsMissing(f"{path} lacks {', '.join(missing)}.")
    if table.empty:
        raise NothingToLearn(f"{path} has no rows.")
    table = table[list(columns)].reset_index(drop=True)
    # A column stored as a dictionary means the same as its values.
    is_category = table.dtypes.astype(str) == "category"
    return table.astype(
        {name: table[name].cat.categories.dtype for name in table.columns[is_category]}
    )


def usable(table: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    """Leave out rows whose value is missing or infinite in a column that matters, and say so.

    Raises
    ------
    ValuesInvalid
        There are too many of them.
    """
    bad = table[list(columns)].replace([float("inf"), float("-inf")], None).isna()
    is_bad = bad.any(axis=1)
    if not is_bad.any():
        return table
    lacks = ", ".join(f"{count} a usable {name}" for name, count in bad.sum().items() if count)
    message = f"{where}: of {len(table)} rows {int(is_bad.sum())} lack values: {lacks}."
    if is_bad.mean() > MOST_LEFT_OUT:
        raise ValuesInvalid(message)
    warnings.warn(RowsLeftOut(f"{message} They are left out."), stacklevel=2)
    return table[~is_bad].reset_index(drop=True)


def watched(steps: Sequence[Step], label: str) -> Iterable[Step]:
    """The steps of a walk, with a progress bar on a terminal's standard error."""
    console = Console(stderr=True)
    return track(steps, label, console=console, transient=True, disable=not console.is_terminal)


def refuse_overlap(train: pd.DataFrame, test: pd.DataFrame, keys: Sequence[str]) -> None:
    """Refuse test rows whose keys are in the training data.

    Raises
    ------
    TestOverlapsTraining
    """
    shared = test[list(keys)].drop_duplicates().merge(train[list(keys)].drop_duplicates())
    if len(shared):
        first = ", ".join(f"{key}={shared.iloc[0][key]}" for key in keys)
        raise TestOverlapsTraining(
            f"{len(shared)} test rows are training data too, the first: {first}."
        )


def refuse_future(times_us: pd.Series, now_us: int, where: str) -> None:
    """Refuse instants after ``now_us``, in microseconds UTC.

    Raises
    ------
    TimesInFuture
    """
    if count := int((times_us > now_us).sum()):
        latest = pd.Timestamp(int(times_us.max()), unit="us", tz="UTC")
        raise TimesInFuture(f"{where}: {count} rows lie in the future, the last at {latest}.")


def as_json(name: str, result: Result) -> str:
    """One line: ``{"exam": NAME, "metrics": {...}}``."""
    return json.dumps({"exam": name, "metrics": _plain(result.metrics)})


def show(name: str, result: Result) -> None:
    """Print a table with the baselines beside the model."""
    table = Table(title=f"exam {name}")
    table.add_column("")
    for metric in result.metrics:
        table.add_column(metric, justify="right", overflow="fold")
    for row in [*result.baselines, Row("model", result.metrics)]:
        cells = (row.metrics.get(metric) for metric in result.metrics)
        table.add_row(row.name, *("" if cell is None else f"{cell:.4f}" for cell in cells))
    console = Console()
    console.print(table)
    for note in result.notes:
        console.print(note, markup=False)


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN, the value of a metric that no test row is about."""
    return {key: None if math.isnan(v) else round(float(v), 6) for key, v in values.items()}
