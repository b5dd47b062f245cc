"""``pm-agent timeline``: what happened, one line an event, from the journal itself."""

import asyncio
from collections import deque
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pm_agent.bootstrap import open_journal_readonly
from pm_agent.cli.console import DataOption, JsonOption, out, print_json, refusals, settings_with
from pm_agent.domain.envelope import Event
from pm_agent.features.audit.view import QUIET, Moment, concerns, moment, text_of
from pm_agent.kernel.chain import unseal
from pm_agent.settings import Settings

PAGE = 2_000
WIDEST_TEXT = 160  # of one text on a screen; --json has all of it


def timeline(
    about: Annotated[
        str, typer.Argument(help="Id of a task, an agent, a project, ...; left out: everything.")
    ] = "",
    *,
    last: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Only after this journal position.")] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="Bookkeeping too, such as written instructions.")
    ] = False,
    json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Tell what happened, one line an event."""
    with refusals():
        settings = settings_with(data=data)
        moments = asyncio.run(_moments(settings, about, last, after, everything=everything))
    if json:
        print_json({"events": moments})
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for style in ("dim", "cyan", None):
        table.add_column(style=style)
    for one in moments:
        said = Text(one.what)
        if one.text:
            said.append(f"  “{_short(one.text)}”", style="italic")
        table.add_row(one.at[:19].replace("T", " "), one.by.partition(":")[2], said)
    out.print(table)


async def _moments(
    settings: Settings, about: str, last: int, after: int, *, everything: bool
) -> list[Moment]:
    journal = open_journal_readonly(settings)
    try:
        newest: deque[Event] = deque(maxlen=last)
        while page := await journal.read(after, PAGE):
            after = page[-1].position
            events = (unseal(one) for one in page if everything or one.kind not in QUIET)
            newest.extend(event for event in events if not about or concerns(event, about))
        bodies = await journal.read_bodies([ref for event in newest if (ref := text_of(event))])
    finally:
        await journal.close()
    texts = {ref: body.text for ref, body in bodies.items()}
    return [moment(event, texts) for event in newest]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDEST_TEXT else line[: WIDEST_TEXT - 1] + "…"
