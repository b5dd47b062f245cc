"""Exam: tasks solved when agents have quotas, or when there is so much money a task.

One policy for all: chances from the outcome model of the ``swe_agents`` exam, and the plans of
`models.escalation`. It sees the facts of the test tasks beforehand, and of their runs only what
it has started, one after another.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from models.errors import NothingToLearn
from models.escalation import Chains, assign, chains, least_worth
from models.exam import Result, Row
from models.exam_swe_agents import OUTCOME_FACTS, outcome_model, read

Floats = NDArray[np.float64]

QUOTAS = (14, 28, 56)
BUDGET_USD = 0.20


class Runs(NamedTuple):
    """All runs that could be had, (n_tasks, n_agents); tasks in walk order.

    The policy gets ``logits`` and ``cost_usd``. What a run brings, ``solved`` and ``spent_usd``,
    is looked up once it is chosen.
    """

    logits: Floats
    cost_usd: Floats
    solved: NDArray[np.bool_]
    spent_usd: Floats


def run(train: Path, test: Path) -> Result:
    """Take the exam."""
    rows = read(train, test)
    if rows.known.empty:
        raise NothingToLearn(f"{test} has no later tasks run by agents of {train}.")
    outcome = outcome_model().fit(
        rows.train[OUTCOME_FACTS], rows.train.resolved, groups=rows.train.instance_id
    )
    runs = _table(rows.known, outcome.decision_function(rows.known[OUTCOME_FACTS]), rows.train)
    share = rows.train.groupby("agent").resolved.mean().to_numpy(float)
    is_there = np.isfinite(runs.cost_usd)
    plan = chains(runs.logits, np.where(is_there, runs.cost_usd, 0.0), outcome.group_scale_)
    metrics, random, by_mean = {}, {}, {}
    for quota in QUOTAS:
        name = f"solved_quota_{quota}"
        metrics[name] = _solved(runs, assign(expit(runs.logits), quota))
        by_mean[name] = _solved(runs, assign(np.where(is_there, share, 0.0), quota))
        random[name] = float(runs.solved[is_there].mean())
    name = f"solved_budget_{BUDGET_USD:.2f}"
    metrics[name], spent_usd = spend(runs, plan, BUDGET_USD)
    by_mean[name] = _best_single(runs, share)
    n_tasks, n_agents = runs.solved.shape
    notes = [f"{n_tasks} tasks, {n_agents} agents; ${spent_usd:.4f} spent a task."]
    baselines = [Row("random agent", random), Row("agent's mean alone", by_mean)]
    return Result(metrics, baselines, notes)


def spend(runs: Runs, plan: Chains, budget_usd: float) -> tuple[float, float]:
    """Walk the tasks; try agents along each chain while it is worth its money.

    Money not spent so far is there for the tasks to come. A run that would cost more than all the
    money left is cut short: the money is gone, and the run has not solved the task.

    Returns
    -------
    solved, spent_usd : float
        Share of tasks solved, and dollars a task.
    """
    n_tasks = len(plan.agent)
    left_usd, solved = budget_usd * n_tasks, 0
    for task in range(n_tasks):
        bar = least_worth(plan.after(task), left_usd)
        for step, agent in enumerate(plan.agent[task]):
            is_worth = plan.worth[task, step] >= bar and plan.chance[task, step] > 0
            if not is_worth or plan.cost_usd[task, step] > left_usd:
                break
            cost_usd = runs.spent_usd[task, agent]
            is_cut = cost_usd > left_usd
            left_usd -= min(cost_usd, left_usd)
            if runs.solved[task, agent] and not is_cut:
                solved += 1
                break
    return solved / n_tasks, budget_usd - left_usd / n_tasks


def _table(known: pd.DataFrame, logits: Floats, train: pd.DataFrame) -> Runs:
    """Runs as matrices; where an agent has none the chance is 0."""
    agents = sorted(train.agent.unique())
    mean_usd = train.groupby("agent").cost_usd.mean()
    # Difficult tasks cost all agents more, by about the same factor.
    factor = (train.cost_usd / train.agent.map(mean_usd)).groupby(train.level).mean()
    rows = known.assign(
        logit=logits,
        expected_usd=known.agent.map(mean_usd) * known.level.map(factor).fillna(1.0),
    )
    order = rows.instance_id.drop_duplicates()

    def matrix(column: str) -> pd.DataFrame:
        table = rows.pivot_table(index="instance_id", columns="agent", values=column)
        return table.reindex(index=order, columns=agents)

    return Runs(
        logits=matrix("logit").fillna(-np.inf).to_numpy(float),
        cost_usd=matrix("expected_usd").to_numpy(float),
        solved=matrix("resolved").fillna(0).to_numpy(float) > 0,
        spent_usd=matrix("cost_usd").to_numpy(float),
    )


def _solved(runs: Runs, agents: NDArray[np.int_]) -> float:
    tasks = np.arange(len(agents))
    return float((runs.solved[tasks, agents] & (agents >= 0)).mean())


def _best_single(runs: Runs, share: Floats) -> float:
    """Solved by the one agent that was best in training among those within the budget."""
    mean_usd = np.nanmean(runs.cost_usd, axis=0)
    within = np.where(mean_usd <= BUDGET_USD, share, -1.0)
    return float(runs.solved[:, within.argmax()].mean()) if within.max() >= 0 else 0.0
