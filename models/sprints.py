"""How far a sprint will end from its plan: points delivered less points committed, seen midway.

What a board delivered before says most: teams differ in how they fill sprints, not in how they
work. So each board's past is turned into features, relative to the sprint's own size; trees learn
across projects what they mean, and are refitted while a project's sprints come in.

Counts of a sprint's issues from the tracker's present state are not used: they include issues
added later, so they would tell the end.
"""

from itertools import pairwise
from typing import Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import ColumnsMissing, NothingToLearn

Floats = NDArray[np.float64]

COLUMNS = (
    "project",
    "board",
    "order",  # of the sprint within its project; the same on every board that shows it
    "at_pct",  # share of the planned days gone by, 0..100
    "planned_days",
    "started_with",  # points
    "added",
    "removed",
    "todo",
    "in_progress",
    "done",
    "n_started_with",  # issues
    "n_added",
    "n_removed",
    "n_done",
    "team_size",
    "difference",  # points delivered in the end, less those committed now
)
KEYS = ["project", "board", "at_pct"]
RECENT = 8  # sprints of a board
HALF_LIFE = 3.0  # sprints
FIRST_REFIT = 30  # sprints of a new project
GROWTH = 1.25  # of what is known, between two refits
OWN_WEIGHT = 4.0  # of a sprint of the project itself, against one of others


def committed(table: pd.DataFrame) -> pd.Series:
    """Points in the sprint now."""
    return table["started_with"] + table["added"] - table["removed"]


