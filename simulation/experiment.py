"""Runs scenarios and hands back results.

Examples
--------
>>> from simulation import Scenario, run
>>> result = run(Scenario.read("mm1"), seed=7)
>>> result.figures.tasks_done > 0
True
"""

import gc
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import msgspec

from pm_agent.domain.time import DAY_US, HOUR_US
from pm_agent.kernel.engine import Step
from pm_agent.kernel.invariants import Violation
from pm_agent.ports import Scorer
from pm_agent.runtime.coordinator_loop import GC_YOUNG
from simulation.arrivals import Arrival, Fortune, arrivals
from simulation.driver import Simulation
from simulation.ledger import Ledger
from simulation.lives import Recorded
from simulation.metrics import Figures, figures_of
from simulation.scenario import Scenario
from simulation.team import Worker, team_of

SLICE_US = HOUR_US  # of virtual time, between two looks at the progress bar and at Ctrl-C


class Result(msgspec.Struct):
    """What came of one run.

    Attributes
    ----------
    journal_hash : str
        Of the last event: SHA-256 over it and all before it. The same scenario, seed and version
        give the same hash.
    ledger : Ledger
        Every task and attempt, for tables and pictures.
    """

    scenario: Scenario
    seed: int
    scenario_hash: str
    journal_hash: str
    policy: str
    is_partial: bool
    horizon_h: float  # that was reached
    wall_s: float
    deciding_s: float  # of it, in the engine; the rest is the driver's
    events: int
    figures: Figures
    refusals: dict[str, int]
    violations: list[Violation]
    ledger: Ledger

    def as_dict(self) -> dict[str, Any]:
        """All but the ledger, flat, as `--json` prints it."""
        own = {
            "scenario": self.scenario.name,
            "seed": self.seed,
            "scenario_hash": self.scenario_hash,
            "journal_hash": self.journal_hash,
            "policy": self.policy,
            "wall_s": round(self.wall_s, 3),
            "deciding_s": round(self.deciding_s, 3),
            "horizon_h": self.horizon_h,
            "partial": self.is_partial,
            "events": self.events,
        }
        figures: dict[str, Any] = msgspec.to_builtins(self.figures)
        findings = [f"{v.invariant}: {v.detail}" for v in self.violations[:20]]
        rest = {"violations": len(self.violations), "findings": findings}
        return own | figures | {"refusals": dict(sorted(self.refusals.items()))} | rest


def run(
    scenario: Scenario,
    seed: int = 0,
    *,
    on_slice: Callable[[float], None] | None = None,
    scorer: Scorer | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Result:
    """Run a scenario once.

    Parameters
    ----------
    scenario
        What to run.
    seed
        Of all that is random.
    on_slice
        Called now and then with the share that is done.
    scorer, on_step
        As for `Simulation`.

    Notes
    -----
    Ctrl-C ends the run at the next full hour of virtual time; the result says `is_partial`.
    """
    return play(
        scenario,
        arrivals(scenario, seed),
        team_of(scenario, seed),
        Fortune(seed),
        seed=seed,
        on_slice=on_slice,
        scorer=scorer,
        on_step=on_step,
    )


def play(
    scenario: Scenario,
    coming: Iterator[Arrival],
    team: list[Worker],
    fortune: Fortune,
    *,
    seed: int,
    on_slice: Callable[[float], None] | None = None,
    recorded: Mapping[int, list[Recorded]] | None = None,
    scorer: Scorer | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Result:
    """Run with given arrivals, team and luck; the rest as for `run` and `Simulation`."""
    began_s = time.perf_counter()
    simulation = Simulation(
        scenario,
        coming,
        team,
        fortune,
        seed=seed,
        recorded=recorded,
        scorer=scorer,
        on_step=on_step,
    )
    horizon_us = round(scenario.horizon_h * HOUR_US)
    last_us = 2 * horizon_us if scenario.drain else horizon_us
    with _tuned(), _interruptible() as interrupted:
        simulation.start()
        until_us = 0
        while until_us < last_us and not interrupted:
            until_us = min(until_us + SLICE_US, last_us)
            simulation.go_on(until_us)
            if until_us % DAY_US == 0:
                gc.freeze()  # what has lasted a day need not be walked through every time
            if on_slice is not None:
                on_slice(until_us / last_us)
            if until_us >= horizon_us and not simulation.ledger.n_inside:
                break
        policy = simulation.engine.scorer.version
        journal_hash = simulation.conclude()
    return Result(
        scenario=scenario,
        seed=seed,
        scenario_hash=scenario.hash,
        journal_hash=journal_hash,
        policy=policy,
        is_partial=bool(interrupted),
        horizon_h=until_us / HOUR_US,
        wall_s=time.perf_counter() - began_s,
        deciding_s=simulation.deciding_s,
        events=simulation.n_events,
        figures=figures_of(scenario, simulation.ledger, until_us),
        refusals=dict(simulation.refusals),
        violations=simulation.violations,
        ledger=simulation.ledger,
    )


@contextmanager
def _tuned() -> Iterator[None]:
    """Collect garbage as the coordinator does: rarely, since nearly all is gone after a step."""
    before = gc.get_threshold()
    gc.set_threshold(GC_YOUNG, 20, 100)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Let Ctrl-C end the run between two slices, so that what there is can be written."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:  # twice: now
            raise KeyboardInterrupt
        seen.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread, where Ctrl-C goes to somebody else
        yield seen
        return
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
