"""Many seeds on all processors, and one report about them."""

import gc
import hashlib
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import msgspec

from simulation.check import Outcome, Plan, run
from simulation.coverage import Count, Coverage, never_effective

GC_YOUNG = 50_000  # as in the coordinator: nearly all containers are gone when a step is over


class Finding(msgspec.Struct):
    """A broken promise, and where it was seen first."""

    seed: int
    step: int
    invariant: str
    detail: str


class Report(msgspec.Struct):
    """What came of all seeds. The same seeds and steps make the same report, to the last byte."""

    seeds: int
    steps: int  # under faults
    steps_after: int  # after faults had stopped
    violations: int
    journal_hash: str
    commands: int
    accepted: int
    refused: int
    faults: dict[str, int]
    replies: dict[str, int]
    events: dict[str, int]
    coverage: Coverage  # by command of the catalog: what came of it
    never_effective: list[str]  # commands that nothing is proven of
    virtual_s: int
    findings: list[Finding]
    is_partial: bool = False  # Ctrl-C came before the last seed


def run_all(plans: Sequence[Plan], jobs: int) -> Iterator[Outcome]:
    """Run plans in as many processes; outcomes come in the order of the plans."""
    if jobs <= 1 or len(plans) == 1:
        yield from map(run, plans)
        return
    with ExitStack() as stack:
        # Spawned, not forked: a test's or a terminal's threads do not come along.
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(context.Pool(min(jobs, len(plans)), _prepare))
        yield from pool.imap(run, plans)


def report_on(outcomes: Sequence[Outcome]) -> Report:
    """Add up."""
    faults, replies, events = Counter[str](), Counter[str](), Counter[str]()
    coverage: Coverage = {}
    for outcome in outcomes:
        faults.update(outcome.faults)
        replies.update(outcome.replies)
        events.update(outcome.events)
        for name, count in outcome.coverage.items():
            coverage.setdefault(name, Count()).add(count)
    hashes = "".join(outcome.journal_hash for outcome in outcomes)
    return Report(
        seeds=len(outcomes),
        steps=sum(outcome.steps for outcome in outcomes),
        steps_after=sum(outcome.steps_after for outcome in outcomes),
        violations=sum(len(outcome.violations) for outcome in outcomes),
        journal_hash=hashlib.sha256(hashes.encode()).hexdigest(),
        commands=sum(outcome.commands for outcome in outcomes),
        accepted=replies["ok"],
        refused=replies.total() - replies["ok"],
        faults=dict(sorted(faults.items())),
        replies=dict(sorted(replies.items())),
        events=dict(sorted(events.items())),
        coverage=dict(sorted(coverage.items())),
        never_effective=never_effective(coverage),
        virtual_s=sum(outcome.virtual_s for outcome in outcomes),
        findings=[
            Finding(outcome.plan.seed, outcome.step, one.invariant, one.detail)
            for outcome in outcomes
            for one in outcome.violations
        ],
    )


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process ends them
    gc.set_threshold(GC_YOUNG, 20, 100)
