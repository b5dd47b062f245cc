"""How far a sprint will end from its plan: points delivered less points committed, seen midway.

What a board delivered before says most: teams differ in how they fill sprints, not in how they
work. So each board's past is turned into features, relative to the sprint's own size, and earlier
sprints count the more the more they are like the one that is asked about: shown on the same other
boards, of like size and length. Small trees learn across projects what all this means, and are
refitted while a project's sprints come in, and where they do worse than the project's own running
median, that takes over.

Counts of a sprint's issues from the tracker's present state are not used: they include issues
added later, so they would tell the end.
"""

from itertools import pairwise
from typing import NamedTuple, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import ColumnsMissing, NothingToLearn
from models.mixture import weighted_mean

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
HALF_LIFE = 4.0  # sprints of a board
LIKE_HALF_LIFE = 15.0  # where likeness matters more than age
FIRST_REFIT = 30  # sprints of a new project
GROWTH = 1.25  # of what is known, between two refits
OWN_WEIGHT = 4.0  # of a sprint of the project itself, against one of others
# More trust costs a project that is like the others; none leaves one that is not to the trees.
MEDIAN_TRUST = 0.2  # weight that the project's running median begins with, against 1 of the trees
LOSS_HALF_LIFE = 35.0  # sprints of the project after which an error counts half


def committed(table: pd.DataFrame) -> pd.Series:
    """Points in the sprint now."""
    return table["started_with"] + table["added"] - table["removed"]


class _Rows(NamedTuple):
    """Sprints, and what is known of each at its instant."""

    table: pd.DataFrame
    features: pd.DataFrame

    def where(self, chosen: "pd.Series[bool] | NDArray[np.bool_]") -> "_Rows":
        return _Rows(self.table[chosen], self.features[chosen])


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
        num_leaves: int = 8,
        learning_rate: float = 0.05,
        n_seeds: int = 3,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.n_rounds = n_rounds
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.n_seeds = n_seeds
        self.num_threads = num_threads
        self.seed = seed
        self._known: _Rows | None = None

    def fit(self, table: pd.DataFrame) -> Self:
        """Take in sprints; those of a project to be walked are its past.

        Raises
        ------
        ColumnsMissing, NothingToLearn
        """
        _require(table)
        known = table.reset_index(drop=True)
        self._known = _Rows(known, sprint_features(known))
        return self

    def walk(self, sprints: pd.DataFrame) -> Floats:
        """Difference of each row of one project, predicted from what had ended before.

        Returns
        -------
        array, shape (n_rows,)
            In the order of ``sprints``.
        """
        _require(sprints)
        others, table = None, sprints.reset_index(drop=True)
        if self._known is not None:
            is_own = self._known.table["project"] == sprints["project"].iloc[0]
            others = self._known.where(~is_own)
            table = pd.concat([self._known.table[is_own], table], ignore_index=True)
        own = _Rows(table, sprint_features(table))
        is_asked = np.arange(len(table)) >= len(table) - len(sprints)
        order = table["order"].rank(method="dense").to_numpy() - 1
        found = np.full(len(table), np.nan)
        limits = [0, FIRST_REFIT]
        while limits[-1] <= order.max():
            limits.append(int(limits[-1] * GROWTH) + 1)
        for low, high in pairwise(limits):
            now = is_asked & (order >= low) & (order < high)
            if now.any():
                found[now] = self._predict(others, own.where(order < low), own.where(now))
        return self._drawn_to_median(table, found)[is_asked]

    def _drawn_to_median(self, table: pd.DataFrame, found: Floats) -> Floats:
        """NaN where nothing was found."""
        least = -committed(table).to_numpy(float)  # no sprint delivers less than nothing
        found = np.maximum(found, least)
        medians = running_median(table).to_numpy()
        mixed = np.full_like(found, np.nan)
        for at in table["at_pct"].unique():
            rows = np.flatnonzero((table["at_pct"] == at) & np.isfinite(found))
            rows = rows[table["order"].to_numpy()[rows].argsort(kind="stable")]
            mixed[rows] = weighted_mean(
                np.stack([found[rows], medians[rows]]),
                table["difference"].to_numpy()[rows],
                trust=MEDIAN_TRUST,
                half_life=LOSS_HALF_LIFE,
                steps=table["order"].to_numpy()[rows],
            )
        drawn: Floats = np.maximum(mixed, least)
        return drawn

    def _predict(self, others: "_Rows | None", past: "_Rows", now: "_Rows") -> Floats:
        parts = [past] if others is None else [others, past]
        known = pd.concat([part.table for part in parts], ignore_index=True)
        X = pd.concat([part.features for part in parts], ignore_index=True)
        if known["order"].nunique() * known["project"].nunique() < self.MIN_SPRINTS:
            middle = past.table["difference"].median() if len(past.table) else 0.0
            return np.full(len(now.table), middle)
        scale, scale_now = _scale(X), _scale(now.features)
        # Each project's errors count in units of its own spread; the project itself counts more.
        by_project = known.groupby("project")["difference"]
        spread = by_project.transform(lambda v: v.quantile(0.75) - v.quantile(0.25))
        weight = 1 / spread.clip(lower=1.0) / by_project.transform("size") ** 0.5
        is_own = np.arange(len(known)) >= len(known) - len(past.table)
        if (~is_own).any():
            weight[is_own] = OWN_WEIGHT * weight[~is_own].mean()
        data = lgb.Dataset(
            X, known["difference"] / scale, weight=weight * scale, free_raw_data=False
        )
        found = [
            lgb.train(self._parameters(number), data, self.n_rounds).predict(now.features)
            for number in range(self.n_seeds)
        ]
        expected: Floats = np.mean(found, axis=0) * scale_now
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


