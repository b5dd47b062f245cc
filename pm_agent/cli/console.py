"""What all commands share: output for people and machines, errors, and the way to the server."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pm_agent.client import ApiError, Client
from pm_agent.domain.errors import PMError, StartError
from pm_agent.settings import Settings

out = Console()
err = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of the journal. Default: ./.pm-agent")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Server. Default: http://127.0.0.1:8470")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", help="Access token. Default: the administrator's file")
]


def settings_with(**given: Any) -> Settings:
    """Settings from the environment, overridden by the options that were given."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        told = "; ".join(f"{e['loc'][0]}: {e['msg']} (not {e['input']!r})" for e in error.errors())
        raise typer.BadParameter(told) from error


@contextmanager
def refusals() -> Iterator[None]:
    """Turn refusals into one clear line and exit code 1."""
    try:
        yield
    except (PMError, ApiError) as error:
        err.print(f"[red]{error.code}[/]: {error.message}", highlight=False)
        err.print(f"  → {error.next_step}", highlight=False)
        raise typer.Exit(1) from error


@contextmanager
def events_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; yields what is told events done and events in all."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} events"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@contextmanager
def server(url: str | None, token: str | None, data: Path | None) -> Iterator[Client]:
    """Connect to the running server, with the administrator's token unless another is given."""
    settings = settings_with(data=data)
    with refusals():
        if token is None:
            path = settings.admin_token_path
            if not path.exists():
                message = f"No access token: {path} does not exist."
                raise StartError(
                    message, "Start the server with 'pm-agent up', or give --token or --data."
                )
            token = path.read_text().strip()
        with Client(url or settings.url, token, patience_s=5.0) as client:
            yield client


def print_json(value: Any) -> None:
    """Print one JSON object to standard output."""
    plain = msgspec.to_builtins(value)
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
