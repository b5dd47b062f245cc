"""Compares policies on the same days: common random numbers, paired intervals.

Every replication has its own seed; under that seed all policies meet the same tasks, agents and
luck, so what differs is the policy. Differences are taken within replications, which makes their
intervals far narrower than those of the figures themselves.

References
----------
Law, "Simulation Modeling and Analysis", chapter 11: common random numbers; paired-t intervals.
"""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec

from simulation.experiment import run
from simulation.metrics import Figures, figure
from simulation.policies import scorer_of
from simulation.scenario import Scenario

# What is compared, and its name for people.
FIGURES = {
    "mean_lead_h": "mean lead time, hours",
    "p95_lead_h": "95th percentile of lead times, hours",
    "restricted_lead_h": "mean lead time of all tasks, undone ones as the horizon, hours",
    "mean_wait_s": "mean wait, seconds",
    "p95_wait_s": "95th percentile of waits, seconds",
    "mean_urgent_wait_s": "mean wait of urgent tasks, seconds",
    "tasks_done": "tasks done",
    "utilisation": "utilisation, share of all places",
    "first_pass": "done at the first attempt, share",
    "cost_usd": "cost, USD",
    "work_per_usd": "human hours of done work for a dollar",
}
CONFIDENCE = 0.95


class Interval(msgspec.Struct, frozen=True):
    """Mean over replications, and half the width of its 95 % interval."""

    mean: float
    half: float

    @property
    def is_clear(self) -> bool:
        """Whether 0 lies outside."""
        return abs(self.mean) > self.half


class Replication(NamedTuple):
    """One run of a comparison."""

    policy: str
    seed: int
    figures: Figures
    journal_hash: str
    violations: int
    is_partial: bool = False  # Ctrl-C came meanwhile


class Comparison(msgspec.Struct):
    """Figures of each policy, and differences to the first.

    Attributes
    ----------
    means, differences : dict
        By policy, then by name of the figure. A difference is the policy's less the first one's.
    """

    scenario: Scenario
    scenario_hash: str
    seeds: list[int]
    policies: list[str]
    means: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, Interval]]
    journal_hashes: dict[str, list[str]]
    violations: int
    is_partial: bool = False


def compare(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    replications: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    models: Path | None = None,
) -> Comparison:
    """Run every policy on the same replications.

    Parameters
    ----------
    policies
        Names of scorers; differences are taken to the first.
    replications
        At least 2; None: as the scenario says.
    seed
        Of the first replication; the others follow.
    jobs
        Processes.
    models
        Registry whose current version the policy ``learned`` uses; `simulation.policies.teach`
        makes one.
    """
    n = replications or scenario.replications
    return summed(
        scenario, policies, list(replicate(scenario, policies, n, seed, jobs, models=models))
    )


def replicate(
    scenario: Scenario,
    policies: Sequence[str],
    replications: int,
    seed: int,
    jobs: int,
    *,
    models: Path | None = None,
) -> Iterator[Replication]:
    """Run all, one replication after another, and yield each as it is over.

    Raises
    ------
    ScenarioError
        There is no such policy.
    KeyboardInterrupt
        A run was ended by Ctrl-C: its figures are of a part, and not yielded.
    """
    plans = [
        (scenario.changed(scorer=policy), one, models)
        for one in range(seed, seed + replications)
        for policy in policies
    ]
    if jobs <= 1:
        yield from _whole(map(_one, plans))
        return
    # Spawned, not forked: a notebook's or a terminal's threads do not come along.
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(plans))) as pool:
        yield from _whole(pool.imap(_one, plans))


def _whole(runs: Iterable[Replication]) -> Iterator[Replication]:
    for one in runs:
        if one.is_partial:
            raise KeyboardInterrupt
        yield one


def _one(plan: tuple[Scenario, int, Path | None]) -> Replication:
    scenario, seed, models = plan
    result = run(scenario, seed, scorer=scorer_of(scenario.scorer, models))
    return Replication(
        scenario.scorer,
        seed,
        result.figures,
        result.journal_hash,
        len(result.violations),
        result.is_partial,
    )


def summed(scenario: Scenario, policies: Sequence[str], runs: Sequence[Replication]) -> Comparison:
    """Make intervals of replications that ran under every policy."""
    by_policy = {policy: [r for r in runs if r.policy == policy] for policy in policies}
    n = min(len(known) for known in by_policy.values())
    first = by_policy[policies[0]][:n]
    differences: dict[str, dict[str, Interval]] = {}
    for policy in policies[1:]:
        pairs = list(zip(by_policy[policy][:n], first, strict=True))
        differences[policy] = {
            name: interval([figure(a.figures, name) - figure(b.figures, name) for a, b in pairs])
            for name in FIGURES
        }
    return Comparison(
        scenario=scenario,
        scenario_hash=scenario.hash,
        seeds=[r.seed for r in first],
        policies=list(policies),
        means={
            policy: {name: interval([figure(r.figures, name) for r in known]) for name in FIGURES}
            for policy, known in by_policy.items()
        },
        differences=differences,
        journal_hashes={p: [r.journal_hash for r in known] for p, known in by_policy.items()},
        violations=sum(r.violations for r in runs),
    )


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of a mean; infinitely wide from a single value."""
    n = len(values)
    if n < 2:
        return Interval(fmean(values) if values else 0.0, float("inf"))
    from scipy.stats import t  # noqa: PLC0415 - takes a second to load, and only this needs it

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, n - 1))
    return Interval(fmean(values), quantile * stdev(values) / sqrt(n))
