"""How many story points an issue will get: the project's own history first, texts second.

Teams change how they use the scale, so the newest issues tell most; a median of the last fifty
beats every published network. What this model adds: issues alike in words, kind and place, and
trees that learned on *other* projects how far each of these signals can be trusted. All signals
are taken relative to the project's level, so what was learned on one project holds for the next.
"""

from bisect import bisect_left
from collections import Counter
from itertools import pairwise
from typing import NamedTuple, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from models.errors import ColumnsMissing, NothingToLearn
from models.features import TextVectorizer, plain
from models.mixture import weighted_mean

Floats = NDArray[np.float64]

WARM_UP = 20  # issues before the first prediction from signals; the median answers until then
WINDOW = 1_000  # newest issues whose texts are compared
CHUNK = 50  # issues between two refits of the text regression
MAX_TRAINING = 2_500  # newest issues of a project that train the trees
TEXT_AGE = 400.0  # issues after which likeness counts half
RIDGE = 1.0  # penalty of the text regression; rows have length 1
REGRESSION_AGE = 300.0  # issues after which a row counts half in it
LEVEL_HALF_LIFE = 60.0
LEAST = 0.25  # points, before logarithms
LOSS_HALF_LIFE = 200.0  # issues after which a predictor's error counts half
MEDIAN_TRUST = 30.0  # weight that the median begins with, against 1 of each other
COLUMNS = ("project", "title", "description", "points")


