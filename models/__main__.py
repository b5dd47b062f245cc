"""`python -m models exam NAME`: judge the models on folders of real data."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from models import exam as exams
from models.errors import BadData

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Learn from history, and measure how good that is.",
)

ExamName = enum.StrEnum("ExamName", list(exams.EXAMS))  # type: ignore[misc]  # made from the table
Folder = Annotated[
    Path, typer.Option(exists=True, file_okay=False, help="Folder of parquet files.")
]


@app.callback()
def main() -> None:
    """Learn from history, and measure how good that is."""


@app.command()
def exam(
    name: ExamName,
    *,
    train: Folder,
    test: Folder,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit on one folder, walk another in time order, print how good the predictions were."""
    try:
        result = exams.run(name.value, train, test)
    except BadData as error:
        typer.echo(f"{error.code}: {error}", err=True)
        sys.exit(2)
    if json:
        typer.echo(exams.as_json(name.value, result))
    else:
        exams.show(name.value, result)


if __name__ == "__main__":
    app(prog_name="python -m models")
