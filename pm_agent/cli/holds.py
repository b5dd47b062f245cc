"""``pm-agent pause | resume | stop``: people hold work back and let it go."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    TokenOption,
    UrlOption,
    out,
    print_json,
    server,
)
from pm_agent.domain.hold import Scope
from pm_agent.kernel.types import Result

TargetArgument = Annotated[
    str, typer.Argument(help="T-… task, P-… project, A-… agent, or 'workspace'.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Shown to agents and people.")]


def pause(
    target: TargetArgument,
    reason: ReasonOption = "",
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give out nothing more in this scope; running work goes on."""
    _place("paused", target, reason, url, token, data, as_json=as_json)


def stop(
    target: TargetArgument,
    reason: ReasonOption = "",
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give out nothing more, and tell running agents to stop with their next reply."""
    _place("stopped", target, reason, url, token, data, as_json=as_json)


def resume(
    target: TargetArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift every hold of this scope."""
    scope, target_id = scope_of(target)
    with server(url, token, data) as client:
        result = client.lift_hold(scope=scope, target_id=target_id)
    _say(result, f"{target} goes on.", as_json=as_json)


def scope_of(target: str) -> tuple[Scope, str]:
    """Return scope and id from a target: ``T-4`` is a task, ``workspace`` the whole."""
    scopes: dict[str, Scope] = {"T-": "task", "P-": "project", "A-": "agent"}
    scope = scopes.get(target[:2])
    if target == "workspace":
        return "workspace", "main"
    if scope is None:
        message = f"{target!r} is neither a task, project or agent id, nor 'workspace'."
        raise typer.BadParameter(message)
    return scope, target


def _place(
    kind: Literal["paused", "stopped"],
    target: str,
    reason: str,
    url: str | None,
    token: str | None,
    data: Path | None,
    *,
    as_json: bool,
) -> None:
    scope, target_id = scope_of(target)
    with server(url, token, data) as client:
        result = client.place_hold(scope=scope, target_id=target_id, kind=kind, reason=reason)
    _say(result, f"{target} is {kind}.", as_json=as_json)


def _say(result: Result, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        out.print(text)
