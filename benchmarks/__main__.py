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
    float | None, typer.Option(min=0.1, help="Length of one timed window; 4, quick 1.")
]
Runs = Annotated[int | None, typer.Option(min=1, help="Windows per case; 3, quick 1.")]
Quick = Annotated[bool, typer.Option("--quick", help="A rough figure in well under a minute.")]
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
