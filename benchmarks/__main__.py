"""`python -m benchmarks NAME`: run one benchmark; without a name, list them."""

from pathlib import Path
from typing import Annotated

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