_PASTS = ("delivered", "difference", "committed")
_KERNELS = ("recent", "like")
_POINTS = [
    "todo",
    "in_progress",
    "done",
    "added",
    "removed",
    "started_with",
    "remaining",
    "at_this_rate",
    *(f"{past}_{what}" for past in _PASTS for what in ("last", "median", "mean")),
    *(
        f"{kernel}_{what}"
        for kernel in _KERNELS
        for what in ("delivered", "difference", "by_ratio", "median", "by_median", "by_rest")
    ),
    "project_difference",
    "committed_since",
    "done_since",
]


def sprint_features(table: pd.DataFrame) -> pd.DataFrame:
    """What is known of each sprint at its instant, and of the board's sprints before it.

    Returns
    -------
    DataFrame, shape (n_rows, n_features)
        Points are also given as shares of the sprint's scale; NaN where nothing is known.
    """
    boards = pd.crosstab([table["project"], table["order"]], table["board"]) > 0
    parts = [
        _of_board(rows, boards.loc[[*zip(rows["project"], rows["order"], strict=True)]])
        for _, rows in table.sort_values("order").groupby(KEYS, sort=False)
    ]
    found = pd.concat(parts).loc[table.index]
    found = pd.concat([found, _of_project(table), _since_before(table)], axis=1)
    scale = _scale(found)
    shares = found[_POINTS].div(scale, axis=0).add_prefix("share_")
    return pd.concat([found, shares], axis=1)


def _of_board(rows: pd.DataFrame, boards: pd.DataFrame) -> pd.DataFrame:
    """Rows of one board at one share of the days, in order; ``boards`` show each row's sprint."""
    now = committed(rows).to_numpy(float)
    gone = rows["at_pct"].to_numpy(float) / 100
    found = rows[list(COLUMNS[3:-1])].astype(float)
    found["committed"] = now
    found["remaining"] = (rows["todo"] + rows["in_progress"]).astype(float)
    found["at_this_rate"] = found["done"] / (gone + 0.02) * (1 - gone) - found["remaining"]
    found["points_a_day"] = now / found["planned_days"].clip(lower=1)
    found["n_sprints"] = np.arange(len(rows), dtype=float)
    ended = found.assign(
        order=rows["order"], difference=rows["difference"], delivered=now + rows["difference"]
    )
    for name in _PASTS:
        before = ended[name].shift()
        lately = before.rolling(RECENT, min_periods=1)
        found[f"{name}_last"] = before
        found[f"{name}_median"], found[f"{name}_mean"] = lately.median(), lately.mean()
    likeness = _likeness(ended, boards.to_numpy(float))
    return pd.concat([found, *(_weighed(*pair, ended) for pair in likeness.items())], axis=1)


