"""Exam: P(success) and run time of agents, mostly on families of tasks never seen in training.

The walk follows the clock: a run is predicted when it starts, and learned from once it has ended.
Runs without an instant are predicted first and never learned from. Every agent and task counts
the same, however often they were run together. People's runs are left out.
"""

import time
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.calibration import coverage
from models.duration import DurationModel
from models.errors import NothingToLearn, ValuesInvalid
from models.exam import (
    Result,
    Row,
    read_table,
    refuse_future,
    refuse_overlap,
    usable,
    watched,
)
from models.outcome import OutcomeModel

Floats = NDArray[np.float64]

COLUMNS = [
    "agent",
    "task_id",
    "task_family",
    "score_binarized",
    "started_at",
    "completed_at",
    "duration_s",
    "token_or_time_limit",
    "human_minutes",
]
PERSON = "human"
CATEGORIES = ["agent", "task_family", "task_id"]
RUN = ["agent", "task_id", "started_at", "duration_s"]
FACTS = [*CATEGORIES, "log_minutes", "log_limit"]
PAIRS = [("agent", "task_family"), ("agent", "task_id")]
STEP = 0.02  # of the levels: outcomes that weigh much are few, and come in late
STEPS = 48  # the walk's looks at what has ended meanwhile
STEPS_PER_FIT = 3


class Walk(NamedTuple):
    """Predictions made on the way, a row a test run."""

    chance: Floats
    median: Floats
    interval: Floats  # (n_rows, 2)


def run(train: Path, test: Path) -> Result:
    """Take the exam."""
    rows, later = read(train, test)
    weight = later.weight.to_numpy(float)
    frozen, online = walk(rows, later, is_online=False), walk(rows, later, is_online=True)
    baselines = [
        Row("agent's mean and median", _metrics(later, _trivial(rows, later), weight)),
        Row("model, frozen", _metrics(later, frozen, weight)),
    ]
    notes = [
        f"{len(rows)} training runs; {len(later)} test runs.",
        f"{later.task_id.nunique()} test tasks in {later.task_family.nunique()} families.",
        f"{len(set(later.task_family) - set(rows.task_family))} families are new.",
        "The model learns from test runs that ended before a run began; the frozen one does not.",
    ]
    return Result(_metrics(later, online, weight), baselines, notes)


