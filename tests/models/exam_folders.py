"""Small made-up folders in the form of the exams' data, with truths that are known."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

REPOS = ("web", "core")
LEVEL_NAMES = ("<15 min fix", "15 min - 1 hour", "1-4 hours")
WORDS = ("button colour page form", "cache thread lock queue", "parser token syntax tree")


def write_swe_agents(
    train: Path, test: Path, *, n_tasks: int = 80, n_agents: int = 6, seed: int = 0
) -> None:
    """Agents of rising skill and price on tasks of three levels.

    Test: the newest 40 % of each repository's tasks by all agents, and the last agent on all.
    """
    random = np.random.default_rng(seed)
    number = np.arange(n_tasks)
    level = random.integers(3, size=n_tasks)
    tasks = pd.DataFrame(
        {
            "instance_id": [f"{REPOS[k % 2]}-{k}" for k in number],
            "repo": [REPOS[k % 2] for k in number],
            "issue_no": number // 2 + 1,
            "difficulty": [LEVEL_NAMES[k] for k in level],
            "problem_statement": [f"{WORDS[k % 3]} fails in case {k} `x`" for k in number],
        }
    )
    skill = np.linspace(-2, 2, n_agents)
    log_odds = skill + 1.5 * (1 - level)[:, None] + random.normal(size=(n_tasks, 1))
    runs = pd.DataFrame(
        {
            "agent": np.tile([f"agent {k}" for k in range(n_agents)], n_tasks),
            "instance_id": np.repeat(tasks.instance_id.to_numpy(), n_agents),
            "resolved": (random.random((n_tasks, n_agents)) < expit(log_odds)).ravel(),
            "cost_usd": np.exp(
                np.linspace(-4, 0, n_agents) + 0.2 * random.normal(size=(n_tasks, n_agents))
            ).ravel(),
            "api_calls": np.exp(
                3 + 0.7 * level[:, None] + 0.5 * random.normal(size=(n_tasks, n_agents))
            )
            .astype(int)
            .ravel()
            + 1,
        }
    )
    share = tasks.groupby("repo").issue_no.rank(pct=True)
    is_old = runs.instance_id.isin(tasks.instance_id[share <= 0.6])
    is_train = is_old & (runs.agent != f"agent {n_agents - 1}")
    _write(train, runs=runs[is_train], tasks=tasks[share <= 0.6])
    _write(test, runs=runs[~is_train], tasks=tasks)


def write_metr_runs(train: Path, test: Path, *, n_families: int = 12, seed: int = 0) -> None:
    """Three agents, three tasks a family, two runs each, and some people; half the families a side.

    Longer tasks succeed less often and take longer.
    """
    random = np.random.default_rng(seed)
    rows = []
    start_ms = 1_700_000_000_000
    for family in random.permutation(n_families):
        for task in range(3):
            minutes = 2.0 ** random.uniform(0, 9)
            for k, agent in enumerate(["old", "mid", "new", "human"] * 2):
                duration_s = 20 * minutes**0.5 * np.exp(0.5 * random.normal())
                start_ms += 600_000
                begun_ms = 0 if agent == "human" else start_ms
                rows.append(
                    {
                        "agent": agent,
                        "task_id": f"family {family}/{task}",
                        "task_family": f"family {family}",
                        "score_binarized": int(
                            random.random() < expit(k % 4 + 2 - np.log2(minutes))
                        ),
                        "started_at": begun_ms,
                        "completed_at": begun_ms + int(duration_s * 1000),
                        "duration_s": duration_s,
                        "token_or_time_limit": 36_000,
                        "human_minutes": minutes,
                    }
                )
    runs = pd.DataFrame(rows)
    is_test = runs.task_family.isin({f"family {k}" for k in range(0, n_families, 2)})
    _write(train, runs=runs[~is_test])
    _write(test, runs=runs[is_test])


def change(folder: Path, file: str, **columns: object) -> None:
    """Give columns of a table other values."""
    path = folder / file
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def _write(folder: Path, **tables: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
