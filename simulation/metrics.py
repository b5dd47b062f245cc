"""What a run says: the usual figures of flow, by their usual definitions.

lead time
    created to done (kanban's "lead time", queueing theory's time in system).
cycle time
    first assignment to done.
restricted lead time
    the same over all tasks, at most the horizon: what is not done counts as the whole of it. The
    mean over done tasks alone falls when the long ones are never done.
wait
    ready for the first time to first assignment: time in queue.
flow efficiency
    share of the lead time of done tasks in which somebody worked on them.
utilisation
    share of the agents' places that held a task; the time away counts as not held.
answer
    asking a person to the answer, of those asked after the warm-up and answered.
people busy
    share of their time that answers took; 0 where their attention has no end.
throughput
    tasks done per hour.
work in progress
    tasks created and not ended, averaged over time.

Only tasks created after the warm-up count, and what is not over at the horizon is not in the
averages of what is. Little's law, L = lambda W, compares two ways to the same number: L is read off
the sampled board, lambda W is computed from the tasks.

References
----------
Royston, Parmar, "Restricted mean survival time", BMC Medical Research Methodology 13, 2013.
Little, "A Proof for the Queuing Formula L = lambda W", Operations Research 9, 1961. Anderson,
"Kanban", 2010.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.task import PRIORITIES
from pm_agent.domain.time import HOUR_US, MINUTE_US, SECOND_US
from simulation.ledger import ENDS, NEVER, Ledger
from simulation.scenario import Scenario

HIGHEST = len(PRIORITIES) - 1

Floats = NDArray[np.float64]


class Spread(msgspec.Struct, frozen=True):
    """Mean and percentiles of a figure; all 0 when there was nothing to measure."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class Little(msgspec.Struct, frozen=True):
    """Both sides of Little's law, in tasks."""

    wip: float  # L, read off the board
    rate_times_lead: float  # lambda W
    ratio: float  # near 1 in a long steady run; below while a backlog grows


class Figures(msgspec.Struct, frozen=True):
    """Figures of one run."""

    tasks_created: int
    tasks_done: int
    tasks_dead: int
    tasks_open: int
    attempts: int
    wrong: int  # accepted although they were not right
    lead_h: Spread
    restricted_lead_h: float
    cycle_h: Spread
    wait_s: Spread
    urgent_wait_s: Spread  # of tasks of the highest priority
    flow_efficiency: float
    utilisation: float
    throughput_per_h: float
    wip: float
    little: Little
    first_pass: float  # share of done tasks that took one attempt
    tokens: int
    cost_usd: float
    work_per_usd: float  # human hours of done tasks, for each dollar
    answer_min: Spread
    questions_open: int  # nobody has answered them at the end
    people_busy: float


