"""Fit the tables in ``simulation/fitted``: how agents work, and how bursts of work arrive.

    python scripts/simulation/fit_behaviour.py DATA

DATA holds ``metr_runs/runs.parquet`` and ``azure_llm/code.parquet`` (sources and licences stand in
the tables). The tables are what the simulator ships; the data is not shipped.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

FITTED = Path(__file__).parents[2] / "simulation" / "fitted"
# Base models without chat training solve next to nothing; nobody gives them work.
LEFT_OUT = ("human", "davinci-002", "gpt-3.5-turbo-instruct")
RIDGE = 0.01  # keeps the abilities of rarely seen agents finite
SHARES = np.linspace(0.005, 0.995, 34)  # of the residuals, without the outermost half percents
EDGES = (0, 1, 2, 4, 8, 16, 32)  # arrivals a second at which the next state of the chain begins

Floats = NDArray[np.float64]


def main() -> None:
    """Write both tables."""
    data = Path(sys.argv[1])
    FITTED.mkdir(exist_ok=True)
    runs = pd.read_parquet(data / "metr_runs/runs.parquet")
    (FITTED / "metr_runs.toml").write_text(_behaviour(runs))
    (FITTED / "metr_families.toml").write_text(_families(runs))
    trace = pd.read_parquet(data / "azure_llm/code.parquet")
    (FITTED / "azure_code.toml").write_text(_bursts(trace))


def _behaviour(runs: Any) -> str:
    runs = runs[~runs.agent.isin(LEFT_OUT) & (runs.human_minutes > 0)].copy()
    # Repeated runs of one agent on one task count as one.
    weights = (1 / runs.groupby(["agent", "task_id"]).run_id.transform("size")).to_numpy()
    names = sorted(runs.agent.unique())
    agents = runs.agent.map({name: i for i, name in enumerate(names)}).to_numpy()
    doublings = np.log2(runs.human_minutes.to_numpy())
    abilities, slope = _success(agents, doublings, runs.score_binarized.to_numpy(), weights)
    log2_s = np.log2(runs.duration_s.to_numpy())
    paces, growth, residuals = _duration(agents, doublings, log2_s, weights)
    lines = [
        f"# How coding agents work: fitted to {len(runs):,} runs of eight agents on tasks whose",
        "# human minutes are known. Made by scripts/simulation/fit_behaviour.py.",
        'source = "METR/eval-analysis-public, data/external/all_runs.jsonl @9c1d4e5 (2025-01-28)"',
        'licence = "MIT, copyright 2025 METR"',
        f"runs = {len(runs)}",
        "",
        "# P(success) = 1 / (1 + exp(success_slope * log2(human_min) - ability))",
        f"success_slope = {slope:.4f}",
        "# log2(seconds) = pace + duration_slope * log2(human_min) + a residual",
        f"duration_slope = {growth:.4f}",
        "# Quantiles of the residuals, evenly spaced from 0.5 % to 99.5 %: three decades.",
        f"residuals = {[round(float(r), 3) for r in residuals]}",
        "",
        "[agents]",
    ]
    for name, ability, pace in zip(names, abilities, paces, strict=True):
        lines.append(f'"{name}" = {{ ability = {ability:.3f}, pace = {pace:.3f} }}')
    return "\n".join(lines) + "\n"


def _families(runs: Any) -> str:
    """Tasks of each family: how long a person needs, and how long they look by agents' success."""
    runs = runs[~runs.agent.isin(LEFT_OUT) & (runs.human_minutes > 0)].copy()
    weights = (1 / runs.groupby(["agent", "task_id"]).run_id.transform("size")).to_numpy()
    names = sorted(runs.agent.unique())
    agents = runs.agent.map({name: i for i, name in enumerate(names)}).to_numpy()
    doublings = np.log2(runs.human_minutes.to_numpy())
    solved = runs.score_binarized.to_numpy()
    abilities, slope = _success(agents, doublings, solved, weights)
    logits = abilities[agents] - slope * doublings
    lines = [
        "# Tasks of METR's families: [human minutes, minutes of a usual task that is as hard].",
        "# Made by scripts/simulation/fit_behaviour.py. Hardness is what agents' success tells",
        "# beyond length, drawn towards none (a standard deviation of one logit).",
        'source = "METR/eval-analysis-public, data/external/all_runs.jsonl @9c1d4e5 (2025-01-28)"',
        'licence = "MIT, copyright 2025 METR"',
        "",
        "[families]",
    ]
    for family, rows in runs.reset_index(drop=True).groupby("task_family"):
        tasks = []
        for _, own in rows.groupby("task_id"):
            at = own.index.to_numpy()
            easier = _offset(logits[at], solved[at], weights[at])
            length = float(own.human_minutes.iloc[0])
            tasks.append([round(length, 2), round(length * 2 ** (-easier / slope), 2)])
        lines.append(f"{family} = {tasks}")
    return "\n".join(lines) + "\n"


