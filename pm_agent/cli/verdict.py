"""``pm-agent approve | reject``: a person's word about new tasks, work in review, and late work."""

from collections.abc import Sequence
from typing import Annotated

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
from pm_agent.features.backlog.late import LateWork

LateOption = Annotated[
    int | None,
    typer.Option(
        "--lease-token",
        min=1,
        help="Judge late work instead, which was kept: the lease token that it was done under. "
        "'pm-agent tasks' and 'status' show it.",
    ),
]


def approve(
    task: Annotated[str, typer.Argument(help="T-… to approve.")],
    lease_token: LateOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a task that waits for approval begin, or accept its completion, or its late work."""
    with server(url, token, data) as client:
        result = client.approve_task(task, lease_token=lease_token)
    if as_json:
        print_json(result)
    else:
        out.print(f"{_named(task, lease_token)} is approved: {result.state}.")


def reject(
    task: Annotated[str, typer.Argument(help="T-… whose work is not good enough.")],
    reason: Annotated[
        list[str], typer.Option("--reason", help="What is missing; may be repeated.")
    ],
    lease_token: LateOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a completion, or late work, with the reasons that the next attempt starts from."""
    with server(url, token, data) as client:
        result = client.reject_task(task, reasons=reason, lease_token=lease_token)
    if as_json:
        print_json(result)
    else:
        out.print(f"{_named(task, lease_token)} is rejected: {result.state}.")


def late_lines(late_work: Sequence[LateWork]) -> str:
    """Say what waits, and the commands that decide it."""
    return "\n".join(
        f"late work of {late.agent_id} on {late.task_id} waits for you: pm-agent approve "
        f"{late.task_id} --lease-token {late.lease_token}, or reject it with --reason"
        for late in late_work
    )


def _named(task: str, lease_token: int | None) -> str:
    return task if lease_token is None else f"late work on {task} (lease token {lease_token})"