class StoryPointModel:
    """Predicts story points issue by issue, learning from each after it is known.

    Parameters
    ----------
    n_rounds, num_leaves, learning_rate
        Of LightGBM.
    n_seeds : int
        Boosters whose mean is taken.
    num_threads : int
        For LightGBM.
    seed : int

    Attributes
    ----------
    boosters_ : list of lightgbm.Booster
        Empty after too little history: then medians answer.

    Notes
    -----
    Tables have the columns ``project``, ``title``, ``description``, ``points`` and, where known,
    ``kind``, ``component``, ``number`` (of the issue) and ``created_days``; a row an issue, in
    order of creation within its project.
    """

    MIN_ISSUES = 300

    def __init__(
        self,
        *,
        n_rounds: int = 200,
        num_leaves: int = 15,
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
        self.boosters_: list[lgb.Booster] = []
        self.vectorizer_ = TextVectorizer()

    def fit(self, table: pd.DataFrame) -> Self:
        """Learn from whole projects how far each signal can be trusted.

        Raises
        ------
        ColumnsMissing, NothingToLearn
        """
        _require(table)
        self.boosters_ = []
        self.vectorizer_ = TextVectorizer().fit(_texts(table))
        parts = []
        for _, issues in table.groupby("project", sort=True):
            signals = self._signals(issues.tail(MAX_TRAINING + WARM_UP))
            if signals is not None:
                parts.append(signals)
        if sum(len(part.points) for part in parts) >= self.MIN_ISSUES:
            self._train(parts)
        return self

    def walk(self, issues: pd.DataFrame) -> Floats:
        """Points of each issue of one project, each predicted before it was known.

        Returns
        -------
        array, shape (n_issues,)
            The first ones are medians of what was known.
        """
        _require(issues)
        points = issues["points"].to_numpy(float)
        early = [np.median(points[:i]) if i else 1.0 for i in range(min(WARM_UP, len(points)))]
        signals = self._signals(issues)
        if signals is None:
            return np.array(early)
        # A project leaves its median only when others did better on the project itself, so the
        # worst case stays close to that median.
        found = weighted_mean(
            self._predictors(signals),
            signals.points,
            trust=MEDIAN_TRUST,
            half_life=LOSS_HALF_LIFE,
        )
        return np.concatenate([early, found])

    def _signals(self, issues: pd.DataFrame) -> "_Signals | None":
        return _Walk(issues, self.vectorizer_).signals() if len(issues) > WARM_UP else None

    def _predictors(self, signals: "_Signals") -> Floats:
        """Candidate predictions, (n_predictors, n_issues), the preferred first."""
        medians = np.stack([signals.rolling, signals.running])
        if not self.boosters_:
            return medians
        X = signals.matrix
        relative = np.mean([b.predict(X, num_threads=self.num_threads) for b in self.boosters_], 0)
        learned = (1.0 + relative) * signals.level
        return np.stack([_snapped(learned, signals), learned, *medians])

    def _train(self, parts: list["_Signals"]) -> None:
        level = np.concatenate([part.level for part in parts])
        points = np.concatenate([part.points for part in parts])
        # Each project's errors count in units of its own spread, and a project of many issues
        # counts more than one of few, but less than by their number.
        weight = np.concatenate(
            [part.level / max(part.spread, 1e-3) / len(part.points) ** 0.5 for part in parts]
        )
        data = lgb.Dataset(
            np.concatenate([part.matrix for part in parts]),
            (points - level) / level,
            weight=weight / weight.mean(),
            feature_name=list(FEATURES),
            free_raw_data=False,
        )
        for number in range(self.n_seeds):
            parameters = {
                "objective": "l1",
                "num_leaves": self.num_leaves,
                "learning_rate": self.learning_rate,
                "min_data_in_leaf": 100,
                "feature_fraction": 0.5,
                "bagging_fraction": 0.7,
                "bagging_freq": 1,
                "lambda_l2": 5.0,
                "num_threads": self.num_threads,
                "deterministic": True,
                "seed": self.seed + number,
                "verbose": -1,
            }
            self.boosters_.append(lgb.train(parameters, data, self.n_rounds))


class _Signals(NamedTuple):
    """What was known before each issue of a project, from the warm-up on."""

    matrix: Floats  # (n_issues, n_features), columns as in `FEATURES`
    level: Floats  # faded mean of points so far, the unit of all relative signals
    rolling: Floats  # median of the last fifty
    running: Floats  # median of all so far
    points: Floats  # what became known afterwards
    history: Floats  # all points of the project, the warm-up included

    @property
    def spread(self) -> float:
        return float(np.abs(self.points - np.median(self.points)).mean())


_MEDIANS = (10, 20, 50, 100, 200)
_HALF_LIVES = (5.0, 15.0, 60.0)
# Estimates of the points, taken as log2 of their ratio to the level.
_RELATIVE = (
    *(f"median_{n}" for n in _MEDIANS),
    "median_all",
    "geometric_20",
    "geometric_100",
    "mean_20",
    *(f"faded_{h:g}" for h in _HALF_LIVES),
    "last_1",
    "last_2",
    "last_3",
    "quarter_100",
    "three_quarters_100",
    "highest_100",
    "regression",  # on the words of the text
    "title_median",  # of issues alike
    "title_mean",
    "title_nearest",
    "text_median",
    "text_mean",
    "text_nearest",
    "kind_mean",
    "kind_median",
    "component_mean",
    "component_median",
    "number_mean",  # of issues with numbers close by
    "number_nearest",
)
_TEXTS = ("title", "text")
_LIKENESS = ("title_likeness", "title_likeness_5", "text_likeness", "text_likeness_5")
_PLAIN = (
    *_LIKENESS,
    "n_kind",
    "n_component",
    "number_distance",
    "days_since",
    "days_since_5",
    "spread_20",
    "spread_100",
    "title_length",
    "title_words",
    "text_length",
    "text_length_ratio",
    "n_issues",
    "n_values_100",
    "level",
)
FEATURES = (*_RELATIVE, *_PLAIN)


class _Walk:
    """Notes what was known before each issue of a project."""

    def __init__(self, issues: pd.DataFrame, vectorizer: TextVectorizer) -> None:
        self.issues = issues.reset_index(drop=True)
        self.points = self.issues["points"].astype(float)
        self.logs = np.log2(self.points.clip(lower=LEAST))
        titles = issues["title"].fillna("").astype(str)
        self.title_rows = vectorizer.transform([plain(title) for title in titles])
        self.text_rows = vectorizer.transform(_texts(issues))

    def signals(self) -> "_Signals":
        # Faded means weigh older issues too, however little; `shift` keeps out the issue itself.
        level = (2 ** self.logs.ewm(halflife=LEVEL_HALF_LIFE).mean().shift()).clip(lower=LEAST)
        texts = self._texts_alike()
        estimates = pd.concat(
            [
                self._recent(),
                texts[["regression"]],
                texts[[c for c in texts if c in _RELATIVE and c != "regression"]],
                self._same("kind"),
                self._same("component"),
                self._close_by(),
            ],
            axis=1,
        )
        relative = np.log2(estimates.clip(lower=LEAST)).sub(np.log2(level), axis=0)
        columns = pd.concat([relative, texts[list(_LIKENESS)], self._plain()], axis=1)
        columns["level"] = np.log2(level)
        before = self.points.shift()
        return _Signals(
            columns[list(FEATURES)].to_numpy(float)[WARM_UP:],
            level.to_numpy()[WARM_UP:],
            before.rolling(50, min_periods=1).median().to_numpy()[WARM_UP:],
            before.expanding().median().to_numpy()[WARM_UP:],
            self.points.to_numpy()[WARM_UP:],
            self.points.to_numpy(),
        )

    def _recent(self) -> pd.DataFrame:
        points, logs = self.points.shift(), self.logs.shift()
        last_100 = points.rolling(100, min_periods=1)
        return pd.DataFrame(
            {
                **{f"median_{n}": points.rolling(n, min_periods=1).median() for n in _MEDIANS},
                "median_all": points.expanding().median(),
                **{f"geometric_{n}": 2 ** logs.rolling(n, min_periods=1).mean() for n in (20, 100)},
                "mean_20": points.rolling(20, min_periods=1).mean(),
                **{f"faded_{h:g}": 2 ** logs.ewm(halflife=h).mean() for h in _HALF_LIVES},
                **{f"last_{n}": self.points.shift(n) for n in (1, 2, 3)},
                "quarter_100": last_100.quantile(0.25),
                "three_quarters_100": last_100.quantile(0.75),
                "highest_100": last_100.max(),
            }
        )

    def _texts_alike(self) -> pd.DataFrame:
        """What issues alike in words got, and how alike they are."""
        points, logs = self.points.to_numpy(), self.logs.to_numpy()
        n = len(points)
        found = np.full((n, 1 + 2 * 3 + 2 * 2), np.nan)
        for start, end in pairwise([*range(WARM_UP, n, CHUNK), n]):
            low = max(0, end - WINDOW)
            found[start:end, 0] = self._regression(start, end)
            for rows, place in ((self.title_rows, 1), (self.text_rows, 4)):
                likeness = (rows[start:end] @ rows[low:end].T).toarray()  # (CHUNK, WINDOW)
                for i in range(start, end):
                    row = likeness[i - start, : i - low]
                    found[i, place : place + 3] = _alike(row, points[low:i], logs[low:i])
                    at = 7 if place == 1 else 9
                    found[i, at : at + 2] = _likeness(row)
        estimates = [f"{of}_{what}" for of in _TEXTS for what in ("median", "mean", "nearest")]
        return pd.DataFrame(found, columns=["regression", *estimates, *_LIKENESS])

    def _regression(self, start: int, end: int) -> Floats:
        """Points of the issues from ``start``, by a ridge regression of log points on words.

        It learns from the issues before ``start``; solved in its dual form, since there are far
        fewer issues than words.
        """
        low = max(0, start - WINDOW)
        rows, logs = self.text_rows[low:start], self.logs.to_numpy()[low:start]
        weight = 0.5 ** (np.arange(start - low)[::-1] / REGRESSION_AGE)
        mean = np.average(logs, weights=weight)
        kernel = (rows @ rows.T).toarray().astype(np.float64)
        kernel[np.diag_indices_from(kernel)] += RIDGE / weight
        dual = cho_solve(cho_factor(kernel, overwrite_a=True), logs - mean)
        found: Floats = 2 ** (mean + self.text_rows[start:end] @ (rows.T @ dual))
        return found

    def _same(self, name: str) -> pd.DataFrame:
        """Of the last issues with the same label: mean, drawn to that of all, and median."""
        if name not in self.issues:
            return pd.DataFrame(np.nan, self.issues.index, [f"{name}_mean", f"{name}_median"])
        labels = self.issues[name].fillna("").astype(str)
        by_label = pd.DataFrame({"points": self.points, "logs": self.logs}).groupby(labels)
        prior = self.logs.shift().rolling(50, min_periods=1).mean()
        total = by_label["logs"].transform(lambda v: v.shift().rolling(40, min_periods=1).sum())
        n = by_label.cumcount().clip(upper=40)
        mean = 2 ** ((total.fillna(0.0) + 5 * prior) / (n + 5))
        median = by_label["points"].transform(
            lambda v: v.shift().rolling(40, min_periods=4).median()  # fewer say little
        )
        found = pd.DataFrame({f"{name}_mean": mean, f"{name}_median": median})
        return found.where(labels != "")

    def _close_by(self) -> pd.DataFrame:
        """Points of the issues with the closest numbers: often written in one go."""
        found = pd.DataFrame(
            np.nan, self.issues.index, ["number_mean", "number_nearest"], dtype=float
        )
        numbers = _numbers(self.issues, "number")
        if numbers is None:
            return found
        points, logs = self.points.to_numpy(), self.logs.to_numpy()
        values = found.to_numpy(copy=True)
        for i in range(WARM_UP, len(numbers)):
            distance = np.abs(numbers[:i] - numbers[i])
            near = np.argpartition(distance, 4)[:5]
            near = near[np.argsort(distance[near], kind="stable")]
            weight = 1 / (1 + distance[near])
            values[i] = 2 ** (weight @ logs[near] / weight.sum()), points[near[0]]
        return pd.DataFrame(values, self.issues.index, found.columns)

    def _plain(self) -> pd.DataFrame:
        issues, logs, points = self.issues, self.logs.shift(), self.points.shift()
        titles = issues["title"].fillna("").astype(str)
        length = issues["description"].fillna("").astype(str).map(plain).str.len()
        days = _numbers(issues, "created_days")
        numbers = _numbers(issues, "number")
        days_column = pd.Series(np.nan if days is None else days, issues.index, dtype=float)
        return pd.DataFrame(
            {
                **{
                    f"n_{name}": issues.groupby(issues[name].fillna("")).cumcount()
                    if name in issues
                    else np.nan
                    for name in ("kind", "component")
                },
                "number_distance": np.nan if numbers is None else _nearest_before(numbers),
                "days_since": days_column.diff(),
                "days_since_5": days_column.diff(5),
                "spread_20": logs.rolling(20, min_periods=2).std(),
                "spread_100": logs.rolling(100, min_periods=2).std(),
                "title_length": titles.str.len(),
                "title_words": titles.str.count(" ") + 1,
                "text_length": length,
                "text_length_ratio": length
                / (1 + length.shift().rolling(100, min_periods=1).median()),
                "n_issues": np.arange(len(issues)),
                "n_values_100": _distinct(points, 100),
            },
            index=issues.index,
        )


def _nearest_before(numbers: Floats) -> list[float]:
    """Distance to the closest earlier number; NaN for the first."""
    seen: list[float] = []
    found = []
    for number in numbers.tolist():
        place = bisect_left(seen, number)
        around = [abs(number - other) for other in seen[max(0, place - 1) : place + 1]]
        found.append(min(around, default=np.nan))
        seen.insert(place, number)
    return found


def _distinct(values: pd.Series, window: int) -> list[int]:
    """How many different values the last ones of each place hold."""
    seen: Counter[float] = Counter()
    found = []
    listed = values.tolist()
    for i, value in enumerate(listed):
        seen[value] += 1
        if i >= window:
            gone = listed[i - window]
            seen[gone] -= 1
            if not seen[gone]:
                del seen[gone]
        found.append(len(seen))
    return found


def _alike(
    likeness: NDArray[np.float32], points: Floats, logs: Floats
) -> tuple[float, float, float]:
    """Median, mean and nearest of the issues most alike; newer ones before older ones."""
    faded = likeness * 0.5 ** (np.arange(len(likeness))[::-1] / TEXT_AGE)
    n = min(15, len(faded))
    best = np.argpartition(-faded, n - 1)[:n]
    best = best[np.argsort(-faded[best], kind="stable")]
    best = best[faded[best] > 0]
    if not len(best):
        return np.nan, np.nan, np.nan
    weight = faded[best].astype(np.float64) ** 2 + 1e-9
    few = best[:5]
    mean = float(2 ** np.average(logs[few], weights=weight[:5]))
    return _weighted_median(points[best], weight), mean, float(points[best[0]])


def _likeness(likeness: NDArray[np.float32]) -> tuple[float, float]:
    """Of the most alike issue, and the mean of the five most alike."""
    few = np.sort(likeness)[-5:]
    return float(few[-1]), float(few.mean())


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def _snapped(learned: Floats, signals: _Signals) -> Floats:
    """The nearest value that the team has used; teams do not give 2.7 points."""
    first = len(signals.history) - len(learned)
    seen = Counter(signals.history[:first].tolist())
    found = np.empty_like(learned)
    for i, value in enumerate(learned):
        scale = np.array(list(seen))
        found[i] = scale[np.abs(scale - value).argmin()]
        seen[float(signals.points[i])] += 1
    return found


def _texts(table: pd.DataFrame) -> list[str]:
    """Titles twice, since they say most in least."""
    titles = table["title"].fillna("").astype(str)
    descriptions = table["description"].fillna("").astype(str)
    return [plain(f"{t} {t} {d}") for t, d in zip(titles, descriptions, strict=True)]


def _column(table: pd.DataFrame, name: str) -> NDArray[np.str_] | None:
    return table[name].fillna("").to_numpy(str) if name in table else None


def _numbers(table: pd.DataFrame, name: str) -> Floats | None:
    return table[name].to_numpy(float) if name in table and table[name].notna().all() else None


def _require(table: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ColumnsMissing(f"The table lacks {', '.join(missing)}.")
    if table.empty:
        raise NothingToLearn("The table has no rows.")