class Tables:
    """A ledger's columns as arrays by their names; instants in microseconds since the start.

    Each is read when it is asked for: those of a year do not fit into memory all at once.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._ledger.column(name)

    @property
    def is_done(self) -> NDArray[np.bool_]:
        return np.asarray(self.end == ENDS.index("done"))

    def lead_h(self, counted: NDArray[np.bool_]) -> Floats:
        """Lead times of the done ones among these tasks."""
        done = counted & self.is_done
        return np.asarray((self.ended_us[done] - self.created_us[done]) / HOUR_US)

    def wait_s(self, counted: NDArray[np.bool_]) -> Floats:
        """Times in queue of the started ones among these tasks."""
        started = counted & (self.started_us != NEVER)
        return np.asarray((self.started_us[started] - self.ready_us[started]) / SECOND_US)


def figures_of(scenario: Scenario, ledger: Ledger, end_us: int) -> Figures:
    """Compute all figures of a run that ended at an instant since its start."""
    tables = Tables(ledger)
    warm_us = min(round(scenario.warm_up_h * HOUR_US), end_us)
    counted = tables.created_us >= warm_us
    done = counted & tables.is_done
    span_h = max(end_us - warm_us, 1) / HOUR_US
    held_us = float(_within(tables.from_us, tables.to_us, warm_us, end_us).sum())
    places = sum(group.count * group.capacity for group in scenario.team)
    worked_us = float(_worked_us(tables, len(counted), end_us)[done].sum())
    tokens = int(tables.tokens.sum())
    n_done = int(done.sum())
    cost_usd = tokens * scenario.behaviour.usd_per_million_tokens / 1e6
    done_h = float(tables.human_min[tables.is_done].sum()) / 60
    lead_h = tables.lead_h(counted)
    leads, total_lead_us = spread(lead_h), float(lead_h.sum()) * HOUR_US
    del lead_h  # of a year it is as large as a column
    wip, rate = _wip(ledger, warm_us), float(counted.sum()) / span_h
    rate_times_lead = rate * _mean_stay_h(tables, counted)
    return Figures(
        tasks_created=int(counted.sum()),
        tasks_done=n_done,
        tasks_dead=int((counted & (tables.end == ENDS.index("dead_letter"))).sum()),
        tasks_open=int((counted & (tables.end == ENDS.index("open"))).sum()),
        attempts=int(counted[tables.task - 1].sum()) if len(counted) else 0,
        wrong=int((counted & (tables.is_wrong > 0)).sum()),
        lead_h=leads,
        restricted_lead_h=_rounded(_restricted_lead_h(tables, counted, scenario.horizon_h)),
        cycle_h=spread((tables.ended_us[done] - tables.started_us[done]) / HOUR_US),
        wait_s=spread(tables.wait_s(counted)),
        urgent_wait_s=spread(tables.wait_s(counted & (tables.priority == HIGHEST))),
        flow_efficiency=_rounded(worked_us / total_lead_us if n_done else 0),
        utilisation=_rounded(held_us / (places * max(end_us - warm_us, 1))),
        throughput_per_h=_rounded(float(tables.is_done[tables.ended_us >= warm_us].sum()) / span_h),
        wip=_rounded(wip),
        little=Little(
            _rounded(wip),
            _rounded(rate_times_lead),
            _rounded(rate_times_lead / wip if wip else 0),
        ),
        first_pass=_rounded(float((tables.attempts[done] == 1).mean()) if n_done else 0),
        tokens=tokens,
        cost_usd=_rounded(cost_usd),
        work_per_usd=_rounded(done_h / cost_usd if cost_usd else 0),
        answer_min=spread(tables.waited_us[tables.asked_us >= warm_us] / MINUTE_US),
        questions_open=ledger.n_questions_open,
        people_busy=_rounded(_people_busy(scenario, tables, warm_us, end_us)),
    )


def spread(values: Floats) -> Spread:
    """Mean and percentiles, linear between neighbours."""
    if not len(values):
        return Spread(0, 0, 0, 0, 0)
    percentiles = np.percentile(values, (50, 95, 99, 100))
    return Spread(*(_rounded(float(v)) for v in (values.mean(), *percentiles)))


def figure(figures: Figures, name: str) -> float:
    """One figure by a short name: ``utilisation``, ``p95_lead_h``, ``mean_wait_s``.

    Raises
    ------
    KeyError
        There is no such figure; the message lists those there are.
    """
    part, _, rest = name.partition("_")
    found: Any = getattr(figures, name, None)
    if part in Spread.__struct_fields__:
        found = getattr(getattr(figures, rest, None), part, None)
    if isinstance(found, int | float):
        return float(found)
    raise KeyError(f"no figure {name!r}; there are {', '.join(figure_names())}")


def figure_names() -> list[str]:
    """Short names of all figures."""
    names = []
    for field in msgspec.structs.fields(Figures):
        if field.type is Spread:
            names += [f"{part}_{field.name}" for part in Spread.__struct_fields__]
        elif field.type in (int, float):
            names.append(field.name)
    return names


def _within(from_us: Any, to_us: Any, first_us: int, last_us: int) -> Floats:
    """Length of spans inside a window; a span that has not ended lasts to its end."""
    inside = np.where(to_us == NEVER, last_us, to_us).clip(first_us, last_us)
    inside -= from_us.clip(first_us, last_us)
    return np.asarray(inside, dtype=np.float64)


def _worked_us(tables: Tables, n_tasks: int, end_us: int) -> Floats:
    """How long each task was worked on, (n_tasks,)."""
    spans_us = _within(tables.from_us, tables.to_us, 0, end_us)
    return np.asarray(np.bincount(tables.task - 1, spans_us, n_tasks), dtype=np.float64)


def _restricted_lead_h(tables: Tables, counted: NDArray[np.bool_], horizon_h: float) -> float:
    if not counted.any():
        return 0.0
    lead_h = (tables.ended_us[counted] - tables.created_us[counted]) / HOUR_US
    return float(np.where(tables.is_done[counted], lead_h, horizon_h).clip(max=horizon_h).mean())


def _mean_stay_h(tables: Tables, counted: NDArray[np.bool_]) -> float:
    """Mean time in system of counted tasks that have ended, however."""
    ended = counted & (tables.ended_us != NEVER)
    if not ended.any():
        return 0.0
    return float((tables.ended_us[ended] - tables.created_us[ended]).mean()) / HOUR_US


def _people_busy(scenario: Scenario, tables: Tables, warm_us: int, end_us: int) -> float:
    if not scenario.people.count:
        return 0.0
    to_us = tables.asked_us + tables.waited_us
    worked_us = float(_within(to_us - tables.worked_us, to_us, warm_us, end_us).sum())
    return worked_us / (scenario.people.count * max(end_us - warm_us, 1))


def _wip(ledger: Ledger, warm_us: int) -> float:
    inside = [
        s.open + s.assigned + s.blocked + s.in_review for s in ledger.samples if s.at_us >= warm_us
    ]
    return float(np.mean(inside)) if inside else 0.0


def _rounded(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")
