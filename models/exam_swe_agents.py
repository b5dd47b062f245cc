"""Exam: P(solved) and effort of coding agents on later tasks, and on agents never seen.

The walk goes task by task in the order of issues inside each repository, the repositories side by
side. All agents' runs of a task are predicted before any of its outcomes is seen.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score

from models.calibration import coverage
from models.duration import DurationModel
from models.errors import ValuesInvalid
from models.exam import Result, Row, read_table, refuse_overlap, usable, watched
from models.outcome import LOG_WEIGHTS, OutcomeModel, group_log_weights, warm_start

Floats = NDArray[np.float64]

# A person's estimate: how many minutes a fix takes someone who knows the code.
LEVELS = {"<15 min fix": 0, "15 min - 1 hour": 1, "1-4 hours": 2, ">4 hours": 2}
WARM_UP = 10  # tasks that a new agent has done before it is judged
N_TOPICS = 60
TOPICS = [f"topic_{k}" for k in range(N_TOPICS)]
COUNTS = ["characters", "fences", "ticks", "paths", "definitions", "prompts", "links"]

RUN_COLUMNS = ["agent", "instance_id", "resolved", "cost_usd", "api_calls"]
TASK_COLUMNS = ["instance_id", "repo", "issue_no", "difficulty", "problem_statement"]
OUTCOME_FACTS = ["agent", "repo", "level"]
EFFORT_FACTS = [*OUTCOME_FACTS, *COUNTS, *TOPICS]
METRICS = ["brier", "auc", "calls_abs_log2", "cover80", "new_agent_brier_after_10"]

# A priori standard deviations, in logs; chosen by cross-validation over tasks. A later topic
# explains less of the texts, and is noise sooner.
EFFORT_SCALES: dict[Hashable, float] = {
    "agent": 2.0,
    "level": 0.5,
    "repo": 0.3,
    ("agent", "repo"): 0.1,
    **dict.fromkeys(COUNTS, 0.05),
    **{name: 0.05 / (1 + k) ** 0.5 for k, name in enumerate(TOPICS)},
}


class Folders(NamedTuple):
    """Both folders, each run with the facts about its task."""

    train: pd.DataFrame
    known: pd.DataFrame  # test runs of agents in ``train`` on tasks that are not, in walk order
    new: pd.DataFrame  # test runs of other agents, in walk order: tasks of ``train`` come first


def run(train: Path, test: Path) -> Result:
    """Take the exam."""
    rows = read(train, test)
    outcome = outcome_model().fit(
        rows.train[OUTCOME_FACTS], rows.train.resolved, groups=rows.train.instance_id
    )
    metrics = dict.fromkeys(METRICS, float("nan"))
    trivial = dict(metrics)
    if len(rows.known):
        solved = rows.known.resolved.to_numpy(float)
        chance = outcome.predict_proba(rows.known[OUTCOME_FACTS])[:, 1]
        metrics |= _of_outcomes(solved, chance) | _walk_effort(rows)
        trivial |= _agents_mean(rows)
    if len(rows.new):
        metrics["new_agent_brier_after_10"], trivial["new_agent_brier_after_10"] = _judge_new(
            outcome, rows
        )
    return Result(metrics, [Row("mean or median of the agent", trivial)], _notes(rows))


def read(train: Path, test: Path) -> Folders:
    """Read both folders, check them, and put the test runs in walk order."""
    tables = [_read_folder(folder) for folder in (train, test)]
    refuse_overlap(tables[0].runs, tables[1].runs, ["agent", "instance_id"])
    tasks = pd.concat([tables[0].tasks, tables[1].tasks]).drop_duplicates("instance_id")
    tasks = tasks.sort_values("instance_id")  # the files' order is nothing to learn from
    tasks = _with_facts(tasks, tables[0].tasks.instance_id)
    known_tasks = set(tables[0].runs.instance_id)
    # Known tasks come first: they are the older ones of each repository.
    tasks["is_later"] = ~tasks.instance_id.isin(known_tasks)
    share = tasks.groupby(["repo", "is_later"]).issue_no.rank(pct=True)
    tasks["place"] = share + tasks.is_later
    train_rows, test_rows = (
        _join(table.runs, tasks, folder)
        for table, folder in zip(tables, (train, test), strict=True)
    )
    test_rows = test_rows.sort_values(["place", "instance_id", "agent"], ignore_index=True)
    is_known = test_rows.agent.isin(train_rows.agent.unique())
    return Folders(
        train=train_rows.sort_values(["place", "instance_id", "agent"], ignore_index=True),
        known=test_rows[is_known & test_rows.is_later].reset_index(drop=True),
        new=test_rows[~is_known].reset_index(drop=True),
    )


def outcome_model() -> OutcomeModel:
    """Logit of skill, human level and repository."""
    return OutcomeModel(
        categorical=["agent", "repo", "level"],
        products=[("repo", "level")],
        # Chosen by cross-validation over tasks: agents differ most, then levels and repositories.
        scales={"agent": 1.5, "level": 0.6, "repo": 0.35, ("repo", "level"): 0.3},
    )


def effort_model() -> DurationModel:
    """Agents, levels, repositories and the text's topics; each agent with its own spread."""
    return DurationModel(
        "linear",
        categorical=["agent", "repo", "level"],
        products=[("agent", "repo")],
        scales=EFFORT_SCALES,
        spread_columns=["agent"],
        errors_by="agent",
    )


