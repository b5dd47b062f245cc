"""`python -m simulation`: what-if questions, and the rules under faults, in virtual time."""

import os
import time
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulation import commands
from simulation.check import Outcome, Plan
from simulation.faults import CHANCES
from simulation.seeds import Report, report_on, run_all
from simulation.shrink import command_of, shrink

app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    help="The rules of PM Agent in virtual time: the very engine that serves real agents, with "
    "made-up agents, a network that lies and processes that die.",
)
errors = Console(stderr=True)


@app.callback()
def main(context: typer.Context) -> None:
    """Without a command, run the default scenario."""
    if context.invoked_subcommand is None:
        commands.run_command()


commands.add_to(app)


@app.command()
def check(
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from --first on.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Steps under faults, per seed.")] = 5_000,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Only this seed.")] = None,
    agents: Annotated[int, typer.Option(min=0, help="0: drawn from the seed.")] = 0,
    tasks: Annotated[int, typer.Option(min=0, help="Open at a time; 0: drawn.")] = 0,
    without: Annotated[str, typer.Option(help="Kinds of faults to leave out, by comma.")] = "",
    only: Annotated[str, typer.Option(help="Kinds of faults to leave in, by comma.")] = "",
    liveness: Annotated[
        bool, typer.Option(help="Afterwards stop the faults and see everything converge.")
    ] = True,
    shrinks: Annotated[
        bool, typer.Option("--shrink/--no-shrink", help="Make the first failure small.")
    ] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; all processors.")] = (
        os.cpu_count() or 1
    ),
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, the same every time.")
    ] = False,
) -> None:
    """Watch every promise under faults, and everything converge after them. Fails on a violation.

    The same seeds and steps give the same journals: `journal_hash` covers all of them.
    """
    kept = _kinds(only, "--only") or CHANCES
    left_out = _kinds(without, "--without")
    kinds = tuple(kind for kind in CHANCES if kind in left_out or kind not in kept)
    chosen = range(first, first + seeds) if seed is None else [seed]
    plans = [Plan(one, steps, agents, tasks, kinds, liveness) for one in chosen]
    began_s = time.perf_counter()
    outcomes = _run(plans, jobs)
    wall_s = time.perf_counter() - began_s
    report = report_on(outcomes)
    report.is_partial = len(outcomes) < len(plans)
    failed = next((outcome for outcome in outcomes if outcome.violations), None)
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        _show(report)
    n_steps = report.steps + report.steps_after
    errors.print(f"{n_steps:,} steps in {wall_s:.1f} s, {n_steps / wall_s:,.0f} a second")
    if failed is not None:
        _explain(failed, shrinks=shrinks)
        raise typer.Exit(1)
    commands.end_if_partial(is_partial=report.is_partial)


def _kinds(words: str, option: str) -> frozenset[str]:
    kinds = frozenset(word.strip() for word in words.split(",") if word.strip())
    unknown = sorted(kinds - CHANCES.keys())
    if unknown:
        message = f"no such fault: {', '.join(unknown)}; there are {', '.join(CHANCES)}"
        raise typer.BadParameter(message, param_hint=option)
    return kinds


def _run(plans: list[Plan], jobs: int) -> list[Outcome]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("seeds", total=len(plans))
        outcomes: list[Outcome] = []
        try:
            for outcome in run_all(plans, jobs):
                outcomes.append(outcome)
                progress.advance(bar)
        except KeyboardInterrupt:  # what was seen up to then is told, too
            if not outcomes:
                raise
    return outcomes


def _show(report: Report) -> None:
    days = report.virtual_s / 86_400
    print(
        f"{report.seeds} seeds, {report.steps:,} steps under faults, {report.steps_after:,} after"
    )
    print(f"{days:,.0f} virtual days, {sum(report.events.values()):,} events")
    print(f"{report.commands:,} commands: {report.accepted:,} accepted, {report.refused:,} refused")
    n_effective = len(report.coverage) - len(report.never_effective)
    missing = f"; none had {', '.join(report.never_effective)}" if report.never_effective else ""
    print(f"{n_effective} of {len(report.coverage)} kinds of commands had an effect{missing}")
    n_faults = sum(report.faults.values())
    print(f"{n_faults:,} faults: " + ", ".join(f"{k} {n:,}" for k, n in report.faults.items()))
    print(f"journal {report.journal_hash}")
    print(f"{report.violations} violations")
    for finding in report.findings[:20]:
        print(f"  seed {finding.seed}, step {finding.step}: {finding.invariant}: {finding.detail}")


def _explain(failed: Outcome, *, shrinks: bool) -> None:
    """Tell how to see it again, as small as it gets."""
    one = failed.violations[0]
    errors.print(
        f"\nseed {failed.plan.seed}, step {failed.step}: {one.invariant}", style="bold red"
    )
    errors.print(one.detail, markup=False)
    errors.print(f"  {command_of(failed.plan)}", markup=False, soft_wrap=True)
    if not shrinks:
        return
    with errors.status("making it smaller"):
        small = shrink(failed)
    one = small.violations[0]
    errors.print(f"smaller, step {small.step}: {one.invariant}: {one.detail}", markup=False)
    errors.print(f"  {command_of(small.plan)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    app(prog_name="python -m simulation")
