"""Files of a result: tables for notebooks (Parquet), and a page for people (HTML with pictures).

The page needs nothing else: charts are inline SVG, and it loads without a network. Every picture
says its seed, the hash of its scenario and the version of the policy.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pm_agent.domain.time import HOUR_US
from simulation import charts
from simulation.charts import Bound, Series
from simulation.comparison import FIGURES, Comparison
from simulation.experiment import Result
from simulation.ledger import ENDS, NEVER, OUTCOMES, Sample
from simulation.metrics import Tables

BINS = 24
MIN_LEAD_H = 1 / 60

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 2rem auto;
  padding: 0 1rem; }
figure { margin: 0; } figcaption { font-size: 12px; opacity: .7; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr));
  gap: 2rem; }
h2 { font-size: 1.05rem; margin: 0 0 .3rem; } svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.grid { stroke: var(--line); } .zero { stroke: currentColor; } polyline { stroke-width: 1.6; }
table { border-collapse: collapse; margin: 1rem 0 2rem; }
td, th { padding: .2rem 1rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; } .partial { color: #b3434b; }
"""


def write(result: Result, folder: Path) -> list[Path]:
    """Write tasks, attempts and time series as Parquet, and the page; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "seed": str(result.seed),
        "scenario_hash": result.scenario_hash,
        "journal_hash": result.journal_hash,
        "policy": result.policy,
        "partial": str(result.is_partial).lower(),
    }
    tables = {"tasks": _tasks(result), "attempts": _attempts(result), "series": _series(result)}
    paths = []
    for name, columns in tables.items():
        path = folder / f"{name}.parquet"
        pq.write_table(pa.table(columns).replace_schema_metadata(about), path)
        paths.append(path)
    (folder / "result.json").write_bytes(msgspec.json.encode(result.as_dict()))
    (folder / "report.html").write_text(page(result))
    return [*paths, folder / "result.json", folder / "report.html"]


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write the page of a comparison; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "comparison.html"
    path.write_text(comparison_page(comparison))
    return path


# -- tables ------------------------------------------------------------------------------------


def _tasks(result: Result) -> dict[str, Any]:
    tables = Tables(result.ledger)
    projects = np.array([project.name for project in result.scenario.projects])
    return {
        "number": np.arange(1, len(tables.created_us) + 1),
        "project": projects[tables.project],
        "priority": tables.priority,
        "human_min": tables.human_min,
        "created_h": tables.created_us / HOUR_US,
        "ready_h": _hours(tables.ready_us),
        "started_h": _hours(tables.started_us),
        "ended_h": _hours(tables.ended_us),
        "state": np.array(ENDS)[tables.end],
        "attempts": tables.attempts,
        "is_wrong": tables.is_wrong > 0,
    }


def _attempts(result: Result) -> dict[str, Any]:
    tables = Tables(result.ledger)
    names = np.array(
        [g.name for g in result.scenario.team for _ in range(g.count)]
    )  # (n_agents,), the group of each
    return {
        "task": tables.task,
        "agent": tables.agent,
        "group": names[tables.agent],
        "from_h": tables.from_us / HOUR_US,
        "to_h": _hours(tables.to_us),
        "outcome": np.array(OUTCOMES)[tables.outcome],
        "tokens": tables.tokens,
    }


def _series(result: Result) -> dict[str, Any]:
    samples = result.ledger.samples
    return {name: [getattr(s, name) for s in samples] for name in Sample._fields}


def _hours(instants_us: Any) -> Any:
    """Hours since the start; missing where it never happened."""
    return pa.array(instants_us / HOUR_US, mask=instants_us == NEVER)


# -- the page ----------------------------------------------------------------------------------


def page(result: Result) -> str:
    """HTML of one run."""
    samples = result.ledger.samples
    hours = [s.at_us / HOUR_US for s in samples]
    places = sum(g.count for g in result.scenario.team)
    about = (
        f"seed {result.seed} · scenario {result.scenario_hash} · policy {result.policy}"
        f"{' · part of the run' if result.is_partial else ''}"
    )
    figures = [
        ("Lead time of done tasks", _lead_histogram(result)),
        (
            "Cumulative flow",
            charts.areas(
                hours,
                [
                    Series("ended", [s.done + s.dead for s in samples]),
                    Series("in review", [s.in_review for s in samples]),
                    Series("blocked", [s.blocked for s in samples]),
                    Series("assigned", [s.assigned for s in samples]),
                    Series("open", [s.open for s in samples]),
                ],
                x_name="hours",
                y_name="tasks",
            ),
        ),
        (
            "Agents: at work, waiting, away",
            charts.areas(
                hours,
                [
                    Series("at work", [s.busy for s in samples]),
                    Series("waiting", [max(0, s.here - s.busy) for s in samples]),
                    Series("away", [places - s.here for s in samples]),
                ],
                x_name="hours",
                y_name="agents",
            ),
        ),
        (
            "Utilisation",
            charts.lines(
                hours,
                [Series("at work", [100 * s.busy / places for s in samples])],
                x_name="hours",
                y_name="% of agents",
                top=100,
            ),
        ),
        (
            "Queue",
            charts.lines(
                hours,
                [
                    Series("open", [s.open for s in samples]),
                    Series("ready", [s.ready for s in samples]),
                ],
                x_name="hours",
                y_name="tasks",
            ),
        ),
        ("Ageing: work in progress", _ageing(result, hours)),
    ]
    title = result.scenario.title or result.scenario.name
    return _html(title, about, _summary(result), figures, is_partial=result.is_partial)


def _lead_histogram(result: Result) -> str:
    """Bars on a logarithmic scale: lead times are spread over decades."""
    tables = Tables(result.ledger)
    lead_h = np.maximum(tables.lead_h(np.ones(len(tables.created_us), dtype=bool)), MIN_LEAD_H)
    highest = max(float(lead_h.max()) if len(lead_h) else 1.0, 10 * MIN_LEAD_H)
    edges = np.geomspace(MIN_LEAD_H, highest * 1.001, BINS + 1)
    counts, _ = np.histogram(lead_h, edges)
    return charts.histogram(
        counts.tolist(), edges.tolist(), x_name="hours, logarithmic", y_name="tasks"
    )


def _ageing(result: Result, hours: Sequence[float]) -> str:
    """Age of what is open at each sample: the median and the oldest."""
    tables = Tables(result.ledger)
    ended = np.where(tables.ended_us == NEVER, np.iinfo(np.int64).max, tables.ended_us)
    middle, oldest = [], []
    for hour in hours:
        now_us = hour * HOUR_US
        ages_h = (
            now_us - tables.created_us[(tables.created_us <= now_us) & (ended > now_us)]
        ) / HOUR_US
        middle.append(float(np.median(ages_h)) if len(ages_h) else 0.0)
        oldest.append(float(ages_h.max()) if len(ages_h) else 0.0)
    series = [Series("median", middle), Series("oldest", oldest)]
    return charts.lines(hours, series, x_name="hours", y_name="age, hours")


def _summary(result: Result) -> str:
    figures = result.figures
    spreads = [
        ("lead time, hours", figures.lead_h),
        ("cycle time, hours", figures.cycle_h),
        ("wait, seconds", figures.wait_s),
    ]
    if result.scenario.asks_people:
        spreads.append(("answer of a person, minutes", figures.answer_min))
    rows = [
        [name, *(charts.number(v) for v in (s.mean, s.p50, s.p95, s.p99))] for name, s in spreads
    ]
    single = [
        ["tasks created", f"{figures.tasks_created:,}"],
        ["tasks done", f"{figures.tasks_done:,}"],
        ["dead letters", f"{figures.tasks_dead:,}"],
        ["open at the end", f"{figures.tasks_open:,}"],
        ["accepted though wrong", f"{figures.wrong:,}"],
        ["done at the first attempt", f"{figures.first_pass:.0%}"],
        ["utilisation", f"{figures.utilisation:.1%}"],
        ["flow efficiency", f"{figures.flow_efficiency:.0%}"],
        ["throughput an hour", charts.number(figures.throughput_per_h)],
        ["Little's law, lambda W / L", f"{figures.little.ratio:.3f}"],
        ["cost, USD", f"{figures.cost_usd:,.0f}"],
        ["broken promises", str(len(result.violations))],
    ]
    if result.scenario.asks_people:
        count = result.scenario.people.count
        single.append(["people busy", f"{figures.people_busy:.1%}" if count else "without end"])
        single.append(["questions open at the end", f"{figures.questions_open:,}"])
    return _table(["", "mean", "p50", "p95", "p99"], rows) + _table(["", ""], single)


def comparison_page(comparison: Comparison) -> str:
    """HTML of a comparison."""
    seeds = f"{comparison.seeds[0]} to {comparison.seeds[-1]}" if comparison.seeds else "none"
    about = (
        f"seeds {seeds} · scenario {comparison.scenario_hash} · "
        f"policies {', '.join(comparison.policies)} · common random numbers, 95 % intervals"
    )
    first = comparison.policies[0]
    rows = [
        [
            title,
            *(_bound(comparison.means[p][name]) for p in comparison.policies),
            *(_bound(comparison.differences[p][name]) for p in comparison.policies[1:]),
        ]
        for name, title in FIGURES.items()
    ]
    head = ["", *comparison.policies, *(f"{p} - {first}" for p in comparison.policies[1:])]
    figures = [
        (
            title[0].upper() + title[1:],
            charts.intervals(
                [
                    Bound(
                        p,
                        comparison.differences[p][name].mean,
                        comparison.differences[p][name].half,
                    )
                    for p in comparison.policies[1:]
                ],
                x_name=f"difference to {first}",
            ),
        )
        for name, title in FIGURES.items()
    ]
    name = comparison.scenario.title or comparison.scenario.name
    title = f"{name}: {' and '.join(comparison.policies)}"
    return _html(title, about, _table(head, rows), figures, is_partial=comparison.is_partial)


def _bound(found: Any) -> str:
    return f"{charts.number(found.mean)} ± {charts.number(found.half)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _html(
    title: str, about: str, summary: str, figures: Sequence[tuple[str, str]], *, is_partial: bool
) -> str:
    warning = '<p class="partial">Interrupted: this is a part of it.</p>' if is_partial else ""
    drawn = "".join(
        f"<figure><h2>{escape(name)}</h2>{svg}<figcaption>{escape(about)}</figcaption></figure>"
        for name, svg in figures
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p>{warning}{summary}<main>{drawn}</main></html>"
    )