class _Folder(NamedTuple):
    runs: pd.DataFrame
    tasks: pd.DataFrame


def _read_folder(folder: Path) -> _Folder:
    runs = read_table(folder, "runs.parquet", RUN_COLUMNS)
    tasks = read_table(folder, "tasks.parquet", TASK_COLUMNS)
    runs = runs.assign(
        api_calls=runs.api_calls.where(runs.api_calls > 0),
        cost_usd=runs.cost_usd.where(runs.cost_usd >= 0),
    )
    runs = usable(runs, RUN_COLUMNS, f"{folder}/runs.parquet")
    # A difficulty that is missing or new is a level never seen: the models are less sure of it.
    tasks = usable(tasks, ["instance_id", "repo", "issue_no"], f"{folder}/tasks.parquet")
    tasks = tasks.assign(problem_statement=tasks.problem_statement.fillna("").astype(str))
    if runs.duplicated(["agent", "instance_id"]).any():
        raise ValuesInvalid(f"{folder}/runs.parquet: an agent ran a task twice.")
    return _Folder(runs, tasks)


def _join(runs: pd.DataFrame, tasks: pd.DataFrame, folder: Path) -> pd.DataFrame:
    rows = runs.merge(tasks, on="instance_id", how="left")
    if lost := int(rows.repo.isna().sum()):
        raise ValuesInvalid(f"{folder}: {lost} runs are of tasks that tasks.parquet lacks.")
    return rows


def _with_facts(tasks: pd.DataFrame, known: pd.Series) -> pd.DataFrame:
    """Add level, counts and topics; what is learned of texts is learned from ``known`` tasks."""
    text = tasks.problem_statement
    facts = {
        "level": tasks.difficulty.map(LEVELS),
        "characters": np.log1p(text.str.len()),
        "fences": np.log1p(text.str.count("```")),
        "ticks": np.log1p(text.str.count("`")),
        "paths": np.log1p(text.str.count(r"\w+/\w+|\w+\.py")),
        "definitions": np.log1p(text.str.count(r"\bdef |\bclass |\breturn ")),
        "prompts": np.log1p(text.str.count(r">>>|In \[")),
        "links": np.log1p(text.str.count("http")),
    }
    topics = _topics(text, text[tasks.instance_id.isin(known)])
    facts |= dict(zip(TOPICS, topics.T, strict=True))
    return tasks.assign(**facts)


def _topics(texts: pd.Series, known: pd.Series) -> Floats:
    """Topics learned from ``known`` texts, (n_texts, N_TOPICS); 0 where there are fewer."""
    found = np.zeros((len(texts), N_TOPICS))
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, stop_words="english")
    try:
        words = vectorizer.fit_transform(known)
    except ValueError:  # no word is in two of them
        return found
    n_topics = min(N_TOPICS, min(words.shape) - 1)  # of few texts, or of few words
    if n_topics > 0:
        with np.errstate(divide="ignore", invalid="ignore"):  # of texts with the same words
            topics = TruncatedSVD(n_topics, random_state=0).fit(words)
        found[:, :n_topics] = topics.transform(vectorizer.transform(texts))
    return found


