"""Who should do it: rank agents for an item by what each did how lately, and learn at once.

In the triage data two thirds of what can be known is in counts that follow every outcome; a model
frozen at its training loses half of its right answers (new agents, moved teams). So the counts go
on learning, item by item, and LightGBM only weighs them. Its trees are refitted rarely, if ever.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import ColumnsMissing, NothingToLearn
from models.features import DecayedCounts

HORIZONS = (3.0, 10.0, 30.0, 120.0, 600.0)  # outcomes; one is a burst, the last a year's work
FADING = 0.9  # of a transition's count, with each new one from the same place
MAX_OUTSIDERS = 12  # candidates from the project who never did this kind, and as many again
N_LATEST = 4  # last agents of the kind, told apart
ITEM_COLUMNS = ("number", "project", "kind")
OUTCOME_COLUMNS = ("agent", "passed")

_CONTEXTS = ("kind", "project", "all")
FEATURES = (
    *(f"{context}_{h:g}" for context in _CONTEXTS for h in HORIZONS),
    *(f"{context}_passed_on" for context in _CONTEXTS),
    *(f"kind_share_{h:g}" for h in HORIZONS),  # of the kind's outcomes
    *(f"focus_{h:g}" for h in HORIZONS),  # share of the kind in what the agent does
    *(f"rank_{h:g}" for h in HORIZONS[1:4]),  # among the candidates, 0 is the highest
    "kind_trend",
    "all_trend",
    "kind_events_since",  # outcomes of the kind since the agent's last
    *(f"{context}_items_since" for context in _CONTEXTS),  # items of any kind
    "kind_number_gap",  # numbers of items rise with the clock, so gaps tell time
    "all_number_gap",
    "all_number_gap_2",
    "kind_total",
    "all_total",
    "total_share",
    "did_kind_last",  # the agent's last item was of this kind
    "did_project_last",
    *(f"was_latest_{i}" for i in range(1, N_LATEST + 1)),
    "follows_latest",  # how often the agent came after the kind's last agent
    "follows_latest_share",
    "follows_two",  # after its last two
    "follows_project",  # in this kind, after the project's last agent
    "follows_all",  # in this kind, after the last agent of all
    "tenure_items",
    "density",  # outcomes an item since the agent's first
    "among_last_5",
    "among_last_30",
    "is_outsider",
    # The same for all candidates of an item; trees use them beside the others.
    "n_kind_events",
    "n_candidates",
    "concentration",
    "item_number_gap",
    "items_since_kind",
)


class Item(NamedTuple):
    """What is known of an item when someone is to be found for it."""

    number: float  # rises with the instant of creation
    project: str
    kind: str


class Candidates(NamedTuple):
    """Who may be asked for one item."""

    agents: NDArray[np.intp]  # (n_candidates,), numbers of agents
    features: NDArray[np.float32]  # (n_candidates, n_features), columns as in `FEATURES`


class OnlineHistory:
    """All that the ranker knows of the past; one `learn` an outcome."""

    def __init__(self) -> None:
        self.agents: list[str] = []
        self._agent_numbers: dict[str, int] = {}
        self._kinds: dict[tuple[str, ...], int] = {}
        self._by = [DecayedCounts(HORIZONS) for _ in _CONTEXTS]
        self._n_items = 0
        self._latest: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=N_LATEST))
        self._latest_all: deque[int] = deque(maxlen=30)
        self._follows: dict[tuple[int, ...], dict[int, float]] = {}
        self._last_seen: dict[int, tuple[int, float]] = {}  # kind → item, its number
        self._last_of: dict[int, tuple[int, int]] = {}  # agent → its last kind and project

    def learn(self, item: Item, agent: str, passed: Sequence[str] = ()) -> None:
        """Take in who did an item, and who had it before without doing it."""
        kind, project = self._keys(item)
        who = self._number_of(agent)
        others = [self._number_of(name) for name in passed]
        for place in self._places(kind, project):
            follows = self._follows.setdefault(place, {})
            for other in follows:
                follows[other] *= FADING
            follows[who] = follows.get(who, 0.0) + 1.0
        for counts, key in zip(self._by, (kind, project, 0), strict=True):
            counts.learn(key, who, self._n_items, item.number, others)
        self._latest[kind].appendleft(who)
        self._latest[project].appendleft(who)
        self._latest_all.appendleft(who)
        self._last_seen[kind] = self._n_items, item.number
        self._last_of[who] = kind, project
        self._n_items += 1

    def candidates(self, item: Item) -> Candidates:
        """Agents with a past in the item's kind or project, with their features."""
        kind, project = self._keys(item)
        of_kind, of_project, of_all = self._by
        rows = _most_active(of_kind, kind)
        insiders: list[int] = of_kind.agent[rows].tolist()
        agents = [*insiders, *self._outsiders(project, set(insiders))]
        n, n_in = len(agents), len(insiders)
        rows = np.concatenate([rows, np.full(n - n_in, -1, dtype=np.intp)])
        numbers = np.array(agents, dtype=np.intp)
        X = np.zeros((n, len(FEATURES)), dtype=np.float32)
        if not n:
            return Candidates(numbers, X)
        project_rows, all_rows = of_project.rows(project, agents), of_all.rows(0, agents)
        by_kind = of_kind.counts(kind, rows)
        by_project = of_project.counts(project, project_rows)
        by_all = of_all.counts(0, all_rows)
        now, nan = self._n_items, np.nan
        seen_item, seen_number = self._last_seen.get(kind, (nan, nan))
        kind_total = np.nan_to_num(of_kind.at(of_kind.total, rows))
        all_total = np.nan_to_num(of_all.at(of_all.total, all_rows))
        tenure = now - of_all.at(of_all.first_item, all_rows)
        last_of = [self._last_of.get(agent, (-1, -1)) for agent in agents]
        follows = self._followers(kind, project, agents)
        shares = by_kind / np.maximum(by_kind.sum(axis=0), 1e-9)
        last = list(self._latest_all)
        last_5, last_30 = Counter(last[:5]), Counter(last)
        blocks = [
            by_kind,
            by_project,
            by_all,
            of_kind.passing(kind, rows),
            of_project.passing(project, project_rows),
            of_all.passing(0, all_rows),
            shares,
            by_kind / np.maximum(by_all, 1e-9),
            *(_ranks(by_kind[:, i] + 1e-6 * by_project[:, i]) for i in (1, 2, 3)),
            by_kind[:, 0] / np.maximum(by_kind[:, 3], 1e-6),
            by_all[:, 0] / np.maximum(by_all[:, 3], 1e-6),
            of_kind.events_since(kind, rows),
            now - of_kind.at(of_kind.last_item, rows),
            now - of_project.at(of_project.last_item, project_rows),
            now - of_all.at(of_all.last_item, all_rows),
            item.number - of_kind.at(of_kind.last_number, rows),
            item.number - of_all.at(of_all.last_number, all_rows),
            item.number - of_all.at(of_all.number_before, all_rows),
            kind_total,
            all_total,
            kind_total / np.maximum(all_total, 1.0),
            [last_kind == kind for last_kind, _ in last_of],
            [last_project == project for _, last_project in last_of],
            *self._was_latest(kind, numbers),
            *follows,
            tenure,
            np.log1p(all_total) / np.log1p(np.maximum(tenure, 1.0)),
            [last_5[agent] for agent in agents],
            [last_30[agent] for agent in agents],
            np.arange(n) >= n_in,
        ]
        shared = (
            of_kind.n_events.get(kind, 0),
            n_in,
            float((shares[:, 2] ** 2).sum()),
            item.number - seen_number,
            now - seen_item,
        )
        at = 0
        for block in blocks:
            values = np.asarray(block, dtype=np.float32).reshape(n, -1)
            X[:, at : at + values.shape[1]] = values
            at += values.shape[1]
        X[:, at:] = shared
        assert at + len(shared) == len(FEATURES), (at, len(shared))
        return Candidates(numbers, X)

    def number(self, agent: str) -> int:
        """Number of an agent; -1 for one never heard of."""
        return self._agent_numbers.get(agent, -1)

    def _number_of(self, agent: str) -> int:
        found = self._agent_numbers.get(agent)
        if found is None:
            found = self._agent_numbers[agent] = len(self.agents)
            self.agents.append(agent)
        return found

    def _keys(self, item: Item) -> tuple[int, int]:
        kinds = self._kinds
        kind = kinds.setdefault((item.project, item.kind), len(kinds))
        return kind, kinds.setdefault((item.project,), len(kinds))

    def _places(self, kind: int, project: int) -> Iterator[tuple[int, ...]]:
        """Where an outcome of this kind comes next: after whom."""
        latest = self._latest[kind]
        if latest:
            yield kind, latest[0]
        if len(latest) > 1:
            yield kind, latest[0], latest[1]
        if self._latest[project]:
            yield kind, -1, self._latest[project][0]
        if self._latest_all:
            yield kind, -2, self._latest_all[0]

    def _followers(self, kind: int, project: int, agents: list[int]) -> list[list[float]]:
        latest = self._latest[kind]
        one = self._follows.get((kind, latest[0]), {}) if latest else {}
        two = self._follows.get((kind, latest[0], latest[1]), {}) if len(latest) > 1 else {}
        near, last = self._latest[project], self._latest_all
        after_project = self._follows.get((kind, -1, near[0]), {}) if near else {}
        after_all = self._follows.get((kind, -2, last[0]), {}) if last else {}
        total = sum(one.values()) + 1.0
        columns = [[found.get(agent, 0.0) for agent in agents] for found in (one, two)]
        columns.insert(1, [value / total for value in columns[0]])
        return [
            *columns,
            [after_project.get(agent, 0.0) for agent in agents],
            [after_all.get(agent, 0.0) for agent in agents],
        ]

    def _was_latest(self, kind: int, numbers: NDArray[np.intp]) -> list[NDArray[np.bool_]]:
        latest = [*self._latest[kind], *[-1] * N_LATEST]
        return [numbers == latest[i] for i in range(N_LATEST)]

    def _outsiders(self, project: int, insiders: set[int]) -> list[int]:
        """Agents from the neighbourhood who never did this kind, most active first."""
        counts = self._by[1]
        rows = counts.members(project)
        active = counts.counts(project, rows)[:, 2]
        found = counts.agent[rows[(-active).argsort(kind="stable")[:MAX_OUTSIDERS]]].tolist()
        latest = list(self._latest_all)[: MAX_OUTSIDERS // 2]
        return [agent for agent in dict.fromkeys([*found, *latest]) if agent not in insiders]


def _most_active(counts: DecayedCounts, key: int) -> NDArray[np.intp]:
    """Rows of a key's agents; of many only those who lead in one of the counts."""
    rows = counts.members(key)
    if len(rows) <= 40:  # noqa: PLR2004 - as many as the shortlists below let through
        return rows
    faded, passing = counts.counts(key, rows), counts.passing(key, rows)
    leading = [
        np.argpartition(-column, size)[:size]
        for column, size in (
            (faded[:, 1], 15),
            (faded[:, 3], 25),
            (faded[:, 4], 20),
            (passing, 8),
        )
    ]
    found: NDArray[np.intp] = rows[np.unique(np.concatenate(leading))]
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    ranks = np.empty(len(values), dtype=np.intp)
    ranks[(-values).argsort(kind="stable")] = np.arange(len(values))
    return ranks


class Ranking(NamedTuple):
    """The best agents for each item of a table, asked for before its outcome was learned."""

    agents: list[list[str]]  # best first, at most ``top``
    hits: NDArray[np.intp]  # (n_items,), place of the agent who did it; -1 beyond ``top``
    plain_hits: NDArray[np.intp]  # the same when decayed counts alone rank

    def top(self, k: int) -> float:
        """Share of items whose agent was among the first ``k``."""
        return float(((self.hits >= 0) & (self.hits < k)).mean())

    def plain_top(self, k: int) -> float:
        """The same share for decayed counts alone."""
        return float(((self.plain_hits >= 0) & (self.plain_hits < k)).mean())


class AssigneeRanker:
    """Ranks agents for items by online counts that LightGBM weighs.

    Parameters
    ----------
    n_training : int
        Newest items of the history from which the trees learn; all of it feeds the counts.
    n_rounds : int
        Trees.
    num_leaves, learning_rate
        As in LightGBM.
    num_threads : int
        For LightGBM.
    seed : int
        Of LightGBM's sampling.

    Attributes
    ----------
    booster_ : lightgbm.Booster or None
        None when there was too little to learn from; then the decayed counts alone rank.
    history_ : OnlineHistory

    Notes
    -----
    Tables have columns ``number`` (float, rises with creation), ``project``, ``kind``, ``agent``
    (who did it) and ``passed`` (names of who had it before, separated by spaces), a row an item in
    the order in which they came.
    """

    MIN_ITEMS = 300

    def __init__(
        self,
        *,
        n_training: int = 60_000,
        n_rounds: int = 250,
        num_leaves: int = 31,
        learning_rate: float = 0.07,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.n_training = n_training
        self.n_rounds = n_rounds
        self.num_leaves = num_leaves
        self.learning_rate = learning_rate
        self.num_threads = num_threads
        self.seed = seed
        self.booster_: lgb.Booster | None = None
        self.history_ = OnlineHistory()

    def fit(self, table: pd.DataFrame) -> Self:
        """Learn from a history.

        Raises
        ------
        ColumnsMissing, NothingToLearn
        """
        _require(table)
        self.history_ = OnlineHistory()
        self.booster_ = None
        start = max(len(table) // 3, len(table) - self.n_training)
        found: list[Candidates] = []
        chosen: list[NDArray[np.bool_]] = []
        for i, (item, agent, passed) in enumerate(_items(table)):
            if i >= start:
                candidates = self.history_.candidates(item)
                is_chosen = candidates.agents == self.history_.number(agent)
                if is_chosen.any():
                    found.append(candidates)
                    chosen.append(is_chosen)
            self.history_.learn(item, agent, passed)
        if len(found) >= self.MIN_ITEMS:
            self.booster_ = self._train(found, chosen)
        return self

    def warm_up(self, table: pd.DataFrame) -> Self:
        """Feed the counts alone, as after loading a stored model."""
        _require(table)
        for item, agent, passed in _items(table):
            self.history_.learn(item, agent, passed)
        return self

    def learn(self, item: Item, agent: str, passed: Sequence[str] = ()) -> None:
        """Take in one outcome."""
        self.history_.learn(item, agent, passed)

    def rank(self, item: Item, top: int = 5) -> list[tuple[str, float]]:
        """Agents for one item with their scores, best first."""
        candidates = self.history_.candidates(item)
        if not len(candidates.agents):
            return []
        scores = self._scores(candidates.features)
        order = (-scores).argsort(kind="stable")[:top]
        return [(self.history_.agents[candidates.agents[i]], float(scores[i])) for i in order]

    def walk(self, table: pd.DataFrame, top: int = 5) -> Ranking:
        """Rank for each item, then learn its outcome, in the order of the table.

        Features of an item are computed before its outcome is learned. Scores do not change what
        is learned, so they are computed in large batches.
        """
        _require(table)
        ranked: list[list[str]] = []
        hits: list[int] = []
        plain_hits: list[int] = []
        rows = list(_items(table))
        for start in range(0, len(rows), 2_000):
            batch = rows[start : start + 2_000]
            found = []
            for item, agent, passed in batch:
                found.append(self.history_.candidates(item))
                self.history_.learn(item, agent, passed)
            features = np.concatenate([c.features for c in found])
            ends = np.cumsum([len(c.agents) for c in found])[:-1]
            for candidates, learned, plain, (_, agent, _) in zip(
                found,
                np.split(self._scores(features), ends),
                np.split(baseline_scores(features), ends),
                batch,
                strict=True,
            ):
                names, hit = self._best(candidates, learned, agent, top)
                ranked.append(names)
                hits.append(hit)
                plain_hits.append(self._best(candidates, plain, agent, top)[1])
        return Ranking(ranked, np.array(hits, dtype=np.intp), np.array(plain_hits, dtype=np.intp))

    def _best(
        self, candidates: Candidates, scores: NDArray[np.float64], agent: str, top: int
    ) -> tuple[list[str], int]:
        """The first ones, and the place of ``agent`` among them; -1 if it is not there."""
        best = candidates.agents[(-scores).argsort(kind="stable")[:top]]
        names = [self.history_.agents[i] for i in best]
        return names, names.index(agent) if agent in names else -1

    def _scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.booster_ is None:
            return baseline_scores(features)
        return np.asarray(self.booster_.predict(features, num_threads=self.num_threads))

    def _train(self, found: list[Candidates], chosen: list[NDArray[np.bool_]]) -> lgb.Booster:
        sizes = np.array([len(c.agents) for c in found])
        data = lgb.Dataset(
            np.concatenate([c.features for c in found]),
            np.concatenate(chosen).astype(np.int8),
            feature_name=list(FEATURES),
            params={"max_bin": 127},
            free_raw_data=True,
        )
        parameters = {
            "objective": ListwiseSoftmax(np.concatenate(chosen), sizes),
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": 200,
            "feature_fraction": 0.5,
            "num_threads": self.num_threads,
            "deterministic": True,
            "seed": self.seed,
            "verbose": -1,
        }
        return lgb.train(parameters, data, self.n_rounds)


class ListwiseSoftmax:
    """LightGBM objective: cross-entropy of a softmax over the candidates of each item.

    It asks for the right agent on top, and not only above others on average: on a fifth of the
    Eclipse items it gave more right first answers than lambdarank did with the same features.

    References
    ----------
    Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007 (top
    one probability).
    """

    def __init__(self, is_chosen: NDArray[np.bool_], sizes: NDArray[np.intp]) -> None:
        self.is_chosen = is_chosen
        self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.item = np.repeat(np.arange(len(sizes)), sizes)

    def __call__(
        self, scores: NDArray[np.float64], _: lgb.Dataset
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gradient and the diagonal of the Hessian, each (n_rows,)."""
        highest = np.maximum.reduceat(scores, self.starts)
        weights = np.exp(scores - highest[self.item])
        p = weights / np.add.reduceat(weights, self.starts)[self.item]
        return p - self.is_chosen, np.maximum(p * (1.0 - p), 1e-3)


def baseline_scores(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Who did this kind most in its last ten or so outcomes; ties by what was done before."""
    column = FEATURES.index("kind_10")
    wider = features[:, [FEATURES.index("kind_120"), FEATURES.index("project_30")]]
    found: NDArray[np.float64] = features[:, column] + wider @ np.array([1e-3, 1e-6])
    return found


def _require(table: pd.DataFrame) -> None:
    missing = [c for c in (*ITEM_COLUMNS, *OUTCOME_COLUMNS) if c not in table.columns]
    if missing:
        raise ColumnsMissing(f"The table lacks {', '.join(missing)}.")
    if table.empty:
        raise NothingToLearn("The table has no rows.")


def _items(table: pd.DataFrame) -> Iterator[tuple[Item, str, list[str]]]:
    columns = (table[c].tolist() for c in (*ITEM_COLUMNS, *OUTCOME_COLUMNS))
    for number, project, kind, agent, passed in zip(*columns, strict=True):
        yield Item(float(number), project, kind), agent, passed.split()
