"""How fast the simulator is: days of a large team, and its timeline beside SimPy's.

``day`` and ``ten_days``: the default scenario on the real engine, all decision records and
invariants included. ``timeline``: the same arrivals and work with no rules at all, one queue by
priority and any free agent, on our timeline and, in the same run, on SimPy.
"""

import heapq
import resource
import time
from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import Any, NamedTuple

from benchmarks.report import Case, Plan, Report, add_ratio, middle, number, progress, rounded
from pm_agent.domain.time import DAY_US
from simulation import Scenario, run
from simulation.timeline import Timeline

N_TASKS, N_AGENTS = 10_000, 1_000
MEAN_WORK_US = 2 * 3_600 * 1_000_000  # so that most agents are at work most of the time
KIB_PER_MIB = 1024


class Job(NamedTuple):
    """A task of the model without rules; lower priorities go first."""

    at_us: int
    priority: int
    work_us: int


def measure(plan: Plan) -> Report:
    """Run the whole benchmark."""
    report = Report(benchmark="simulation")
    days = (1,) if plan.is_quick else (1, 10)
    for n_days in days:
        progress(f"simulation: {n_days} days")
        runs = [_days(n_days) for _ in range(plan.runs if n_days == 1 else 1)]
        report.cases.append(middle(runs))
    if len(days) > 1:
        one, ten = (number(report.cases, name, "cpu_s") for name in ("day", "ten_days"))
        add_ratio(report, "ten_days_vs_day", ten, one)
    jobs = _jobs(Random(1))
    ours, theirs = [], []
    simpy = _simpy()
    for _ in range(max(plan.runs, 3)):
        ours.append(_timed("timeline", _on_timeline, jobs))
        if simpy is not None:
            theirs.append(_timed("simpy", lambda known: _on_simpy(simpy, known), jobs))
    report.cases.append(middle(ours))
    if theirs:
        report.peers.append({**middle(theirs), "peer": "simpy"})
        above, below = (
            number(report.peers, "simpy", "cpu_s"),
            number(report.cases, "timeline", "cpu_s"),
        )
        add_ratio(report, "timeline_vs_simpy", above, below)
        add_ratio(report, "simpy_vs_day", above, number(report.cases, "day", "cpu_s"))
    else:
        report.peers.append({"case": "simpy", "peer": "simpy", "note": "simpy is not installed"})
    return report


def _days(n: int) -> Case:
    scenario = Scenario.read("day").changed(horizon_h=24 * n, scorer="factors")
    began_s = time.process_time()
    result = run(scenario, seed=7)
    cpu_s = time.process_time() - began_s
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "case": "day" if n == 1 else "ten_days",
        "tasks": result.figures.tasks_created,
        "attempts": result.figures.attempts,
        "events": result.events,
        "wall_s": rounded(result.wall_s),
        "cpu_s": rounded(cpu_s),
        "deciding_share": rounded(result.deciding_s / result.wall_s),
        "cpu_us_per_event": rounded(cpu_s * 1e6 / result.events),
        "peak_mib": rounded(peak_kib / KIB_PER_MIB),
        "violations": len(result.violations),
        "journal_hash": result.journal_hash[:16],
    }


def _timed(case: str, model: Callable[[list[Job]], int], jobs: list[Job]) -> Case:
    began_s = time.process_time()
    done = model(jobs)
    cpu_s = time.process_time() - began_s
    return {
        "case": case,
        "tasks": done,
        "cpu_s": rounded(cpu_s),
        "model_events_per_s": rounded(3 * done / cpu_s),  # a task comes, begins and ends
    }


def _jobs(random: Random) -> list[Job]:
    instants = sorted(random.randrange(DAY_US) for _ in range(N_TASKS))
    return [
        Job(at_us, random.randrange(5), round(random.expovariate(1 / MEAN_WORK_US)))
        for at_us in instants
    ]


def _on_timeline(jobs: list[Job]) -> int:
    timeline = Timeline()
    queue: list[tuple[int, int, int]] = []
    free = N_AGENTS
    done = 0

    def arrive(number: int, job: Job) -> None:
        heapq.heappush(queue, (job.priority, number, job.work_us))
        if number + 1 < len(jobs):
            timeline.at(jobs[number + 1].at_us, arrive, number + 1, jobs[number + 1])
        begin()

    def begin() -> None:
        nonlocal free
        while free and queue:
            free -= 1
            timeline.after(heapq.heappop(queue)[2], end)

    def end() -> None:
        nonlocal free, done
        free += 1
        done += 1
        begin()

    timeline.at(jobs[0].at_us, arrive, 0, jobs[0])
    while timeline.advance():
        pass
    return done


def _simpy() -> Any:
    try:
        return import_module("simpy")  # a development dependency, for this comparison alone
    except ImportError:
        return None


def _on_simpy(simpy: Any, jobs: list[Job]) -> int:
    """The way SimPy's own examples do it: a store by priority, and a process an agent."""
    environment = simpy.Environment()
    store = simpy.PriorityStore(environment)
    done = 0

    def arrivals() -> Any:
        for place, job in enumerate(jobs):
            yield environment.timeout(job.at_us - environment.now)
            yield store.put(simpy.PriorityItem((job.priority, place), job.work_us))

    def agent() -> Any:
        nonlocal done
        while True:
            item = yield store.get()
            yield environment.timeout(item.item)
            done += 1

    environment.process(arrivals())
    for _ in range(N_AGENTS):
        environment.process(agent())
    environment.run()
    return done