def _of_outcomes(solved: Floats, chance: Floats) -> dict[str, float]:
    is_one_kind = np.ptp(solved) == 0
    return {
        "brier": float(((chance - solved) ** 2).mean()),
        "auc": float("nan") if is_one_kind else float(roc_auc_score(solved, chance)),
    }


def _walk_effort(rows: Folders) -> dict[str, float]:
    model = effort_model().fit(
        rows.train[EFFORT_FACTS], rows.train.api_calls, groups=rows.train.instance_id
    )
    calls = rows.known.api_calls.to_numpy(float)
    medians, intervals = np.empty(len(calls)), np.empty((len(calls), 2))
    tasks = list(rows.known.groupby("instance_id", sort=False).indices.values())
    for places in watched(tasks, "tasks"):
        facts = rows.known.iloc[places][EFFORT_FACTS]
        medians[places] = model.predict(facts)
        intervals[places] = model.predict_interval(facts)
        model.recalibrate(facts, calls[places])
    return {
        "calls_abs_log2": float(np.abs(np.log2(medians / calls)).mean()),
        "cover80": coverage(calls, intervals),
    }


def _agents_mean(rows: Folders) -> dict[str, float]:
    """The trivial baselines: what the agent did on average on the tasks of training."""
    by_agent = rows.train.groupby("agent")
    share = rows.known.agent.map(by_agent.resolved.mean()).to_numpy(float)
    calls = rows.known.agent.map(by_agent.api_calls.median()).to_numpy(float)
    low, high = (rows.known.agent.map(by_agent.api_calls.quantile(q)) for q in (0.1, 0.9))
    return _of_outcomes(rows.known.resolved.to_numpy(float), share) | {
        "calls_abs_log2": float(np.abs(np.log2(calls / rows.known.api_calls)).mean()),
        "cover80": coverage(rows.known.api_calls, np.column_stack([low, high])),
    }


def _judge_new(outcome: OutcomeModel, rows: Folders) -> tuple[float, float]:
    """Brier score on later tasks of agents that did ten tasks, and of their smoothed share."""
    logits = outcome.decision_function(rows.train[OUTCOME_FACTS])
    solved = rows.train.resolved.to_numpy(float)
    names, known_weights = group_log_weights(
        logits, solved, rows.train.instance_id.to_numpy(), outcome.group_scale_
    )
    weights_of = dict(zip(names, known_weights, strict=True))
    squares, trivial_squares = [], []
    for _, runs in rows.new.groupby("agent"):
        first = runs.head(WARM_UP)
        judged = runs.iloc[WARM_UP:]
        judged = judged[judged.is_later]
        if judged.empty:  # it did no later task, or none after its first ten
            continue
        seen = first.resolved.to_numpy(float)
        weights = np.array([weights_of.get(task, LOG_WEIGHTS) for task in first.instance_id])
        shift, deviation = warm_start(
            outcome.decision_function(first[OUTCOME_FACTS]), seen, weights, outcome.group_scale_
        )
        later = outcome.decision_function(judged[OUTCOME_FACTS]) + shift
        chance = expit(later / np.sqrt(1 + np.pi / 8 * deviation**2))
        truth = judged.resolved.to_numpy(float)
        squares.append((chance - truth) ** 2)
        trivial_squares.append(((seen.sum() + 1) / (len(seen) + 2) - truth) ** 2)
    if not squares:
        return float("nan"), float("nan")
    return float(np.concatenate(squares).mean()), float(np.concatenate(trivial_squares).mean())


def _notes(rows: Folders) -> list[str]:
    return [
        f"{len(rows.train)} training runs.",
        f"{len(rows.known)} runs of {rows.known.agent.nunique()} known agents on later tasks.",
        f"{len(rows.new)} runs of {rows.new.agent.nunique()} new agents.",
        "Models stay as trained; only levels of median and interval move during the walk.",
    ]
