"""Results on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from simulation.comparison import FIGURES, Comparison, Interval
from simulation.experiment import Result
from simulation.metrics import Spread
from simulation.replay import Day
from simulation.sizing import MAX_FACTOR, Sizing

if TYPE_CHECKING:
    from simulation.load import Found


def show(result: Result) -> None:
    """Print the figures of a run."""
    console, figures, scenario = Console(highlight=False), result.figures, result.scenario
    part = " (part of it)" if result.is_partial else ""
    console.print(f"[bold]{scenario.title or scenario.name}[/bold]{part}")
    console.print(
        f"{figures.tasks_created:,} tasks, {scenario.n_agents:,} agents, "
        f"{result.horizon_h:,.0f} h in {result.wall_s:.2f} s"
    )
    table = Table("", box=None, pad_edge=False)
    for name in ("mean", "p50", "p95", "p99"):
        table.add_column(name, justify="right")
    _row(table, "lead time, h", figures.lead_h)
    _row(table, "cycle time, h", figures.cycle_h)
    _row(table, "wait, s", figures.wait_s)
    console.print(table)
    console.print(
        f"done {figures.tasks_done:,} · dead letters {figures.tasks_dead:,} · "
        f"open {figures.tasks_open:,} · accepted though wrong {figures.wrong:,}"
    )
    console.print(
        f"attempts {figures.attempts:,} · first pass {figures.first_pass:.0%} · "
        f"throughput {figures.throughput_per_h:,.1f} an hour"
    )
    little = figures.little
    console.print(
        f"utilisation {figures.utilisation:.1%} · flow efficiency {figures.flow_efficiency:.0%} · "
        f"work in progress {figures.wip:,.1f}"
    )
    console.print(
        f"Little's law: L {little.wip:,.1f}, lambda W {little.rate_times_lead:,.1f} "
        f"(ratio {little.ratio:.3f})"
    )
    if scenario.asks_people:
        answers, count = figures.answer_min, scenario.people.count
        busy = f", {figures.people_busy:.0%} busy" if count else ""
        console.print(
            f"{people_of(count)}{busy} · minutes to an answer {_text(answers.p50)}, "
            f"p95 {_text(answers.p95)} · {figures.questions_open:,} questions open"
        )
    console.print(f"{figures.tokens / 1e6:,.1f} million tokens · {figures.cost_usd:,.0f} USD")
    console.print(
        f"seed {result.seed} · scenario {result.scenario_hash} · policy {result.policy}",
        style="dim",
    )
    console.print(f"journal {result.journal_hash}", style="dim", soft_wrap=True)
    console.print(f"{len(result.violations)} violations in {result.events:,} events", style="dim")


def people_of(count: int) -> str:
    """How many people answer, in words."""
    if not count:
        return "people without end"
    return f"{count:,} people" if count > 1 else "1 person"


def _row(table: Table, name: str, spread: Spread) -> None:
    table.add_row(name, *(_text(v) for v in (spread.mean, spread.p50, spread.p95, spread.p99)))


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show_comparison(comparison: Comparison) -> None:
    """Print figures of each policy, and its differences to the first."""
    console, first = Console(highlight=False), comparison.policies[0]
    table = Table("", box=None, pad_edge=False)
    for policy in comparison.policies:
        table.add_column(policy, justify="right")
    for policy in comparison.policies[1:]:
        table.add_column(f"{policy} - {first}", justify="right")
    for name, title in FIGURES.items():
        row = [_interval(comparison.means[policy][name]) for policy in comparison.policies]
        for policy in comparison.policies[1:]:
            difference = comparison.differences[policy][name]
            style = "bold" if difference.is_clear else "dim"
            row.append(f"[{style}]{_interval(difference)}[/{style}]")
        table.add_row(title, *row)
    scenario = comparison.scenario
    console.print(f"[bold]{scenario.title or scenario.name}[/bold]")
    console.print(table)
    console.print(
        f"{len(comparison.seeds)} replications, common random numbers, paired 95 % intervals; "
        "bold: 0 lies outside",
        style="dim",
    )
    seeds = f"{comparison.seeds[0]}..{comparison.seeds[-1]}" if comparison.seeds else "none"
    console.print(f"seeds {seeds} · scenario {comparison.scenario_hash}", style="dim")


def _interval(found: Interval) -> str:
    return f"{_text(found.mean)} ± {_text(found.half)}"


def show_sizing(sizing: Sizing) -> None:
    """Print the smallest team found, or the fewest people."""
    console = Console(highlight=False)
    if sizing.find == "people":
        _show_people(console, sizing)
        return
    if not sizing.team and sizing.is_partial:
        console.print(f"No team was enough up to then; {len(sizing.tries)} were tried.")
        return
    if not sizing.team:
        best = min(sizing.tries, key=lambda one: one.value, default=None)
        console.print(f"No team of up to {MAX_FACTOR} times this size reaches {sizing.goal}.")
        if best is not None:
            console.print(f"Best value seen: {best.value:.4g}. More agents do not help: look at")
            console.print(
                "what is serial: long tasks, chains of dependencies, reviews, rejections."
            )
        return
    table = Table("group", box=None, pad_edge=False)
    table.add_column("agents", justify="right")
    for name, count in sizing.team.items():
        table.add_row(name, f"{count:,}")
    table.add_row("[bold]all[/bold]", f"[bold]{sum(sizing.team.values()):,}[/bold]")
    part = " (part of the search)" if sizing.is_partial else ""
    console.print(f"[bold]{sizing.goal}[/bold] is reached: {sizing.value:.4g}{part}")
    console.print(table)
    console.print(
        f"{len(sizing.tries)} teams tried · seeds {sizing.seeds} · policy {sizing.policy} · "
        f"scenario {sizing.scenario_hash}",
        style="dim",
    )


def _show_people(console: Console, sizing: Sizing) -> None:
    part = " (part of the search)" if sizing.is_partial else ""
    if sizing.people:
        console.print(f"[bold]{sizing.goal}[/bold] is reached: {sizing.value:.4g}{part}")
        console.print(f"[bold]{people_of(sizing.people)}[/bold] to answer, and no fewer.")
    else:
        console.print(f"No number of people reaches {sizing.goal}{part}.")
        if not sizing.is_partial:
            best = min(sizing.tries, key=lambda one: one.people)
            console.print(
                f"With people without end it is {best.value:.4g}: what is left is how long a "
                "question lies until somebody turns to it, and the team."
            )
    console.print(
        f"{len(sizing.tries)} numbers tried · seeds {sizing.seeds} · policy {sizing.policy} · "
        f"scenario {sizing.scenario_hash}",
        style="dim",
    )


def show_replay(day: Day, results: Sequence[Result]) -> None:
    """Print the day as it was and as it would have been."""
    console = Console(highlight=False)
    table = Table("", box=None, pad_edge=False)
    for name in ("done", "lead h, mean", "lead h, p95", "wait s, mean", "wait s, p95"):
        table.add_column(name, justify="right")
    rows = [("recorded", day.n_done, day.lead_h, day.wait_s)]
    rows += [(r.policy, r.figures.tasks_done, r.figures.lead_h, r.figures.wait_s) for r in results]
    for name, n_done, lead_h, wait_s in rows:
        values = (lead_h.mean, lead_h.p95, wait_s.mean, wait_s.p95)
        table.add_row(name, f"{n_done:,}", *map(_text, values))
    console.print(f"[bold]{day.scenario.title}[/bold]: {len(day.agents):,} agents")
    console.print(table)
    for result in results:
        console.print(
            f"{result.policy}: journal {result.journal_hash}", style="dim", soft_wrap=True
        )


def show_load(found: "Found") -> None:
    """Print what a live server did under load."""
    console = Console(highlight=False)
    console.print(
        f"[bold]{found.agents:,} agents over {found.over.upper()}, "
        f"{found.tasks_per_day:,.0f} tasks a day x{found.speed:g}[/bold], "
        f"{found.minutes:.2f} minutes{' (part of it)' if found.is_partial else ''}"
    )
    table = Table("", box=None, pad_edge=False)
    for name in ("mean", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    for name, one in (
        ("assignment, ms", found.assignment_ms),
        ("load generator late, ms", found.client_late_ms),
    ):
        table.add_row(name, *map(_text, (one.mean, one.p50, one.p95, one.p99, one.max)))
    console.print(table)
    console.print(
        f"created {found.created:,} · done {found.done:,} · {found.done_per_min:,.1f} a minute · "
        f"{found.errors} errors · {found.doubles} doubles"
    )
    console.print(
        f"simulated: {found.simulated_per_min:,.1f} a minute · "
        f"mean wait {found.simulated_wait_ms:,.1f} ms"
    )
