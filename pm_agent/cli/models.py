"""``pm-agent models``: train from the journal, look at the cards, choose the current version."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    err,
    out,
    print_json,
    refusals,
    settings_with,
)

# The package ``models`` takes a second to load (pandas, LightGBM): a command does when it runs.
if TYPE_CHECKING:
    from models.registry import Registry

app = typer.Typer(
    no_args_is_help=True, help="Train models from the journal, and choose which one is current."
)

Name = Annotated[str, typer.Argument(help="Model, as 'pm-agent models list' shows it.")]


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show all stored versions, which of them are current, and what is wrong with damaged ones."""
    with refusals():
        entries = _registry(data).entries()
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": e.name,
                        "version": e.version,
                        "is_current": e.is_current,
                        "problem": e.problem,
                        "beats_all_baselines": bool(e.card and e.card.beats_all_baselines),
                    }
                    for e in entries
                ]
            }
        )
        return
    table = Table(
        "model", "version", "current", "judged on", "metric", "value", "better than rules"
    )
    for entry in entries:
        card = entry.card
        table.add_row(
            entry.name,
            entry.version,
            "yes" if entry.is_current else "",
            *(
                [str(card.n_evaluated), card.metric, str(card.model)]
                if card
                else ["", "", f"[red]{entry.problem}[/]"]
            ),
            "yes" if card and card.beats_all_baselines else "not shown",
        )
    out.print(table)


@app.command()
def train(
    journal: Annotated[
        str, typer.Option(help="Path or URL of a journal. Default: that of the workspace.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of sampling, for a repeatable result.")] = 0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the assignment model; store it as a new version that is not current yet."""
    from models.dataset import load_history
    from models.train import NAME, store, train_assignment

    settings = settings_with(data=data)
    place = journal or str(settings.journal_path)
    if not journal and settings.database_url is not None:
        place = settings.database_url.get_secret_value()
    with refusals():
        trained = train_assignment(load_history(place, settings.workspace), seed=seed)
        version = store(_registry(data), trained)
    if as_json:
        card = trained.card
        print_json({"name": NAME, "version": version, "beats": card.beats_all_baselines})
        return
    out.print(Markdown(trained.card.to_markdown()))
    out.print(f"Stored as {NAME} {version}. To use it: pm-agent models promote {NAME} {version}")


@app.command()
def promote(
    name: Name,
    version: Annotated[str, typer.Argument(help="Version, such as v3.")],
    force: Annotated[
        bool, typer.Option(help="Also when it was not shown to be better than simple rules.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Make a version the current one; refused unless its card shows it better than all rules."""
    registry = _registry(data)
    with refusals():
        card = registry.load(name, version).card
        if not card.beats_all_baselines and not force:
            err.print(f"[red]not_better[/]: {name} {version} was not shown to beat every rule.")
            err.print("  → Train it on more history, or decide for yourself with --force.")
            raise typer.Exit(1)
        registry.promote(name, version)
    out.print(f"{name} {version} is current.")


@app.command()
def rollback(name: Name, data: DataOption = None) -> None:
    """Go back to the version that was current before."""
    with refusals():
        version = _registry(data).rollback(name)
    out.print(f"{name} {version} is current.")


@app.command()
def card(
    name: Name,
    version: Annotated[str, typer.Argument(help="Version. Default: the current one.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a version's card: data, figures beside simple rules, limits."""
    with refusals():
        found = _registry(data).load(name, version or None).card
    if as_json:
        typer.echo(found.to_json())
    else:
        out.print(Markdown(found.to_markdown()))


def _registry(data: Path | None) -> "Registry":
    from models.registry import Registry

    return Registry(settings_with(data=data).data / "models")