def read(train: Path, test: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read and check both folders; runs in the order of their starts."""
    rows, later = _read_folder(train), _read_folder(test)
    refuse_overlap(rows, later, RUN)
    return rows, later


def walk(train: pd.DataFrame, test: pd.DataFrame, *, is_online: bool) -> Walk:
    """Predict each test run at its start."""
    n = len(test)
    found = Walk(np.empty(n), np.empty(n), np.empty((n, 2)))
    started, ended = test.started_at.to_numpy(), test.completed_at.to_numpy()
    is_learned = np.zeros(n, bool)
    # Runs repeated often would drown the others; the k-th of an agent on a task weighs less.
    rarity = (1 + test.groupby(["agent", "task_id"]).cumcount().to_numpy(float)) ** -0.5
    outcome, duration = _fit(train)
    steps = np.array_split(np.arange(n), min(STEPS, n))
    for step, places in enumerate(watched(steps, "online" if is_online else "frozen")):
        news = ~is_learned & (started > 0) & (ended < started[places[0]])
        if news.any():
            # Even a frozen model's interval follows the outcomes.
            duration.recalibrate(
                test[news][FACTS], test[news].duration_s, sample_weight=rarity[news]
            )
            is_learned |= news
        if is_online and is_learned.any() and step % STEPS_PER_FIT == 0:
            levels = duration.levels_
            outcome, duration = _fit(pd.concat([train, test[is_learned]]))
            duration.levels_ = levels
        facts = test.iloc[places][FACTS]
        found.chance[places] = outcome.predict_proba(facts)[:, 1]
        # Refits move the median by themselves; a second mover at this step wavers too much.
        found.median[places] = duration.predict_quantiles(facts, [0.5])[:, 0]
        found.interval[places] = duration.predict_interval(facts)
    return found


def _fit(rows: pd.DataFrame) -> tuple[OutcomeModel, DurationModel]:
    """Fit both models; a pair run often counts more than one run once, not in proportion."""
    weight = rows.groupby(["agent", "task_id"]).task_id.transform("size") ** -0.5
    outcome = OutcomeModel(categorical=CATEGORIES, products=PAIRS, scales=OUTCOME_SCALES)
    duration = DurationModel(
        "linear",
        categorical=CATEGORIES,
        products=PAIRS,
        scales=DURATION_SCALES,
        spread_columns=["agent"],
        folds=3,
        step=STEP,
    )
    return (
        outcome.fit(rows[FACTS], rows.score_binarized, sample_weight=weight),
        duration.fit(rows[FACTS], rows.duration_s, groups=rows.task_family, sample_weight=weight),
    )


# A priori standard deviations, in logits and in logs, chosen by leaving families out in turn.
OUTCOME_SCALES: dict[Hashable, float] = {
    "agent": 1.5,
    "task_family": 1.5,
    "task_id": 1.0,
    ("agent", "task_family"): 0.7,
    ("agent", "task_id"): 1.0,
    "log_minutes": 2.0,
    "log_limit": 1.0,
}
DURATION_SCALES: dict[Hashable, float] = {
    "agent": 1.0,
    "task_family": 1.0,
    "task_id": 0.6,
    ("agent", "task_family"): 0.5,
    ("agent", "task_id"): 0.5,
    "log_minutes": 1.0,
    "log_limit": 1.0,
}


def _read_folder(folder: Path) -> pd.DataFrame:
    where = f"{folder}/runs.parquet"
    rows = read_table(folder, "runs.parquet", COLUMNS)
    rows = rows[rows.agent != PERSON].reset_index(drop=True)
    if rows.empty:
        raise NothingToLearn(f"{where} has no runs of agents.")
    rows = rows.assign(
        **{name: rows[name].where(rows[name] > 0) for name in ("duration_s", "human_minutes")},
        **{name: rows[name].fillna(0) for name in ("started_at", "completed_at")},
        score_binarized=rows.score_binarized.where(rows.score_binarized.isin([0, 1])),
        # No limit told is as good as none.
        token_or_time_limit=rows.token_or_time_limit.fillna(rows.token_or_time_limit.max()),
    )
    rows = usable(rows, COLUMNS, where)
    if (rows.completed_at < rows.started_at).any():
        raise ValuesInvalid(f"{where}: a run was completed before it started.")
    refuse_future(rows.completed_at * 1000, time.time_ns() // 1000, where)
    # Runs of one instant in an order of their own, not in the file's.
    order = ["started_at", "completed_at", "agent", "task_id", "duration_s", "score_binarized"]
    rows = rows.sort_values(order, ignore_index=True)
    return rows.assign(
        log_minutes=np.log2(rows.human_minutes),
        log_limit=np.log2(rows.token_or_time_limit.clip(lower=1)),
        weight=1 / rows.groupby(["agent", "task_id"]).task_id.transform("size"),
    )


def _trivial(train: pd.DataFrame, test: pd.DataFrame) -> Walk:
    """What the agent did on the tasks of training, each task counting the same."""
    share = train.groupby(["agent", "task_id"]).score_binarized.mean().groupby("agent").mean()
    times = train.groupby("agent").duration_s
    low, middle, high = (
        test.agent.map(times.quantile(q)).fillna(train.duration_s.quantile(q)).to_numpy(float)
        for q in (0.1, 0.5, 0.9)
    )
    chance = test.agent.map(share).fillna(share.mean()).to_numpy(float)
    return Walk(chance, middle, np.column_stack([low, high]))


def _metrics(test: pd.DataFrame, found: Walk, weight: Floats) -> dict[str, float]:
    solved, times = test.score_binarized.to_numpy(float), test.duration_s.to_numpy(float)
    return {
        "brier": float(np.average((found.chance - solved) ** 2, weights=weight)),
        "duration_abs_log2": float(
            np.average(np.abs(np.log2(found.median / times)), weights=weight)
        ),
        "cover80": coverage(times, found.interval, weight),
    }
