"""From facts to matrices: the same functions in training and in scoring.

Two kinds of features; facts of a decision are read by `models.grid`. *Online counts* say who did
what how recently; they are kept while outcomes come in, so what they say of an item was known
before it (`DecayedCounts`). *Texts* become sparse TF-IDF rows over hashed words, weighted by what
was known when the vectorizer was fitted (`TextVectorizer`).

Nothing here reads a journal or knows a model.
"""

import re
from collections.abc import Sequence
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer


class DecayedCounts:
    """How often and how lately each agent did each kind of thing: counts that fade.

    A count fades with the *key's* own events: after ``horizon`` of them it is worth 1/e. So a
    quiet kind of task remembers as many outcomes as a busy one. Decay is applied when a count is
    read or changed; learning one outcome costs the same however much is known.

    Parameters
    ----------
    horizons : sequence of float
        Events after which a count has faded to 1/e; one column each.

    Attributes
    ----------
    n_events : dict
        Outcomes learned, by key.
    """

    def __init__(self, horizons: Sequence[float], passing_horizon: float = 50.0) -> None:
        self.horizons = np.asarray(horizons, dtype=np.float64)
        self.passing_horizon = passing_horizon
        self.n_events: dict[int, int] = {}
        self._row: dict[tuple[int, int], int] = {}
        self._members: dict[int, list[int]] = {}
        self._arrays: dict[int, NDArray[np.intp]] = {}  # of `_members`, until they grow
        self._reserve(1024)

    def _reserve(self, n: int) -> None:
        old = getattr(self, "agent", np.empty(0, np.intp)).size

        def grown(name: str, fill: float, *shape: int) -> NDArray[np.float64]:
            new = np.full((n, *shape), fill)
            if old:
                new[:old] = getattr(self, name)
            return new

        self._counts = grown("_counts", 0.0, len(self.horizons))
        self._passing = grown("_passing", 0.0)
        self._counted_at = grown("_counted_at", 0.0)  # in events of the key
        self._passed_at = grown("_passed_at", 0.0)
        self.total = grown("total", 0.0)
        self.first_item = grown("first_item", np.nan)  # place in the stream of all items
        self.last_item = grown("last_item", np.nan)
        self.last_number = grown("last_number", np.nan)  # the item's own number, see `learn`
        self.number_before = grown("number_before", np.nan)
        self.agent = grown("agent", 0).astype(np.intp)

    def _row_of(self, key: int, agent: int) -> int:
        row = self._row.get((key, agent))
        if row is None:
            row = self._row[key, agent] = len(self._row)
            if row == self.agent.size:
                self._reserve(2 * row)
            self.agent[row] = agent
            self._counted_at[row] = self._passed_at[row] = self.n_events.get(key, 0)
            self._members.setdefault(key, []).append(row)
            self._arrays.pop(key, None)
        return row

    def learn(self, key: int, agent: int, item: int, number: float, passed: Sequence[int]) -> None:
        """Count one outcome.

        Parameters
        ----------
        key, agent
            What was done, and by whom.
        item
            Place in the stream of all items.
        number
            The item's own number, which rises with the instant of its creation.
        passed
            Agents who had it before and did not do it.
        """
        n = self.n_events[key] = self.n_events.get(key, 0) + 1
        row = self._row_of(key, agent)
        self._counts[row] *= np.exp((self._counted_at[row] - n) / self.horizons)
        self._counts[row] += 1.0
        self._counted_at[row] = n
        self.number_before[row], self.last_number[row] = self.last_number[row], number
        self.last_item[row] = item
        self.total[row] += 1.0
        if np.isnan(self.first_item[row]):
            self.first_item[row] = item
        for other in passed:
            row = self._row_of(key, other)
            fade = np.exp((self._passed_at[row] - n) / self.passing_horizon)
            self._passing[row] = self._passing[row] * fade + 1.0
            self._passed_at[row] = n

    def members(self, key: int) -> NDArray[np.intp]:
        """Rows of all agents known for a key, oldest first."""
        rows = self._arrays.get(key)
        if rows is None:
            rows = self._arrays[key] = np.array(self._members.get(key, ()), dtype=np.intp)
        return rows

    def rows(self, key: int, agents: Sequence[int]) -> NDArray[np.intp]:
        """Rows of some agents, -1 where there is none."""
        get = self._row.get
        return np.array([get((key, agent), -1) for agent in agents], dtype=np.intp)

    def counts(self, key: int, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Faded counts of outcomes, (n_rows, n_horizons); 0 for row -1."""
        # Row -1 is some other key's, whose events say nothing here: the minimum keeps it finite.
        behind = np.minimum(self._counted_at[rows] - self.n_events.get(key, 0), 0)
        faded = self._counts[rows] * np.exp(behind[:, None] / self.horizons)
        faded[rows < 0] = 0.0
        return faded

    def passing(self, key: int, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Faded counts of having passed an item on, (n_rows,); 0 for row -1."""
        behind = np.minimum(self._passed_at[rows] - self.n_events.get(key, 0), 0)
        faded = self._passing[rows] * np.exp(behind / self.passing_horizon)
        faded[rows < 0] = 0.0
        return faded

    def events_since(self, key: int, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Events of the key since the agent's last one, (n_rows,); NaN where it had none."""
        since = self.n_events.get(key, 0) - self._counted_at[rows]
        since[(rows < 0) | np.isnan(self.last_item[rows])] = np.nan
        return since

    def at(self, column: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Values of one of the public columns, (n_rows,); NaN for row -1."""
        found = column[rows]
        found[rows < 0] = np.nan
        return found


_MARKUP = re.compile(r"\{[^{}]*\}|<[^<>]*>|https?://\S+")
MAX_TEXT = 3_000  # characters: what a task asks for stands at its beginning


def plain(text: str) -> str:
    """Text without markup and addresses, cut at 3,000 characters."""
    return _MARKUP.sub(" ", text[: 2 * MAX_TEXT])[:MAX_TEXT]


class TextVectorizer:
    """Texts as TF-IDF rows over hashed words and pairs of words.

    Hashing needs no vocabulary, so a word of tomorrow has its column today; the inverse document
    frequencies are those of the texts given to `fit`.

    Parameters
    ----------
    n_columns : int
        Size of the hash table.
    """

    def __init__(self, n_columns: int = 2**16) -> None:
        self.n_columns = n_columns
        self._hashing = HashingVectorizer(
            n_features=n_columns,
            ngram_range=(1, 2),
            stop_words="english",
            alternate_sign=False,
            norm=None,
            dtype=np.float32,
        )
        self._tfidf = TfidfTransformer(sublinear_tf=True)

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn how common each word is."""
        self._tfidf.fit(self._hashing.transform(texts))
        return self

    def transform(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Rows of length 1, so that a product of two is their cosine similarity."""
        return self._tfidf.transform(self._hashing.transform(texts))
