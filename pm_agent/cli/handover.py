"""``pm-agent handover``: let a new server take over from the one that runs."""

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


def handover(
    drain: Annotated[
        int,
        typer.Option(
            min=0, max=20, help="Seconds in which reports are still taken and new work is not."
        ),
    ] = 2,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop taking work on, finish what is under way, and let a new server take over."""
    with server(url, token, data) as client:
        handed = client.hand_over(drain_s=drain)
    if as_json:
        print_json(handed)
        return
    out.print(f"handed over at position {handed.position}, epoch {handed.epoch}")
    out.print(
        "Start the new server on the same data. The old one answers queries until it is ended.",
        highlight=False,
    )
