"""``pm-agent blockers``: what stops tasks, what was done about it and why."""

from typing import Annotated, Any

import typer
from rich.console import Group
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

Json = dict[str, Any]


def blockers(
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
    """Show blockers with every step that was taken, and what is remembered of their like."""
    filters: Json = {"include_resolved": True} if all_ else {}
    if project is not None:
        filters["project_id"] = project
    with server(url, token, data) as client:
        if ack is not None:
            client.acknowledge_blocker(ack)
        found = client.list_blockers(**filters)
    if as_json:
        print_json(found)
    else:
        out.print(shown(found))


def shown(found: Json) -> Group:
    """A paragraph for each blocker, then what is remembered."""
    lines = [line for blocker in found["blockers"] for line in _blocker(blocker)]
    lines += [line for case in found.get("cases", ()) for line in _case(case)]
    return Group(*(lines or [Text("Nothing is blocked.")]))


def _blocker(blocker: Json) -> list[Text]:
    head = (
        f"{blocker['blocker_id']} · {blocker['task_id']} · {blocker['agent_id']} · "
        f"{blocker['blocker_type']} · {blocker['severity']} · {blocker['state']} · "
        f"{blocker['blocked_min']} min"
    )
    lines = [Text(head, style="bold"), Text(f"  {blocker['description']}")]
    for step in blocker.get("steps", ()):
        times = f" ({step['times']} times)" if step.get("times", 1) > 1 else ""
        seen = f", seen by {step['acknowledged_by']}" if step.get("acknowledged_by") else ""
        outcome = step.get("outcome") or f"under way until {step['until']}"
        lines.append(Text(f"  {step['at']}  {step['step']}{times}: {outcome}{seen}"))
        lines.append(Text(f"      why: {step['why']}"))
        if step.get("text"):
            lines.append(Text(f"      {step.get('by', '')}: {step['text']}"))
    if blocker.get("resolution"):
        lines.append(Text(f"  answer of {blocker['resolved_by']}: {blocker['resolution']}"))
    return [*lines, Text("")]


def _case(case: Json) -> list[Text]:
    lines = [Text(f"remembered of {case['blocker_type']} like {case['case_id']}", style="bold")]
    for remedy in case["remedies"]:
        forgotten = ", no longer offered" if remedy.get("is_forgotten") else ""
        lines.append(
            Text(
                f"  {remedy['step']}: worked {remedy['worked']} of {remedy['tried']}{forgotten}"
                + (f" — {remedy['text']}" if remedy.get("text") else "")
            )
        )
    return [*lines, Text("")]