def _likeness(rows: pd.DataFrame, boards: Floats) -> dict[str, Floats]:
    """Weight of each earlier sprint of a board for each sprint, (n_rows, n_rows).

    A board shows the sprints of several teams, and each team's show on other boards beside it. So
    a sprint in the same company of boards tells most; then one of like size and length.
    """
    both = boards @ boards.T
    n_boards = boards.sum(axis=1)
    company = both / (n_boards[:, None] + n_boards - both)
    place = np.arange(len(rows))
    age = np.maximum(place[:, None] - place, 0)
    order = rows["order"].to_numpy()
    is_earlier = order[:, None] > order
    size, length = (
        np.exp(-0.5 * ((logs[:, None] - logs) / width) ** 2)
        for logs, width in (
            (np.log1p(rows["committed"].to_numpy().clip(0)), 0.6),
            (np.log1p(rows["planned_days"].to_numpy().clip(0)), 0.35),
        )
    )
    recent = (company**3 + 1e-4) * 0.5 ** (age / HALF_LIFE)
    like = (company**2 + 1e-3) * (size + 0.02) * (length + 0.1) * 0.5 ** (age / LIKE_HALF_LIFE)
    return {"recent": is_earlier * recent, "like": is_earlier * like}


def _weighed(name: str, weights: Floats, rows: pd.DataFrame) -> pd.DataFrame:
    """How the earlier sprints ended, each by its weight; NaN for the first."""
    now, done, rest, delivered, difference = (
        rows[column].to_numpy(float)
        for column in ("committed", "done", "remaining", "delivered", "difference")
    )
    total = weights.sum(axis=1)
    share = weights / np.where(total > 0, total, np.nan)[:, None]
    usual = share @ delivered
    ratio = (usual + 0.1) / (share @ now + 0.1)
    found = {
        "weight": np.log(total + 1e-9),
        "delivered": usual,
        "difference": share @ difference,
        "ratio": ratio,
        "by_ratio": (ratio - 1) * now,
        "share_nothing": share @ (delivered == 0),
        "share_less": share @ (difference < 0),
        "share_as_planned": share @ (difference == 0),
        "done_by_now": (share @ done + 0.1) / (usual + 0.1),
        "median": _medians(share, difference),
        "by_median": (_medians(share, delivered / (now + 1)) - 1) * now,
        "by_rest": _medians(share, (delivered - done) / (rest + 1)) * (rest + 1) + done - now,
    }
    return pd.DataFrame(found, rows.index).add_prefix(f"{name}_")


def _medians(share: Floats, values: Floats) -> Floats:
    """Weighted median of the values for each row of shares; NaN where shares are."""
    order = values.argsort(kind="stable")
    place = (share[:, order].cumsum(axis=1) >= 0.5 - 1e-12).argmax(axis=1)  # rounding
    return np.where(np.isnan(share[:, 0]), np.nan, values[order][place])


def running_median(sprints: pd.DataFrame) -> pd.Series:
    """Median difference of the project's earlier sprints at the same share of days."""
    rows = sprints.sort_values("order", kind="stable")
    medians = rows.groupby("at_pct")["difference"].transform(
        lambda v: v.expanding().median().shift()
    )
    # What the first row of a sprint knows, all of them know: nothing of each other.
    first = medians.groupby([rows["at_pct"], rows["order"]]).transform(lambda v: v.iloc[0])
    return first.fillna(0.0).loc[sprints.index]


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
