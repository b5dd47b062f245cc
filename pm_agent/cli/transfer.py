"""``pm-agent export | import | backup``: a workspace leaves its journal, and enters another one."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from pm_agent.adapters.journal_jsonl import (
    Moved,
    Tell,
    export_workspace,
    import_workspace,
    is_export,
)
from pm_agent.bootstrap import journal_place, open_journal, open_journal_readonly
from pm_agent.cli.board import import_tasks
from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    TokenOption,
    UrlOption,
    events_bar,
    out,
    print_json,
    refusals,
    settings_with,
)
from pm_agent.settings import Settings


def export(
    target: Annotated[Path, typer.Argument(help="New file; JSON lines.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the workspace to a file, to import it elsewhere; the server may run.

    Begun again with the same file name, it goes on where it was interrupted.
    """
    settings = settings_with(data=data)
    with refusals(), events_bar("export") as tell:
        moved = asyncio.run(_export(settings, target, tell))
    _show(moved, "exported to", str(target), as_json=as_json)


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="From 'pm-agent export'; or a backlog: JSON list, {'tasks': […]}, JSON lines.",
        ),
    ],
    project: Annotated[
        str | None,
        typer.Option(help="Of a backlog: project id, or the name of a new one."),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import an exported workspace into an empty journal, or a backlog into a running server.

    An interrupted import of a workspace goes on where it was when begun again. No server may run
    on that journal.
    """
    if not is_export(file):
        if project is None:
            raise typer.BadParameter("A backlog needs a project.", param_hint="--project")
        import_tasks(file, project, url, token, data, as_json)
        return
    if project is not None:
        raise typer.BadParameter("A workspace brings its own projects.", param_hint="--project")
    settings = settings_with(data=data)
    with refusals(), events_bar("import") as tell:
        moved = asyncio.run(_import(settings, file, tell))
    _show(moved, "imported into", journal_place(settings), as_json=as_json)


def backup(
    target: Annotated[Path, typer.Argument(help="New file for the copy, a SQLite journal.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a consistent copy of the journal while it is in use."""
    settings = settings_with(data=data)
    with refusals():
        position = asyncio.run(_backup(settings, target))
    if as_json:
        print_json({"path": str(target), "position": position})
    else:
        out.print(f"{target}: {position} events. Check it with 'pm-agent verify --data FOLDER'.")


async def _export(settings: Settings, target: Path, tell: Tell) -> Moved:
    journal = open_journal_readonly(settings)
    try:
        return await export_workspace(journal, settings.workspace, target, tell)
    finally:
        await journal.close()


async def _import(settings: Settings, file: Path, tell: Tell) -> Moved:
    journal = open_journal(settings)
    try:
        return await import_workspace(journal, settings.workspace, file, tell)
    finally:
        await journal.close()


async def _backup(settings: Settings, target: Path) -> int:
    journal = open_journal_readonly(settings)
    try:
        await journal.backup(str(target))
        return (await journal.head()).position
    finally:
        await journal.close()


def _show(moved: Moved, how: str, where: str, *, as_json: bool) -> None:
    if as_json:
        print_json(moved)
        return
    out.print(
        f"workspace {moved.workspace_id} {how} {where}: {moved.events} events, "
        f"{moved.texts} texts, {moved.requests} replies",
        highlight=False,
    )
    if moved.resumed_at:
        out.print(f"went on after event {moved.resumed_at}")
    out.print("Check it with 'pm-agent verify'." if how.startswith("imported") else "")
