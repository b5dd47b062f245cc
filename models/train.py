"""Train an assignment model from a journal: whether an agent's attempt at a task gets accepted.

What is learned is what a decision can use: the facts of its record, and whether the chosen
attempt was accepted. Every version comes with a card that compares it with three simple rules on
later decisions. The rows it is judged on begin after the last outcome it learned from was known.
"""

from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import Card, Measure
from models.dataset import History
from models.errors import NothingToLearn
from models.features import FACT_NAMES, assignment_columns, assignment_matrix
from models.registry import Registry, Stored

Floats = NDArray[np.float64]

NAME = "assignment"
KIND = "lightgbm-acceptance"
MIN_ROWS = 50  # judged attempts; fewer teach nothing that a mean would not
JUDGED = 0.25  # newest share of the decisions, on which the card's figures are measured
N_RESAMPLES = 1_000
PARAMETERS = {
    "objective": "binary",
    "num_leaves": 7,
    "learning_rate": 0.05,
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}
N_ROUNDS = 100
FACTS = FACT_NAMES["factors-1"]


class Trained(NamedTuple):
    """A model that is not stored yet."""

    booster: lgb.Booster
    card: Card
    held_out: pd.DataFrame  # judged rows: ``accepted``, and what the model and each rule said


class AssignmentModel(NamedTuple):
    """P(accepted) of candidates, from their facts."""

    booster: lgb.Booster

    def predict(self, facts: NDArray[np.float32], names: tuple[str, ...] = FACTS) -> Floats:
        """Probability that each candidate's attempt will be accepted, (n_candidates,)."""
        X = assignment_matrix(facts, names)
        return np.asarray(self.booster.predict(X, num_threads=1))


def training_rows(history: History) -> pd.DataFrame:
    """Chosen candidates whose attempts were judged, with their facts, oldest decision first.

    Raises
    ------
    NothingToLearn
    """
    columns = [f"fact_{name}" for name in FACTS]
    candidates = history.candidates
    if not set(columns) <= set(candidates.columns):
        raise NothingToLearn("No decision in this history has facts whose names are known.")
    chosen = candidates[candidates["is_chosen"] & candidates["label_accepted"].notna()]
    ended = history.attempts.set_index("position")["label_ended_at_us"]
    rows = chosen.dropna(subset=columns).join(ended, on="position")
    if len(rows) < MIN_ROWS:
        raise NothingToLearn(
            f"{len(rows)} attempts have been judged; {MIN_ROWS} are needed.",
            "Let the rules decide until then, and train again later.",
        )
    return rows.sort_values("at_us", kind="stable", ignore_index=True)


def train_assignment(history: History, *, seed: int = 0) -> Trained:
    """Fit on all judged attempts; the card's figures come from the newest quarter, held out.

    Raises
    ------
    NothingToLearn
    """
    rows = training_rows(history)
    judged = rows.iloc[int(len(rows) * (1 - JUDGED)) :]
    learned = rows[rows["label_ended_at_us"] <= judged["at_us"].iloc[0]]
    if learned["label_accepted"].nunique() < 2:  # noqa: PLR2004 - yes and no
        raise NothingToLearn("All outcomes that are known in time are the same.")
    rules = _rules(learned, judged)
    model = AssignmentModel(_fit(learned, seed)).predict(_facts(judged))
    accepted = judged["label_accepted"].to_numpy(float)
    card = Card(
        name=NAME,
        purpose="Probability that an agent's attempt at a task will be accepted, from the facts of "
        "the decision. For choosing among tasks that an agent may take.",
        trained_from_us=int(rows["at_us"].iloc[0]),
        trained_until_us=int(rows["label_ended_at_us"].max()),
        n_training=len(rows),
        n_censored=int(history.attempts["label_accepted"].isna().sum()),
        n_evaluated=len(judged),
        features=assignment_columns(),
        metric="Brier score",
        model=brier(model, accepted, seed),
        baselines={name: brier(found, accepted, seed) for name, found in rules.items()},
        seed=seed,
        parameters={**PARAMETERS, "n_rounds": N_ROUNDS},
        limits=(
            "Learned from chosen attempts alone: of tasks that an agent never got it knows little.",
            "The figures are of a model fitted before them; the stored one learned from all rows.",
        ),
    )
    held_out = pd.DataFrame({"accepted": accepted, "model": model, **rules})
    return Trained(_fit(rows, seed), card, held_out)


def store(registry: Registry, trained: Trained) -> str:
    """Keep a trained model as a new version, not yet current; return its name."""
    return registry.add(
        NAME,
        KIND,
        state={"facts": list(FACTS), "columns": list(assignment_columns())},
        boosters={"acceptance": trained.booster},
        card=trained.card,
    )


def assignment_model(stored: Stored) -> AssignmentModel:
    """Model of a stored version.

    Raises
    ------
    NothingToLearn
        Its columns are not those of this program: it must be trained again.
    """
    if stored.kind != KIND or stored.state.get("columns") != list(assignment_columns()):
        raise NothingToLearn(
            f"{stored.name} {stored.version} was trained on other columns.", "Train it again."
        )
    return AssignmentModel(stored.boosters["acceptance"])


def brier(predicted: Floats, happened: Floats, seed: int) -> Measure:
    """Mean squared error of probabilities, with a bootstrap interval of 95 %."""
    errors = (predicted - happened) ** 2
    random = np.random.default_rng(seed)
    means = [
        errors[random.integers(0, len(errors), len(errors))].mean() for _ in range(N_RESAMPLES)
    ]
    low, high = np.quantile(means, (0.025, 0.975))
    return Measure(float(errors.mean()), float(low), float(high))


def _rules(learned: pd.DataFrame, judged: pd.DataFrame) -> dict[str, Floats]:
    """Three rules that a model has to beat."""
    accepted = learned["label_accepted"].astype(float)
    share = float((accepted.sum() + 1) / (len(accepted) + 2))
    by_agent = accepted.groupby(learned["agent_id"]).agg(["sum", "size"])
    agents = judged["agent_id"].map((by_agent["sum"] + 4 * share) / (by_agent["size"] + 4))
    return {
        "share of all": np.full(len(judged), share),
        "share of the agent": agents.fillna(share).to_numpy(float),
        "track record": judged["fact_success"].to_numpy(float),
    }


def _fit(rows: pd.DataFrame, seed: int) -> lgb.Booster:
    data = lgb.Dataset(
        assignment_matrix(_facts(rows), FACTS),
        rows["label_accepted"].to_numpy(int),
        feature_name=list(assignment_columns()),
    )
    return lgb.train({**PARAMETERS, "seed": seed}, data, N_ROUNDS)


def _facts(rows: pd.DataFrame) -> NDArray[np.float32]:
    return np.asarray(rows[[f"fact_{name}" for name in FACTS]], dtype=np.float32)
