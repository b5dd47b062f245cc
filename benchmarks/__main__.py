"""`python -m benchmarks NAME`: run one benchmark; without a name, list them."""

import time
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from benchmarks.report import Plan, Report, as_json, show

app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    help="Measure PM Agent beside its peers, on this machine. Ratios of one run hold still; "
    "absolute figures depend on the machine and on what else it does.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Seconds = Annotated[
    float | None, typer.Option(min=0.1, help="Length of one timed window; 3, quick 1.")
]
Runs = Annotated[int | None, typer.Option(min=1, help="Windows per case; 3, quick 1.")]
Quick = Annotated[bool, typer.Option("--quick", help="A rough figure in well under a minute.")]
NoRay = Annotated[bool, typer.Option("--no-ray", help="One process, without Ray.")]
Data = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="Where temporary data goes; default TMPDIR."),
]


@app.callback()
def main(context: typer.Context) -> None:
    """List the benchmarks when none is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def kernel(
    *,
    json: Json = False,
    seconds: Seconds = None,
    runs: Runs = None,
    quick: Quick = False,
    data: Data = None,
) -> None:
    """Durable lifecycles and claim cost in one process, next to PostgreSQL and Valkey."""
    from benchmarks import kernel as benchmark  # noqa: PLC0415 - each loads only what it needs

    _print(benchmark.run(_plan(seconds, runs, is_quick=quick), data), is_json=json)


@app.command()
def claim(
    *,
    json: Json = False,
    seconds: Seconds = None,
    runs: Runs = None,
    quick: Quick = False,
    data: Data = None,
    url: Annotated[str | None, typer.Option(help="A server that runs already.")] = None,
    token: Annotated[str, typer.Option(help="An administrator's token for it.")] = "",
    no_ray: NoRay = False,
) -> None:
    """Claims and lifecycles over HTTP from a load generator, next to PostgreSQL."""
    from benchmarks import claim as benchmark  # noqa: PLC0415 - as above

    plan = _plan(seconds, runs, is_quick=quick)
    _print(benchmark.run(plan, data, url=url, token=token, no_ray=no_ray), is_json=json)


@app.command()
def mcp(
    *,
    json: Json = False,
    seconds: Seconds = None,
    runs: Runs = None,
    quick: Quick = False,
    data: Data = None,
) -> None:
    """Claims over MCP in both eras, CPU by process, next to the SDK's own server."""
    from benchmarks import mcp as benchmark  # noqa: PLC0415 - as above

    _print(benchmark.run(_plan(seconds, runs, is_quick=quick), data), is_json=json)


@app.command()
def simulation(*, json: Json = False, runs: Runs = None, quick: Quick = False) -> None:
    """Simulated days of 10,000 tasks and 1,000 agents; the timeline next to SimPy."""
    from benchmarks import simulation as benchmark  # noqa: PLC0415 - as above

    _print(benchmark.measure(_plan(None, runs, is_quick=quick)), is_json=json)


@app.command()
def footprint(
    *,
    json: Json = False,
    runs: Runs = None,
    quick: Quick = False,
    data: Data = None,
    no_ray: NoRay = False,
) -> None:
    """Memory and time to start, with and without Ray; memory per waiting agent."""
    from benchmarks import footprint as benchmark  # noqa: PLC0415 - as above

    plan = _plan(None, runs, is_quick=quick)
    _print(benchmark.run(plan, data, no_ray=no_ray), is_json=json)


@app.command()
def push(
    *,
    json: Json = False,
    runs: Runs = None,
    quick: Quick = False,
    data: Data = None,
    no_ray: NoRay = False,
) -> None:
    """How soon a ready task reaches an agent that waits, with and without cut connections."""
    from benchmarks import push as benchmark  # noqa: PLC0415 - as above

    _print(benchmark.run(_plan(None, runs, is_quick=quick), data, no_ray=no_ray), is_json=json)


@app.command()
def scoring(*, json: Json = False, quick: Quick = False) -> None:
    """Cost of a learned score: of the scorer alone, in a claim beside rules, and of training."""
    from benchmarks import scoring as benchmark  # noqa: PLC0415 - as above

    _print(benchmark.run(is_quick=quick), is_json=json)


@app.command()
def chaos(
    *,
    minutes: Annotated[float, typer.Option(min=0.2, help="Length of the load.")] = 3.0,
    agents: Annotated[int, typer.Option(min=10, help="Agents at work.")] = 50,
    rate: Annotated[float, typer.Option(min=1, max=100, help="Commands a second.")] = 20.0,
    tasks: Annotated[int, typer.Option(min=100, help="Open tasks to begin with.")] = 10_000,
    seed: Annotated[
        int | None, typer.Option(help="Of the schedule; else 1, or the next one of --out.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind of fault; may be repeated.")
    ] = None,
    system: Annotated[
        Literal["pm-agent", "zpopmax", "zpopmax-aof"], typer.Option(help="Or a rival.")
    ] = "pm-agent",
    journal: Annotated[
        Literal["both", "sqlite", "postgres"],
        typer.Option(help="Where PM Agent keeps its journal; both: then a tenth on PostgreSQL."),
    ] = "both",
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Add this part to a folder of parts.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Sum up a folder of parts.")
    ] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Kill, freeze and cut off processes under load; exit 1 if anything promised was broken."""
    from benchmarks import chaos as benchmark  # noqa: PLC0415 - as above
    from benchmarks import chaos_crew, chaos_report  # noqa: PLC0415 - as above

    if report is not None:
        found = chaos_report.sum_parts(report)
    else:
        plan = chaos_crew.ChaosPlan(
            minutes=minutes,
            seed=seed or (chaos_report.next_seed(out) if out else 1),
            agents=agents,
            rate_per_s=rate,
            open_tasks=tasks,
            kinds=tuple(kind or ()),
        )
        started = int(time.time())
        if journal != "both":
            found = benchmark.run(plan, data, system=system, journal=journal, evidence=out)
        elif kind or system != "pm-agent":
            found = benchmark.run(plan, data, system=system, evidence=out)
        else:
            found = benchmark.run_both(plan, data, evidence=out)
        if out is not None:
            chaos_report.write_part(found, out, started)
    if json:
        typer.echo(chaos_report.as_json(found))
    else:
        chaos_report.show(found)
    if not found.passed:
        raise typer.Exit(1)


def _plan(seconds: float | None, runs: int | None, *, is_quick: bool) -> Plan:
    usual = Plan(seconds=1.0, runs=1, warm_up_s=0.5, is_quick=True) if is_quick else Plan()
    return msgspec.structs.replace(usual, seconds=seconds or usual.seconds, runs=runs or usual.runs)


def _print(report: Report, *, is_json: bool) -> None:
    if is_json:
        typer.echo(as_json(report))
    else:
        show(report)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
