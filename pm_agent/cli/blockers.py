"""``pm-agent blockers``: what stops tasks, what was done about it and why."""

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    TokenOption,
    UrlOption,
    out,
    print_json,
    server,
)
from pm_agent.domain.errors import UnknownBlocker
from pm_agent.features.blockers.view import BlockerItem, BlockerList, CaseItem

MAX_REPORT = 80  # characters of a report in a row


def blockers(
    blocker_id: Annotated[
        str | None, typer.Argument(help="Tell the whole story of this one, such as B-7.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    ack: Annotated[
        str | None, typer.Option(help="Acknowledge this blocker: you see to it.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what stops tasks; of one, every step, why, and what is remembered of its like."""
    filters: dict[str, Any] = {"include_resolved": True} if all_ or blocker_id else {}
    if project is not None:
        filters["project_id"] = project
    with server(url, token, data) as client:
        if ack is not None:
            client.acknowledge_blocker(ack)
        found = client.list_blockers(**filters)
        if blocker_id is not None:
            found = _only(found, blocker_id)
    if as_json:
        print_json(found)
    elif blocker_id is not None:
        out.print(story(found))
    else:
        out.print(table_of(found.blockers))


def _only(found: BlockerList, blocker_id: str) -> BlockerList:
    """One blocker, and what is remembered of its like."""
    chosen = [one for one in found.blockers if one.blocker_id == blocker_id]
    if not chosen:
        message = f"There is no blocker {blocker_id} among the newest."
        raise UnknownBlocker(message, "'pm-agent blockers --all' lists them.")
    case_ids = {one.case_id for one in chosen}
    cases = [case for case in found.cases if case.case_id in case_ids]
    return msgspec.structs.replace(found, blockers=chosen, cases=cases)


def table_of(blockers: list[BlockerItem]) -> Table | Text:
    """One row a blocker: what is being done about it now."""
    if not blockers:
        return Text("Nothing is blocked.")
    table = Table(box=None, pad_edge=False)
    for column in ("blocker", "task", "agent", "type", "severity", "state", "min", "now", "report"):
        table.add_column(column, no_wrap=column != "report")
    for blocker in blockers:
        steps = blocker.steps
        table.add_row(
            blocker.blocker_id,
            blocker.task_id,
            blocker.agent_id,
            blocker.blocker_type,
            blocker.severity,
            blocker.state,
            str(blocker.blocked_min),
            steps[-1].step if steps and not steps[-1].outcome else "",
            Text(" ".join(blocker.description.split())[:MAX_REPORT]),  # never markup
        )
    return table


def story(found: BlockerList) -> Group:
    """A paragraph for the blocker, then what is remembered."""
    lines = [line for blocker in found.blockers for line in _blocker(blocker)]
    lines += [line for case in found.cases for line in _case(case)]
    return Group(*lines)


def _blocker(blocker: BlockerItem) -> list[Text]:
    head = (
        f"{blocker.blocker_id} · {blocker.task_id} · {blocker.agent_id} · "
        f"{blocker.blocker_type} · {blocker.severity} · {blocker.state} · "
        f"{blocker.blocked_min} min"
    )
    lines = [Text(head, style="bold"), Text(f"  {blocker.description}")]
    for step in blocker.steps:
        times = f" ({step.times} times)" if step.times > 1 else ""
        seen = f", seen by {step.acknowledged_by}" if step.acknowledged_by else ""
        outcome = step.outcome or f"under way until {step.until}"
        lines.append(Text(f"  {step.at}  {step.step}{times}: {outcome}{seen}"))
        lines.append(Text(f"      why: {step.why}"))
        if step.text:
            lines.append(Text(f"      {step.by}: {step.text}"))
    if blocker.asked_to_help:
        lines.append(Text(f"  asked to help: {', '.join(blocker.asked_to_help)}"))
    if blocker.resolution:
        lines.append(Text(f"  answer of {blocker.resolved_by}: {blocker.resolution}"))
    return [*lines, Text("")]


def _case(case: CaseItem) -> list[Text]:
    lines = [Text(f"remembered of {case.blocker_type} like {case.case_id}", style="bold")]
    if case.judged:
        lines.append(Text(f"  needed a person: {case.needed_person} of {case.judged}"))
    for remedy in case.remedies:
        forgotten = ", no longer offered" if remedy.is_forgotten else ""
        lines.append(
            Text(
                f"  {remedy.step}: worked {remedy.worked} of {remedy.tried}{forgotten}"
                + (f" — {remedy.text}" if remedy.text else "")
            )
        )
    return [*lines, Text("")]
