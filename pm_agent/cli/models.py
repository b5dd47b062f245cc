"""``pm-agent models``: train from the journal, look at the cards, choose the current version."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
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
    from models.card import Card
    from models.history import History
    from models.registry import Registry

app = typer.Typer(
    no_args_is_help=True, help="Train models from the journal, and choose which one is current."
)

Journal = Annotated[
    str, typer.Option(help="Path or URL of a journal. Default: that of the workspace.")
]
Name = Annotated[str, typer.Argument(help="Model, as 'pm-agent models list' shows it.")]


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show all stored versions, which of them are current, and what is wrong with damaged ones."""
    with refusals():
        registry = _registry(data)
        entries = registry.entries()
        stood_down = {n: why for n in registry.names() if (why := registry.why_stood_down(n))}
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
                ],
                "stood_down": stood_down,
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
    for name, why in stood_down.items():
        out.print(f"[yellow]{name} stood down, rules decide[/]: {why}", highlight=False)


@app.command()
def train(
    journal: Journal = "",
    seed: Annotated[int, typer.Option(help="Of sampling, for a repeatable result.")] = 0,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it current if it is better than all before it.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the assignment model; store it as a new version that is not current yet."""
    from models.learning import learn
    from models.train import NAME

    with refusals():
        lesson = learn(_history(journal, data), _registry(data), seed=seed, promotes=promote)
    card, version = lesson.trained.card, lesson.version
    if as_json:
        beats, is_current = card.beats_all_baselines, lesson.is_current
        print_json({"name": NAME, "version": version, "beats": beats, "is_current": is_current})
        return
    _show(card)
    if lesson.is_current:
        out.print(f"Stored as {NAME} {version}, and current.")
    else:
        out.print(
            f"Stored as {NAME} {version}. To use it: pm-agent models promote {NAME} {version}"
        )


@app.command()
def learn(journal: Journal = "", data: DataOption = None, as_json: JsonOption = False) -> None:
    """Do what the learner does each time: watch, follow the newest version, train, promote.

    It trains when enough attempts were judged since the last time, and promotes only what is
    better than every rule and the version before it.
    """
    from actors.lessons import learn_once

    settings = settings_with(data=data)
    with refusals():
        told = learn_once(settings, _history(journal, data))
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        out.print(f"{name:<22} {value}")


@app.command()
def compare(
    version: Annotated[str, typer.Argument(help="Version of the assignment model, such as v3.")],
    journal: Journal = "",
    logged: Annotated[
        bool,
        typer.Option("--logged", help="Judge what it said within claims (see PM_AGENT_SHADOW)."),
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="Write what it would have chosen, as a Parquet file.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a version choose beside the log: what it would have done, and what that is worth."""
    from actors.scorers import ModelShelf
    from models.learning import logged_shadow, save_shadow, shadow
    from models.train import NAME

    with refusals():
        stored = _registry(data).load(NAME, version)
        scorer = ModelShelf(settings_with(data=data)).load(version)
        history = _history(journal, data)
        found = (
            logged_shadow(history, version)
            if logged
            else shadow(history, stored, lambda facts: scorer.score(facts).values)
        )
    if log is not None:
        save_shadow(found, log)
    if as_json:
        print_json({"version": scorer.version} | found.told())
        return
    out.print(f"{scorer.version} beside {len(found.rows)} logged decisions; it decided none")
    out.print(f"  the same choice in   {found.agreement:.1%}")
    out.print(f"  accepted as chosen   {found.incumbent:.1%}")
    judged = found.challenger
    estimate = (judged.doubly_robust or judged.snips) if judged else None
    if judged and estimate:
        how = "doubly robust" if judged.doubly_robust else "SNIPS"
        out.print(
            f"  as it would choose   {estimate.value:.1%} ({estimate.low:.1%} to "
            f"{estimate.high:.1%}; {how}, {judged.effective_rows:.0f} effective rows)"
        )
    may_promote = found.told()["may_promote"]
    out.print("  better, beyond chance" if may_promote else "  not shown to be better")


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


@app.command("stand-down")
def stand_down(
    name: Name = "assignment",
    reason: Annotated[str, typer.Option(help="Shown by 'pm-agent models list'.")] = "by hand",
    data: DataOption = None,
) -> None:
    """Let rules decide until a version is promoted again."""
    with refusals():
        _registry(data).stand_down(name, reason)
    out.print(f"No version of {name} is current: rules decide.")


@app.command()
def watch(journal: Journal = "", data: DataOption = None, as_json: JsonOption = False) -> None:
    """See whether the world has drifted from what the current version learned; stand down if so."""
    from models.learning import watch

    with refusals():
        found = watch(_history(journal, data), _registry(data))
    if as_json:
        told = {"coverage": found.coverage, "psi": found.psi} if found else None
        print_json({"drift": told, "stood_down": bool(found and found.has_drifted)})
    elif found is None:
        out.print("Nothing to see: no current version, or too few later attempts.")
    else:
        worst = max(found.psi.values())
        verdict = "[red]stood down: rules decide[/]" if found.has_drifted else "no drift"
        out.print(f"80 % intervals hold {found.coverage:.1%}; largest PSI {worst:.2f}: {verdict}")


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
        _show(found)


def _history(journal: str, data: Path | None) -> "History":
    from models.dataset import load_history

    settings = settings_with(data=data)
    return load_history(journal or settings.history_place, settings.workspace)


def _registry(data: Path | None) -> "Registry":
    from models.registry import Registry

    return Registry(settings_with(data=data).data / "models")


def _show(card: "Card") -> None:
    from rich.markdown import Markdown  # 3 MiB, for a card alone

    out.print(Markdown(card.to_markdown()))
