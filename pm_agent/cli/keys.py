"""``pm-agent keys``: API keys with limits: issue, list, rotate and revoke them."""

from typing import Annotated

import typer
from rich.table import Table

from pm_agent.api.handlers.access import IssueKeyAnswer
from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    TokenOption,
    UrlOption,
    out,
    print_json,
    server,
)
from pm_agent.domain.ids import agent_id

app = typer.Typer(help="API keys: with scopes, projects and an end.", no_args_is_help=True)


@app.command("issue")
def issue(
    name: Annotated[str, typer.Argument(help="Name of the agent or person.")],
    role: Annotated[str, typer.Option(help="worker, lead or admin.")] = "worker",
    person: Annotated[bool, typer.Option("--person", help="For a person, not an agent.")] = False,
    scope: Annotated[
        list[str] | None, typer.Option(help="Such as pm:read; again for more. Default: all.")
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option(help="Such as P-web; again for more. Default: all.")
    ] = None,
    days: Annotated[int, typer.Option(help="Days until it expires; 0: never.")] = 90,
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    url: UrlOption = None,
    admin_token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key; it is shown once."""
    owner = {
        "kind": "person" if person else "agent",
        "id": name if person else agent_id(name),
        "role": role,
    }
    with server(url, admin_token, data) as client:
        made = client.issue_key(
            owner=owner,
            scopes=scope or (),
            project_ids=project or (),
            lasts_days=days,
            label=label,
        )
    _show(made, as_json=as_json)


@app.command("list")
def list_keys(
    url: UrlOption = None,
    admin_token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all keys, and when each was used last."""
    with server(url, admin_token, data) as client:
        listed = client.list_keys()
    if as_json:
        print_json(listed)
        return
    table = Table("key", "owner", "scopes", "projects", "expires", "last used", "label")
    for key in listed.keys:
        table.add_row(
            key.key_id if key.is_live else f"[dim]{key.key_id} (over)[/]",
            f"{key.owner} ({key.role})",
            " ".join(scope.removeprefix("pm:") for scope in key.scopes),
            " ".join(key.project_ids) or "all",
            key.expires_at or "never",
            key.used_at or "not yet",
            key.label,
        )
    out.print(table)


@app.command("rotate")
def rotate(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as 'keys list' shows it.")],
    overlap: Annotated[int, typer.Option(help="Hours for which the old key still lets in.")] = 24,
    url: UrlOption = None,
    admin_token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key's successor; the old key lasts a while longer."""
    with server(url, admin_token, data) as client:
        made = client.rotate_key(key_id, overlap_h=overlap)
    _show(made, as_json=as_json)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as 'keys list' shows it.")],
    url: UrlOption = None,
    admin_token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shut a key out at once, with every token that it was exchanged for."""
    with server(url, admin_token, data) as client:
        revoked = client.revoke_key(key_id)
    if as_json:
        print_json(revoked)
    else:
        out.print(f"{key_id} of {revoked.owner} is revoked.")


def _show(made: IssueKeyAnswer, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    ends = made.expires_at or "never"
    out.print(f"{made.owner} ({made.role}), key {made.key_id}, expires: {ends}")
    out.print("The key is shown this once:\n")
    out.print(f"  {made.key}\n", highlight=False, soft_wrap=True)