class SprintModel:
    """Predicts the difference for each sprint of a project, learning from those that ended.

    Parameters
    ----------
    n_rounds, num_leaves, learning_rate, num_threads
        Of LightGBM.
    n_seeds : int
        Boosters whose mean is taken.
    seed : int

    Notes
    -----
    Tables have the columns `COLUMNS`, a row a sprint, board and ``at_pct``. A sprint may show on
    several boards; none of its rows is predicted from another.
    """

    MIN_SPRINTS = 100

    def __init__(
        self,
        *,
        n_rounds: int = 200,
        num_leaves: int = 15,
        learning_rate: float = 0.05,
        n_seeds: int = 2,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.n_rounds = n_rounds
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.n_seeds = n_seeds
        self.num_threads = num_threads
        self.seed = seed
        self._known: pd.DataFrame | None = None
        self._features: pd.DataFrame | None = None

    def fit(self, table: pd.DataFrame) -> Self:
        """Take in sprints of other projects.

        Raises
        ------
        ColumnsMissing, NothingToLearn
        """
        _require(table)
        self._known = table.reset_index(drop=True)
        self._features = sprint_features(self._known)
        return self

    def walk(self, sprints: pd.DataFrame) -> Floats:
        """Difference of each row of one project, predicted from what had ended before.

        Returns
        -------
        array, shape (n_rows,)
            In the order of ``sprints``.
        """
        _require(sprints)
        own = sprints.reset_index(drop=True)
        features = sprint_features(own)
        order = own["order"].rank(method="dense").to_numpy() - 1
        found = np.empty(len(own))
        limits = [0, FIRST_REFIT]
        while limits[-1] <= order.max():
            limits.append(int(limits[-1] * GROWTH) + 1)
        for low, high in pairwise(limits):
            now = (order >= low) & (order < high)
            if now.any():
                past = order < low
                found[now] = self._predict(own[past], features[past], own[now], features[now])
        return found

    def _predict(
        self,
        past: pd.DataFrame,
        past_features: pd.DataFrame,
        now: pd.DataFrame,
        features: pd.DataFrame,
    ) -> Floats:
        tables = [past] if self._known is None else [self._known, past]
        matrices = [past_features] if self._features is None else [self._features, past_features]
        known, X = pd.concat(tables, ignore_index=True), pd.concat(matrices, ignore_index=True)
        if known["order"].nunique() * known["project"].nunique() < self.MIN_SPRINTS:
            return np.full(len(now), past["difference"].median() if len(past) else 0.0)
        scale, scale_now = _scale(X), _scale(features)
        # Each project's errors count in units of its own spread; the project itself counts more.
        by_project = known.groupby("project")["difference"]
        spread = by_project.transform(lambda v: v.quantile(0.75) - v.quantile(0.25))
        weight = 1 / spread.clip(lower=1.0) / by_project.transform("size") ** 0.5
        is_own = np.arange(len(known)) >= len(known) - len(past)
        if (~is_own).any():
            weight[is_own] = OWN_WEIGHT * weight[~is_own].mean()
        data = lgb.Dataset(
            X, known["difference"] / scale, weight=weight * scale, free_raw_data=False
        )
        found = [
            lgb.train(self._parameters(number), data, self.n_rounds).predict(features)
            for number in range(self.n_seeds)
        ]
        # No sprint delivers less than nothing.
        least = -committed(now).to_numpy(float)
        expected: Floats = np.maximum(np.mean(found, axis=0) * scale_now, least)
        return expected

    def _parameters(self, number: int) -> dict[str, object]:
        return {
            "objective": "l1",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": 20,
            "feature_fraction": 0.4,
            "bagging_fraction": 0.6,
            "bagging_freq": 1,
            "lambda_l2": 2.0,
            "num_threads": self.num_threads,
            "deterministic": True,
            "seed": self.seed + number,
            "verbose": -1,
        }


def _scale(features: pd.DataFrame) -> Floats:
    """Points that make a big difference: the sprint's size and what the board usually does."""
    usual = features["delivered_mean"].fillna(features["committed"])
    found: Floats = (5.0 + features["committed"] + usual).to_numpy(float)
    return found


def sprint_features(table: pd.DataFrame) -> pd.DataFrame:
    """What is known of each sprint at its instant, and of the board's sprints before it.

    Returns
    -------
    DataFrame, shape (n_rows, n_features)
        Points are also given as shares of the sprint's scale; NaN where nothing is known.
    """
    parts = [_of_board(rows) for _, rows in table.sort_values("order").groupby(KEYS, sort=False)]
    found = pd.concat(parts).loc[table.index]
    found = pd.concat([found, _of_project(table), _since_before(table)], axis=1)
    scale = _scale(found)
    shares = found[_POINTS].div(scale, axis=0).add_prefix("share_")
    return pd.concat([found, shares], axis=1)


_PASTS = ("delivered", "difference", "committed")
_POINTS = [
    "todo",
    "in_progress",
    "done",
    "added",
    "removed",
    "started_with",
    "remaining",
    "at_this_rate",
    *(f"{past}_{what}" for past in _PASTS for what in ("last", "median", "mean", "faded")),
    "delivered_by_days",
    "expected_by_ratio",
    "like_difference",
    "like_delivered",
    "project_difference",
    "committed_since",
    "done_since",
]


def _of_board(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one board at one share of the days, in order."""
    now = committed(rows).to_numpy(float)
    difference = rows["difference"].to_numpy(float)
    delivered = now + difference
    days = rows["planned_days"].to_numpy(float)
    done = rows["done"].to_numpy(float)
    found = [
        _past(i, now=now, difference=difference, delivered=delivered, days=days, done=done)
        for i in range(len(rows))
    ]
    past = pd.DataFrame(found, index=rows.index)
    gone = rows["at_pct"].to_numpy(float) / 100
    static = rows[list(COLUMNS[3:-1])].astype(float)
    static["committed"] = now
    static["remaining"] = (rows["todo"] + rows["in_progress"]).astype(float)
    static["at_this_rate"] = done / (gone + 0.02) * (1 - gone) - static["remaining"]
    static["points_a_day"] = now / np.maximum(days, 1)
    return pd.concat([static, past], axis=1)


def _past(
    i: int, *, now: Floats, difference: Floats, delivered: Floats, days: Floats, done: Floats
) -> dict[str, float]:
    """What the board's first ``i`` sprints say about the next one."""
    pasts = {"delivered": delivered[:i], "difference": difference[:i], "committed": now[:i]}
    if not i:
        blank = {f"{name}_{w}": np.nan for name in pasts for w in ("last", "median", "mean")}
        return {
            "n_sprints": 0.0,
            **blank,
            **{f"{name}_faded": np.nan for name in pasts},
            **_NOTHING,
        }
    weight = 0.5 ** (np.arange(i)[::-1] / HALF_LIFE)
    weight /= weight.sum()
    row: dict[str, float] = {"n_sprints": float(i)}
    for name, values in pasts.items():
        row[f"{name}_last"] = values[-1]
        row[f"{name}_median"] = float(np.median(values[-RECENT:]))
        row[f"{name}_mean"] = float(values[-RECENT:].mean())
        row[f"{name}_faded"] = float(weight @ values)
    usual = float(weight @ now[:i])
    ratio = float(weight @ delivered[:i]) / usual if usual > 0 else np.nan
    like = np.argsort(np.abs(np.log1p(now[:i]) - np.log1p(now[i])), kind="stable")[:3]
    row["ratio"] = ratio
    row["expected_by_ratio"] = (ratio - 1.0) * now[i]
    row["share_nothing_delivered"] = float(weight @ (delivered[:i] == 0))
    row["share_as_planned"] = float(weight @ (difference[:i] == 0))
    row["share_less"] = float(weight @ (difference[:i] < 0))
    row["share_all_lost"] = float(weight @ ((delivered[:i] == 0) & (now[:i] > 0)))
    row["delivered_by_days"] = float(weight @ (delivered[:i] / np.maximum(days[:i], 1))) * days[i]
    row["like_difference"] = float(np.median(difference[like]))
    row["like_delivered"] = float(np.median(delivered[like]))
    row["like_ratio"] = float(np.median(delivered[like] / np.maximum(now[like], 1)))
    ended = float(weight @ delivered[:i])
    row["share_done_by_now"] = float(weight @ done[:i]) / ended if ended > 0 else np.nan
    return row


_NOTHING = dict.fromkeys(
    (
        "ratio",
        "expected_by_ratio",
        "share_nothing_delivered",
        "share_as_planned",
        "share_less",
        "share_all_lost",
        "delivered_by_days",
        "like_difference",
        "like_delivered",
        "like_ratio",
        "share_done_by_now",
    ),
    np.nan,
)


def _of_project(table: pd.DataFrame) -> pd.DataFrame:
    """What the project's last 60 sprints were like, on whatever board."""
    rows = table.sort_values("order", kind="stable")
    now = committed(rows)
    values = {
        "project_ratio": ((now + rows["difference"]) / (now + 1)).clip(upper=10),
        "project_difference": rows["difference"],
        "project_share_less": (rows["difference"] < 0).astype(float),
    }
    keys = [rows["project"], rows["at_pct"]]
    found = {
        name: column.groupby(keys).transform(
            lambda v: (
                v.rolling(60, min_periods=5).median().shift()
                if v.nunique() > 2  # noqa: PLR2004 - of a yes or no the share says more
                else v.rolling(60, min_periods=5).mean().shift()
            )
        )
        for name, column in values.items()
    }
    # What the first row of a sprint knows, all of them know: nothing of each other.
    first = pd.DataFrame(found).groupby([*keys, rows["order"]]).transform(lambda v: v.iloc[0])
    return first.loc[table.index]


def _since_before(table: pd.DataFrame) -> pd.DataFrame:
    """How the sprint changed since it was last looked at; NaN at its start."""
    rows = table.sort_values("at_pct", kind="stable")
    looks = pd.DataFrame({"committed": committed(rows), "done": rows["done"]})
    keys = [rows["project"], rows["board"], rows["order"]]
    return looks.groupby(keys).diff().add_suffix("_since").loc[table.index]


def _require(table: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ColumnsMissing(f"The table lacks {', '.join(missing)}.")
    if table.empty:
        raise NothingToLearn("The table has no rows.")
