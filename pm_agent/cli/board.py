"""``pm-agent status | tasks | agents``, and a backlog's import: the board as people read it."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pm_agent.api.errors import MalformedJson
from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    TokenOption,
    UrlOption,
    out,
    print_json,
    refusals,
    server,
)
from pm_agent.cli.verdict import late_lines
from pm_agent.features.backlog.search import TaskItem
from pm_agent.features.backlog.status import WorkspaceStatus
from pm_agent.features.team.view import AgentItem

# Column heads that fit 80 characters, by state.
STATES = {
    "ready": "ready",
    "open": "open",
    "assigned": "assigned",
    "blocked": "blocked",
    "in_review": "review",
    "done": "done",
    "cancelled": "cancel",
    "dead_letter": "dead",
}
REFRESH_S = 1.0
PAGE = 100

Json = dict[str, Any]


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show projects, counts by state and the team; with --watch as a live table."""
    with server(url, token, data) as client:
        first = client.get_status()
        if as_json:
            print_json(first)
        elif not watch:
            out.print(status_table(first))
        else:
            with Live(status_table(first), console=out, refresh_per_second=4) as live:
                try:
                    while True:
                        time.sleep(REFRESH_S)
                        live.update(status_table(client.get_status()))
                except KeyboardInterrupt:
                    pass


def status_table(found: WorkspaceStatus) -> Group:
    """One line about the workspace, and one row a project with counts by state."""
    summary = (
        f"workspace {found.workspace_id} · "
        f"{found.agents_working} of {found.agents} agents working · "
        f"{found.parked} waiting · {found.open_blockers} open blockers · "
        f"position {found.position}"
    )
    if found.suspect:
        summary += f"\nsuspect: {', '.join(found.suspect)} (their agents are silent for too long)"
    if found.late_work:
        summary += f"\n{late_lines(found.late_work)}"
    table = Table(box=None, pad_edge=False)
    table.add_column("project", no_wrap=True)
    for head in STATES.values():
        table.add_column(head, justify="right", no_wrap=True)
    for project in found.projects:
        counts = project.tasks
        holds = ", ".join(hold.kind for hold in project.holds)
        table.add_row(
            project.project_id + (f" ({holds})" if holds else ""),
            *(str(counts.get(state, 0)) for state in STATES),
        )
    return Group(Text(summary, style="dim"), table)


def tasks(
    state: Annotated[str | None, typer.Option(help="ready, open, assigned, done, …")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    query: Annotated[str | None, typer.Option(help="Words in the title.")] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tasks."""
    filters: Json = {"limit": PAGE}
    for name, value in (("state", state), ("project_id", project), ("query", query)):
        if value is not None:
            filters[name] = value
    found: list[TaskItem] = []
    with server(url, token, data) as client:
        while True:
            page = client.search_tasks(**filters)
            found += page.tasks
            if not page.next_cursor:
                break
            filters["cursor"] = page.next_cursor
    if as_json:
        print_json({"tasks": found})
    else:
        out.print(tasks_table(found))
        if late := late_lines([one for task in found for one in task.late_work]):
            out.print(Text(late, style="dim"))


def tasks_table(found: list[TaskItem]) -> Table:
    """One row a task."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "state", "priority", "skills", "agent", "%", "waits for", "title"):
        table.add_column(column)
    for task in found:
        skills = " ".join(f"{s.name}:{s.level}" for s in task.skills)
        shown = "ready" if task.is_ready else task.state
        notes = [lease for lease in (task.lease_state,) if lease not in (None, "live")]
        notes += ["held"] if task.holds else []
        notes += ["late work"] if task.late_work else []
        table.add_row(
            task.task_id,
            shown + (f" ({', '.join(notes)})" if notes else ""),
            " → ".join(filter(None, (task.priority, task.inherited_priority))),
            skills,
            task.agent_id,
            str(task.percent or ""),
            " ".join(task.dependencies) if task.state == "open" else "",
            Text(" · ".join(filter(None, (task.title, task.dead_because)))),
        )
    return table


def agents(
    url: UrlOption = None,
    token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List agents with their work and record."""
    found: list[AgentItem] = []
    filters: Json = {"limit": PAGE}
    with server(url, token, data) as client:
        while True:
            page = client.list_agents(**filters)
            found += page.agents
            if not page.next_cursor:
                break
            filters["cursor"] = page.next_cursor
    if as_json:
        print_json({"agents": found})
    else:
        out.print(agents_table(found))


def agents_table(found: list[AgentItem]) -> Table:
    """One row an agent."""
    table = Table(box=None, pad_edge=False)
    for column in ("agent", "kind", "skills", "state", "capacity", "works on"):
        table.add_column(column)
    for agent in found:
        skills = " ".join(f"{s.name}:{s.level}" for s in agent.skills)
        table.add_row(
            agent.agent_id,
            agent.kind,
            skills,
            _with_lease(agent),
            str(agent.capacity),
            " ".join(agent.active_tasks),
        )
    return table


def _with_lease(agent: AgentItem) -> str:
    """State of an agent, with that of its leases when something is to be known of them."""
    is_told = agent.lease_state not in ("", "live")
    return f"{agent.state} ({agent.lease_state})" if is_told else agent.state


def import_tasks(
    file: Path, project: str, url: str | None, token: str | None, data: Path | None, as_json: bool
) -> None:
    """Import a backlog; the project is made when it does not exist."""
    with refusals():
        drafts = drafts_in(file)
    with server(url, token, data) as client:
        known = {p.project_id for p in client.get_status().projects}
        if project not in known:
            project = client.create_project(name=project).project_id
        result = client.import_tasks(project, drafts)
    if as_json:
        print_json(result)
    else:
        out.print(f"{result.created} tasks imported into {project}.")


def drafts_in(file: Path) -> list[Json]:
    """Read a backlog.

    Raises
    ------
    MalformedJson
    """
    text = file.read_text()
    try:
        parsed = json.loads(text)
    except ValueError:
        try:
            parsed = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise MalformedJson(f"{file}: {error}") from error
    if isinstance(parsed, dict):
        parsed = parsed.get("tasks", [parsed])  # a single line of JSON lines is an object too
    if not isinstance(parsed, list):
        raise MalformedJson(f"{file}: it holds no list of tasks.")
    return parsed
