"""``pm-agent token``: make an access token for an agent or a person, and show how to connect."""

from typing import Annotated, Literal

import msgspec
import typer

from pm_agent.cli.connect import FORMS
from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    TokenOption,
    UrlOption,
    out,
    print_json,
    server,
    settings_with,
)
from pm_agent.domain.ids import agent_id


def token(
    name: Annotated[str, typer.Argument(help="Name of the agent or person.")],
    role: Annotated[str, typer.Option(help="worker, lead or admin.")] = "worker",
    person: Annotated[bool, typer.Option("--person", help="For a person, not an agent.")] = False,
    label: Annotated[str, typer.Option(help="What the token is for.")] = "",
    url: UrlOption = None,
    admin_token: TokenOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an access token; it is shown once."""
    kind: Literal["person", "agent"] = "person" if person else "agent"
    owner = {"kind": kind, "id": name if person else agent_id(name), "role": role}
    with server(url, admin_token, data) as client:
        issued = client.issue_token(owner=owner, label=label)
    base = url or settings_with(data=data).url
    if as_json:
        print_json({**msgspec.to_builtins(issued), "mcp_url": f"{base}/mcp"})
        return
    out.print(f"{owner['id']} ({role}). The token is shown this once:\n")
    out.print(f"  {issued.token}\n", highlight=False)
    if person:
        return
    out.print("What belongs into its configuration is printed, or with --write written there, by:")
    for agent in FORMS:
        where = f"--token {issued.token} --url {base}"
        out.print(f"  pm-agent connect {agent} {where}", highlight=False, soft_wrap=True)
