"""Train an assignment model from a journal: is an attempt accepted, how long, for how much.

What is learned is what a decision can use: the facts about the chosen candidate, and what became of
the attempt. Every version comes with a card that compares it with simple rules, and with the
version that is current, on later decisions: time goes on fold by fold, and a fold's model has
learned only from outcomes that were known when the fold began.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from models.calibration import SurvivalQuantiles
from models.card import Card, Measure
from models.errors import NothingToLearn
from models.evaluate import paired_bootstrap
from models.forecast import KIND, LEVELS, Amount, ForecastModel
from models.grid import FORECAST_FACTS, GRID, Prior, grid_codes, grid_values
from models.history import History
from models.registry import Registry
from models.tobit import Boosted, fit_boosted
from pm_agent.domain.time import MINUTE_US

Floats = NDArray[np.float64]
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

NAME = "assignment"
MIN_ROWS = 50  # judged attempts; fewer teach nothing that a mean would not
JUDGED = 0.5  # newest share of the decisions, on which the card's figures are measured
FOLDS = 4  # in which they are judged, each by a model of its own
ERROR_FOLDS = 2  # in which errors of amounts are held out
N_RESAMPLES = 1_000
SAMPLED = 1_000  # rows kept with a version
SHORTEST_MIN = 1 / 60  # work that took no time took a second
PARAMETERS: dict[str, Any] = {
    "num_leaves": 7,
    "learning_rate": 0.05,
    "feature_pre_filter": False,  # else a column that never varies enough is an error
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
N_ROUNDS = 100
MIN_LEAF = 20  # rows, or a fifth of all
# What nobody doubts, so that few rows are read sensibly: who succeeded succeeds, what is said to be
# hard or long is, and what has failed fails.
ACCEPTANCE_RISES = {"ability": 1, "kind_ease": 1, "estimate": -1, "level": -1, "failures": -1}


class Trained(NamedTuple):
    """A model that is not stored yet."""

    model: ForecastModel
    card: Card
    held_out: pd.DataFrame  # judged rows: ``accepted``, and what the model and each rule said


class Fold(NamedTuple):
    """Rows to learn from, and the later ones on which that is judged."""

    learned: pd.DataFrame
    judged: pd.DataFrame
    seed: int


def chosen_rows(history: History) -> pd.DataFrame:
    """Chosen candidates with their facts and what became of their attempts, oldest first.

    Raises
    ------
    NothingToLearn
    """
    columns = [f"fact_{name}" for name in FORECAST_FACTS]
    if not set(columns) <= set(history.candidates.columns):
        raise NothingToLearn("No decision in this history has facts whose names are known.")
    chosen = history.candidates[history.candidates["is_chosen"]].dropna(subset=columns)
    labels = [c for c in history.attempts.columns if str(c).startswith("label_")]
    labels.remove("label_accepted")
    rows = chosen.join(history.attempts.set_index("position")[labels], on="position")
    return rows.sort_values("at_us", kind="stable", ignore_index=True)


def training_rows(history: History) -> pd.DataFrame:
    """As `chosen_rows`, those whose attempts were judged.

    Raises
    ------
    NothingToLearn
    """
    rows = chosen_rows(history)
    judged = rows[rows["label_accepted"].notna()].reset_index(drop=True)
    if len(judged) < MIN_ROWS:
        raise NothingToLearn(
            f"{len(judged)} attempts have been judged; {MIN_ROWS} are needed.",
            "Let the rules decide until then, and train again later.",
        )
    if judged["label_accepted"].nunique() < 2:  # noqa: PLR2004 - yes and no
        raise NothingToLearn(
            "All attempts ended the same way.", "Let the rules decide: any model would say that."
        )
    return judged


def train_assignment(
    history: History,
    *,
    seed: int = 0,
    champion: ForecastModel | None = None,
    run_folds: Map = map,
) -> Trained:
    """Fit on all attempts; the card's figures come from the newer half, fold by fold.

    Parameters
    ----------
    champion
        The current model, to be beaten as well.
    run_folds
        ``map``, or what does the same in several processes.

    Raises
    ------
    NothingToLearn
    """
    rows, judged_rows = chosen_rows(history), training_rows(history)
    found = [fold for fold in run_folds(judge, folds(rows, judged_rows, seed)) if len(fold)]
    if not found:
        raise NothingToLearn("All outcomes that are known in time are the same.")
    held_out = pd.concat(found, ignore_index=True)
    accepted = held_out["accepted"].to_numpy(float)
    said = {name: held_out[name].to_numpy(float) for name in RULES}
    if champion is not None:
        later = judged_rows.iloc[len(judged_rows) - len(held_out) :]
        said["current version"] = champion.predict(grid_codes(facts_of(later), champion.prior))[
            :, 0
        ]
    model = held_out["model"].to_numpy(float)
    loss = (model - accepted) ** 2
    tasks = held_out["task_id"].to_numpy()
    card = Card(
        name=NAME,
        purpose="How an agent's attempt at a task will go: probability that it is accepted, minutes"
        " of work, dollars. For choosing among tasks that an agent may take.",
        trained_from_us=int(rows["at_us"].iloc[0]),
        trained_until_us=int(rows["label_ended_at_us"].max()),
        n_training=len(judged_rows),
        n_censored=int(rows["label_is_censored"].sum()),
        n_evaluated=len(held_out),
        features=tuple(GRID),
        metric="Brier score of P(accepted)",
        model=brier(model, accepted, seed),
        baselines={name: brier(one, accepted, seed) for name, one in said.items()},
        gains={
            name: Measure(*paired_bootstrap((one - accepted) ** 2, loss, groups=tasks, seed=seed))
            for name, one in said.items()
        },
        other=_of_minutes(held_out, seed),
        seed=seed,
        parameters={**PARAMETERS, "n_rounds": N_ROUNDS, "rises": ACCEPTANCE_RISES},
        limits=(
            "Learned from chosen attempts alone: of tasks that an agent never got it knows little.",
            "The figures are of models fitted before them; the stored one learned from all rows.",
            "A current version may know rows on which both are judged: it is then hard to beat.",
        ),
    )
    return Trained(fit(rows, seed), card, held_out)


def store(registry: Registry, trained: Trained) -> str:
    """Keep a trained model as a new version, not yet current; return its name."""
    return registry.add(
        NAME,
        KIND,
        state=trained.model.state(),
        boosters=trained.model.boosters(),
        card=trained.card,
    )


def folds(rows: pd.DataFrame, judged: pd.DataFrame, seed: int) -> Iterator[Fold]:
    """Blocks of the newer half, each with all rows whose outcome was known when it began."""
    edges = np.linspace(len(judged) * (1 - JUDGED), len(judged), FOLDS + 1).astype(int)
    for start, stop in pairwise(edges):
        block = judged.iloc[start:stop]
        if len(block):
            known = rows["label_ended_at_us"] <= block["at_us"].iloc[0]
            yield Fold(rows[known & rows["label_accepted"].notna()], block, seed)


def judge(fold: Fold) -> pd.DataFrame:
    """What a model and each rule say of a fold's rows, beside what became of them.

    Empty when all outcomes known in time are the same.
    """
    learned, judged, seed = fold
    if learned["label_accepted"].nunique() < 2:  # noqa: PLR2004 - yes and no
        return pd.DataFrame()
    model = fit(learned, seed)
    codes = grid_codes(facts_of(judged), model.prior)
    minutes = model.minutes.quantiles(grid_values(codes))
    ended = learned[~learned["label_is_censored"].astype(bool)]
    return pd.DataFrame(
        {
            "task_id": judged["task_id"].to_numpy(),
            "accepted": judged["label_accepted"].to_numpy(float),
            "model": model.predict(codes)[:, 0],
            **_rules(learned, judged),
            "minutes": judged["label_duration_min"].to_numpy(float),
            "is_censored": judged["label_is_censored"].to_numpy(bool),
            "minutes_p10": minutes[:, 0],
            "minutes_p50": minutes[:, 1],
            "minutes_p90": minutes[:, 2],
            "minutes_median": float(ended["label_duration_min"].median()),
        }
    )


def fit(rows: pd.DataFrame, seed: int) -> ForecastModel:
    """Fit all three models on chosen candidates; those not judged tell of minutes alone."""
    is_judged = rows["label_accepted"].notna().to_numpy()
    accepted = rows["label_accepted"].fillna(value=False).to_numpy(bool)
    prior = _prior(rows, accepted, int(is_judged.sum()))
    values = grid_values(grid_codes(facts_of(rows), prior))
    is_censored = rows["label_is_censored"].to_numpy(bool)
    minutes = np.maximum(rows["label_duration_min"].to_numpy(float), SHORTEST_MIN)
    cost = rows["label_cost_usd"].to_numpy(float)
    paid = cost > 0
    return ForecastModel(
        acceptance=_acceptance(values[is_judged], accepted[is_judged], seed),
        minutes=_amount(values, minutes, is_censored, seed),
        cost_usd=_amount(values[paid], cost[paid], is_censored[paid], seed)
        if (paid & ~is_censored).sum() >= MIN_ROWS
        else None,
        prior=prior,
        sample=values[-SAMPLED:],
    )


def facts_of(rows: pd.DataFrame) -> NDArray[np.float32]:
    """Facts of rows of the table of candidates, (n_rows, n_facts)."""
    return np.asarray(rows[[f"fact_{name}" for name in FORECAST_FACTS]], dtype=np.float32)


def brier(predicted: Floats, happened: Floats, seed: int) -> Measure:
    """Mean squared error of probabilities, with a bootstrap interval of 95 %."""
    return _mean((predicted - happened) ** 2, seed)


def _mean(values: Floats, seed: int) -> Measure:
    random = np.random.default_rng(seed)
    means = [
        values[random.integers(0, len(values), len(values))].mean() for _ in range(N_RESAMPLES)
    ]
    low, high = np.quantile(means, (0.025, 0.975))
    return Measure(float(values.mean()), float(low), float(high))


def _of_minutes(held_out: pd.DataFrame, seed: int) -> dict[str, Measure]:
    """How good the minutes are, on work that was handed in."""
    seen = held_out[~held_out["is_censored"]]
    if seen.empty:
        return {}
    took = np.maximum(seen["minutes"].to_numpy(float), SHORTEST_MIN)
    inside = (seen["minutes_p10"] <= took) & (took <= seen["minutes_p90"])
    error = "minutes, mean absolute log2 ratio"
    return {
        error: _mean(np.abs(np.log2(seen["minutes_p50"].to_numpy(float) / took)), seed),
        f"{error} of the median": _mean(
            np.abs(np.log2(seen["minutes_median"].to_numpy(float) / took)), seed
        ),
        "minutes, share inside 80 % intervals": _mean(inside.to_numpy(float), seed),
    }


RULES = ("share of all", "share of the agent", "track record")


def _rules(learned: pd.DataFrame, judged: pd.DataFrame) -> dict[str, Floats]:
    """Three rules that a model has to beat."""
    accepted = learned["label_accepted"].astype(float)
    share = float((accepted.sum() + 1) / (len(accepted) + 2))
    by_agent = accepted.groupby(learned["agent_id"]).agg(["sum", "size"])
    agents = judged["agent_id"].map((by_agent["sum"] + 4 * share) / (by_agent["size"] + 4))
    said = (
        np.full(len(judged), share),
        agents.fillna(share).to_numpy(float),
        judged["fact_success"].to_numpy(float),
    )
    return dict(zip(RULES, said, strict=True))


def _prior(rows: pd.DataFrame, accepted: NDArray[np.bool_], n_judged: int) -> Prior:
    done = rows[accepted]
    lasted = (done["label_ended_at_us"] - done["at_us"]).to_numpy(float) / MINUTE_US
    pace = float(np.exp(np.log(np.maximum(lasted, SHORTEST_MIN)).mean())) if len(done) else 30.0
    return Prior(success=float((accepted.sum() + 1) / (n_judged + 2)), pace_min=pace)


def _acceptance(values: Floats, accepted: NDArray[np.bool_], seed: int) -> lgb.Booster:
    rises = [ACCEPTANCE_RISES.get(name, 0) for name in GRID]
    parameters = _parameters(len(values), seed)
    parameters |= {"objective": "binary", "monotone_constraints": rises}
    data = lgb.Dataset(values, accepted.astype(int), feature_name=list(GRID))
    return lgb.train(parameters, data, N_ROUNDS)


def _parameters(n_rows: int, seed: int) -> dict[str, Any]:
    return PARAMETERS | {"min_data_in_leaf": min(MIN_LEAF, max(1, n_rows // 5)), "seed": seed}


def _amount(values: Floats, amounts: Floats, is_censored: NDArray[np.bool_], seed: int) -> Amount:
    """Fit an amount; the shape of its errors comes from rows held out in turn."""
    log_y, weight = np.log(amounts), np.ones(len(amounts))

    def fitted(rows: NDArray[np.int_]) -> Boosted:
        return fit_boosted(
            values[rows],
            [],
            log_y[rows],
            is_censored[rows],
            weight[rows],
            parameters=_parameters(len(rows), seed),
            n_rounds=N_ROUNDS,
        )

    errors = np.empty(len(log_y))
    for train, test in KFold(ERROR_FOLDS).split(log_y):
        location, log_scale = fitted(train).predict(values[test])
        errors[test] = (log_y[test] - location) / np.exp(log_scale)
    shape = SurvivalQuantiles(errors, is_censored)
    return Amount(fitted(np.arange(len(log_y))), tuple(shape(level) for level in LEVELS))
