"""What a benchmark hands back: one JSON shape for machines, one table for people.

Every number carries its unit in its name (``p99_ms``, ``lifecycles_per_s``). Progress goes to
standard error, so that ``--json`` leaves exactly one object on standard output.
"""

import math
from collections.abc import Sequence
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

Value = str | int | float
Case = dict[str, Value]  # "case" names it; the rest are numbers with unit suffixes, or a note

WIDEST = 8  # columns that a terminal of 100 characters holds

_progress = Console(stderr=True, highlight=False)


class Report(msgspec.Struct, kw_only=True):
    """Outcome of one benchmark.

    Attributes
    ----------
    cases, peers : list of dict
        What was measured of PM Agent, and of others in the same run.
    ratios : dict
        Names to quotients of two of these figures. On a busy machine only they hold still.
    """

    benchmark: str
    cases: list[Case] = []
    peers: list[Case] = []
    ratios: dict[str, float] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to measure.

    Attributes
    ----------
    seconds : float
        Length of one timed window.
    runs : int
        Windows per case; reported is their median.
    warm_up_s : float
        Length of the window before them, which is not counted.
    is_quick : bool
        Leave out what takes long.
    """

    seconds: float = 3.0
    runs: int = 3
    warm_up_s: float = 1.0
    is_quick: bool = False


def as_json(report: Report) -> str:
    """One JSON object on one line."""
    return msgspec.json.encode(report).decode()


def show(report: Report) -> None:
    """Print tables to standard output; cases with the same figures share one."""
    console = Console()
    for title, cases in (("cases", report.cases), ("peers", report.peers)):
        alike: dict[tuple[str, ...], list[Case]] = {}
        for case in cases:
            alike.setdefault(tuple(case), []).append(case)
        for group in alike.values():
            console.print(_table(f"{report.benchmark}: {title}", group))
    if report.ratios:
        table = Table("ratio", title=f"{report.benchmark}: ratios", title_justify="left")
        table.add_column("value", justify="right")
        for name, value in report.ratios.items():
            table.add_row(name, _text(value))
        console.print(table)


def progress(text: str) -> None:
    """Say on standard error what is being done."""
    _progress.print(text, style="dim")


def percentile(values: Sequence[float], share: float) -> float:
    """Smallest value that at least ``share`` of all values do not exceed; 0.0 of none.

    Examples
    --------
    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = math.ceil(round(share * len(ordered), 9))  # rounded: 0.07 * 100 is a little above 7
    return ordered[max(rank, 1) - 1]


def middle(runs: Sequence[Case]) -> Case:
    """Median of each number over several runs of one case; texts are taken from the last run."""
    merged: Case = dict(runs[-1])
    for name, value in merged.items():
        if isinstance(value, str):
            continue
        values = [number for run in runs if isinstance(number := run.get(name), int | float)]
        merged[name] = value if len(set(values)) == 1 else rounded(median(values))
    merged["runs"] = len(runs)
    return merged


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def number(cases: Sequence[Case], case: str, name: str) -> float | None:
    """Look up one figure; None when the case or the figure is missing."""
    for one in cases:
        if one["case"] == case:
            value = one.get(name)
            return None if value is None or isinstance(value, str) else float(value)
    return None


def add_ratio(report: Report, name: str, above: float | None, below: float | None) -> None:
    """Add a quotient, if both figures were measured."""
    if above is not None and below:
        report.ratios[name] = rounded(above / below)


def _table(title: str, cases: Sequence[Case]) -> Table:
    """One row a case; one column a case where there are many figures."""
    table = Table(title=title, title_justify="left")
    if len(cases[0]) > WIDEST:
        table.add_column("")
        for case in cases:
            table.add_column(_text(case["case"]), justify="right")
        for name in list(cases[0])[1:]:
            table.add_row(name, *(_text(case[name]) for case in cases))
        return table
    for name, value in cases[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for case in cases:
        table.add_row(*(_text(value) for value in case.values()))
    return table


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
