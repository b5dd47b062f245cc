"""Learn from a journal again and again: a new version, its promotion, and a watch over it.

What a person does with `pm-agent models`, and the learner does by itself: nothing is promoted that
was not shown to be better than every rule and than the version before it.

A challenger is followed in the shadow: it chooses among the candidates of decisions that others
made after its training. A record has the facts that the claim saw, so scoring them a while later
says the same, and costs the one who waits for the reply nothing.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import BadData, NothingToLearn
from models.evaluate import Drift, OffPolicy, drift, off_policy
from models.forecast import ForecastModel, forecast_model
from models.grid import FAILED_FACTS, GRID, grid_codes, grid_values
from models.history import History
from models.registry import Registry, Stored
from models.train import (
    NAME,
    SHORTEST_MIN,
    Map,
    Trained,
    chosen_rows,
    facts_of,
    store,
    train_assignment,
    training_rows,
)

MIN_WATCHED = 300  # later attempts that were handed in; fewer do not tell a drift from chance
WATCHED = 2_000  # newest of them
MIN_NEW = 100  # judged attempts since the newest version learned; fewer hardly change a model

SHADOWED = ("at_us", "agent_id", "task_id", "challenger_score", "forecast")  # of chosen and best

Score = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # facts → scores, a row a candidate
ScorerOf = Callable[[str], Score]  # by version


class Lesson(NamedTuple):
    """What came of learning once."""

    trained: Trained
    version: str
    is_current: bool


class Round(NamedTuple):
    """What came of one turn of the learner."""

    has_drifted: bool  # and so the current version has stood down
    challenger: str  # version that was followed in the shadow; empty: there is none
    shadow: "Shadow | None"
    n_new: int  # attempts judged since the newest version learned
    lesson: Lesson | None  # None: too little is new

    def told(self) -> dict[str, Any]:
        """In a few plain words, for logs."""
        told: dict[str, Any] = {"has_drifted": self.has_drifted, "n_new": self.n_new}
        if self.lesson is not None:
            told |= {"version": self.lesson.version, "is_current": self.lesson.is_current}
        if self.shadow is not None:
            told |= {"challenger": self.challenger} | self.shadow.told()
        return told


def learn_on(
    history: History, registry: Registry, scorer_of: "ScorerOf", *, run_folds: Map = map
) -> Round:
    """Take one turn: watch for drift, follow the challenger, and train when enough is new.

    Parameters
    ----------
    scorer_of
        Makes the scorer of a stored version, by its name.

    Raises
    ------
    NothingToLearn
    """
    found = watch(history, registry)
    challenger, followed = _follow(history, registry, scorer_of)
    known_until_us = _known_until_us(registry)
    judged = training_rows(history)
    n_new = int((judged["label_ended_at_us"] > known_until_us).sum())
    lesson = None
    if n_new >= MIN_NEW or known_until_us == 0:
        lesson = learn(history, registry, promotes=True, run_folds=run_folds)
    return Round(bool(found and found.has_drifted), challenger, followed, n_new, lesson)


def _follow(
    history: History, registry: Registry, scorer_of: "ScorerOf"
) -> tuple[str, "Shadow | None"]:
    """Follow the newest version if others decide, on decisions since its training; keep a log."""
    version = next(reversed(registry.versions(NAME)), "")
    if not version or version == registry.current(NAME):
        return "", None
    try:
        stored = registry.load(NAME, version)
        later = history.candidates["at_us"] > stored.card.trained_until_us
        since = history._replace(candidates=history.candidates[later])
        found = shadow(since, stored, scorer_of(version))
    except BadData:  # damaged, of another program, or nothing has been judged since
        return "", None
    save_shadow(found, registry.folder / NAME / f"{version}.shadow.parquet")
    return version, found


def _known_until_us(registry: Registry) -> int:
    """Until when the newest version has learned; 0 before the first that can be read."""
    cards = [e.card for e in registry.entries() if e.name == NAME and e.card is not None]
    return max((card.trained_until_us for card in cards), default=0)


def learn(
    history: History,
    registry: Registry,
    *,
    seed: int = 0,
    promotes: bool = False,
    run_folds: Map = map,
) -> Lesson:
    """Train a version, store it, and make it current if that is wished and it is better.

    Raises
    ------
    NothingToLearn
    """
    trained = train_assignment(history, seed=seed, champion=champion(registry), run_folds=run_folds)
    version = store(registry, trained)
    is_current = promotes and trained.card.beats_all_baselines
    if is_current:
        registry.promote(NAME, version)
    return Lesson(trained, version, is_current)


def champion(registry: Registry) -> ForecastModel | None:
    """The model that decides now, if any can."""
    stored = registry.load_usable(NAME)
    try:
        return forecast_model(stored) if stored else None
    except NothingToLearn:  # of another program
        return None


def watch(history: History, registry: Registry) -> Drift | None:
    """Compare what came since the current version was trained with what it learned from.

    When the world has drifted away from it, it stands down: rules decide until a version is
    promoted again. None while there is no version, or too little has come since.
    """
    try:
        stored = registry.load(NAME)
        model = forecast_model(stored)
        rows = chosen_rows(history)
    except BadData:
        return None
    later = rows["at_us"] > stored.card.trained_until_us
    seen = rows[later & ~rows["label_is_censored"].astype(bool)].iloc[-WATCHED:]
    if len(seen) < MIN_WATCHED:
        return None
    values = grid_values(grid_codes(facts_of(seen), model.prior))
    took = np.maximum(seen["label_duration_min"].to_numpy(float), SHORTEST_MIN)
    # Ability and pace are meant to move as agents become known: on two simulated days without any
    # change their PSI was 0.3 to 3. When agents do change, the intervals tell.
    compared = [name for name in GRID if name not in {"ability", "pace"}]
    found = drift(
        pd.DataFrame(model.sample, columns=list(GRID))[compared],
        pd.DataFrame(values, columns=list(GRID))[compared],
        took,
        model.minutes.quantiles(values)[:, [0, 2]],
    )
    if found.has_drifted:
        registry.stand_down(NAME, _reason(found, len(seen)))
    return found


def _reason(found: Drift, n: int) -> str:
    column, index = max(found.psi.items(), key=lambda one: one[1])
    return (
        f"Drift over {n} later attempts: 80 % intervals hold {found.coverage:.0%}, and of the facts"
        f" {column} has moved most (PSI {index:.2f})."
    )


class Shadow(NamedTuple):
    """What a challenger would have chosen on logged decisions, beside what was chosen."""

    rows: pd.DataFrame  # a decision each
    agreement: float  # share of decisions in which it would have chosen the same
    incumbent: float  # accepted share of what was chosen
    challenger: OffPolicy | None  # of what it would have chosen; None: it never chose the same

    def told(self) -> dict[str, Any]:
        """Its figures by name."""
        judged = self.challenger
        estimate = (judged.doubly_robust or judged.snips) if judged else None
        return {
            "decisions": len(self.rows),
            "agreement": self.agreement,
            "accepted": self.incumbent,
            "accepted_of_challenger": list(estimate) if estimate else None,
            "is_doubly_robust": bool(judged and judged.doubly_robust),
            "effective_rows": judged.effective_rows if judged else 0.0,
            "may_promote": bool(judged and judged.may_promote(self.incumbent)),
        }


def shadow(history: History, stored: Stored, score: Score) -> Shadow:
    """Let a version choose among the logged candidates of each decision; it decides nothing.

    Known are the nine best candidates of a decision. Only decisions after the version was trained
    are judged with its forecasts (doubly robust); without such, by weights alone.

    Raises
    ------
    NothingToLearn
        No decision in the history was judged.
    """
    chosen_rows(history)  # refuses a history without facts
    told = history.candidates.dropna(subset=["fact_estimate_min"])
    model = forecast_model(stored)
    facts = facts_of(told)
    # Who failed last is told of a learned scorer's decisions alone; else as if nobody had.
    failed = told.reindex(columns=[f"fact_{name}" for name in FAILED_FACTS]).fillna(0.0)
    told = told.assign(
        challenger_score=score(np.hstack([facts, failed.to_numpy(np.float32)])),
        forecast=model.predict(grid_codes(facts, model.prior))[:, 0],
    )
    best = told.loc[told.groupby("position")["challenger_score"].idxmax()].set_index("position")
    rows = told[told["is_chosen"]].set_index("position")
    rows = rows[[*SHADOWED, "score", "propensity", "version", "label_accepted"]]
    rows = rows.join(best[["task_id", *SHADOWED[3:]]].add_suffix("_of_challenger"))
    rows["is_same"] = rows["task_id"] == rows["task_id_of_challenger"]
    judged = rows[rows["label_accepted"].notna()]
    if judged.empty:
        raise NothingToLearn("No attempt in this history has been judged.")
    later = judged[judged["at_us"] > stored.card.trained_until_us]
    knows_none = len(later) >= MIN_WATCHED
    used = later if knows_none else judged
    found = None
    if used["is_same"].any():
        found = off_policy(
            used["label_accepted"].to_numpy(float),
            used["propensity"],
            used["is_same"].to_numpy(float),
            predicted_chosen=used["forecast"] if knows_none else None,
            predicted_target=used["forecast_of_challenger"] if knows_none else None,
        )
    return Shadow(
        rows.reset_index(),
        float(rows["is_same"].mean()),
        float(used["label_accepted"].to_numpy(float).mean()),
        found,
    )


def logged_shadow(history: History, version: str) -> Shadow:
    """What a version said within claims, when it was asked there as a shadow.

    It knew none of the outcomes yet, so its forecasts may serve to judge it.

    Parameters
    ----------
    version
        Of the stored model, such as v2.

    Raises
    ------
    NothingToLearn
        It was asked in no claim whose work has been judged.
    """
    asked = history.attempts["shadow_version"].str.contains(rf"\.{re.escape(version)}-")
    rows = history.attempts[asked]
    rows = rows.assign(is_same=rows["task_id"] == rows["shadow_task_id"])
    judged = rows[rows["label_accepted"].notna()]
    if judged.empty:
        raise NothingToLearn(
            f"{version} was asked in no claim whose work has been judged.",
            "Set PM_AGENT_SHADOW to a share of the claims while it is the newest version.",
        )
    found = None
    if judged["is_same"].any():
        found = off_policy(
            judged["label_accepted"].to_numpy(float),
            judged["propensity"],
            judged["is_same"].to_numpy(float),
            predicted_chosen=judged["shadow_accepted_of_chosen"].fillna(0.0),
            predicted_target=judged["shadow_accepted"],
        )
    return Shadow(
        rows.reset_index(drop=True),
        float(rows["is_same"].mean()),
        float(judged["label_accepted"].to_numpy(float).mean()),
        found,
    )


def save_shadow(found: Shadow, path: Path) -> None:
    """Write its rows as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found.rows.to_parquet(path)