def _offset(logits: Floats, solved: Floats, weights: Floats) -> float:
    """How much likelier a task is solved than its length says, in logits."""

    def loss(offset: Floats) -> float:
        shifted = logits + offset[0]
        losses = np.logaddexp(0, shifted) - solved * shifted
        return float((weights * losses).sum() + 0.5 * offset[0] ** 2)

    return float(minimize(loss, np.zeros(1)).x[0])


def _success(
    agents: NDArray[np.intp], doublings: Floats, solved: NDArray[np.int64], weights: Floats
) -> tuple[Floats, float]:
    """Logistic regression with an intercept for each agent and one slope."""

    def loss(parameters: Floats) -> float:
        logits = parameters[:-1][agents] - parameters[-1] * doublings
        losses = np.logaddexp(0, logits) - solved * logits
        return float((weights * losses).sum() + RIDGE * (parameters**2).sum())

    found = minimize(loss, np.zeros(agents.max() + 2)).x
    return found[:-1], float(found[-1])


def _duration(
    agents: NDArray[np.intp], doublings: Floats, log2_s: Floats, weights: Floats
) -> tuple[Floats, float, Floats]:
    """Least squares on the logarithm, and the weighted quantiles of what is left."""
    design = np.zeros((len(agents), agents.max() + 2))  # (n_runs, n_agents + 1)
    design[np.arange(len(agents)), agents] = 1
    design[:, -1] = doublings
    root = np.sqrt(weights)
    found = np.linalg.lstsq(design * root[:, None], log2_s * root, rcond=None)[0]
    left = log2_s - design @ found
    order = left.argsort()
    cumulated = (weights[order].cumsum() - weights[order] / 2) / weights.sum()
    return found[:-1], float(found[-1]), np.interp(SHARES, cumulated, left[order])


def _bursts(trace: Any) -> str:
    second = (trace.ts - trace.ts.min()).dt.total_seconds().to_numpy().astype(int)
    counts = np.bincount(second)
    states = np.digitize(counts, EDGES) - 1
    n_states = len(EDGES)
    steps = np.zeros((n_states, n_states))
    np.add.at(steps, (states[:-1], states[1:]), 1)
    rows = steps / steps.sum(axis=1, keepdims=True)
    levels = [counts[states == i].mean() / counts.mean() for i in range(n_states)]
    peak = counts.max() / counts.mean()
    lines = [
        "# The shape of real bursts: a chain of states, each with its rate relative to the mean.",
        f"# The fullest of {len(counts)} seconds held {peak:.1f} times the mean.",
        "# Made by scripts/simulation/fit_behaviour.py.",
        'source = "Azure/AzurePublicDataset, AzureLLMInferenceTrace_code.csv (2023-11-16)"',
        'licence = "CC BY 4.0, Microsoft"',
        f"tasks_per_slot = {counts.mean():.4f}  # mean arrivals in one second of the trace",
        f"rates = {[round(float(level), 4) for level in levels]}",
        "steps = [",
        *(f"    {[round(float(share), 4) for share in row]}," for row in rows),
        "]",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
