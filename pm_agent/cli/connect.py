"""``pm-agent connect``: the configuration with which a coding agent finds this server."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pm_agent.cli.console import DataOption, UrlOption, err, refusals, server, settings_with
from pm_agent.domain.errors import StartError
from pm_agent.domain.ids import agent_id

NAME = "pm"  # of the server, in each client
VARIABLE = "PM_AGENT_TOKEN"
# A client that gives up sooner than wait_for_task (50 s) cuts every wait short.
TIMEOUT_S = 120


class Agent(StrEnum):
    """Coding agents whose configuration is known."""

    claude = "claude"
    codex = "codex"
    gemini = "gemini"
    opencode = "opencode"


@dataclass(frozen=True, slots=True)
class Form:
    """How one agent is told of a server: an entry in a section of a file.

    Attributes
    ----------
    title
        What its users call it.
    file
        Where it looks, from a project's folder; below the user's own when it begins with ``~``.
    section
        Key of all servers in that file.
    entry
        Our entry, from our address and a token; without one it refers to `VARIABLE`.
    """

    title: str
    file: str
    section: str
    entry: Callable[[str, str | None], dict[str, Any]]

    def text(self, url: str, token: str | None) -> str:
        """Contents of a file that has nothing else."""
        entry = self.entry(url, token)
        if self.file.endswith(".toml"):
            lines = [f"{name} = {_toml(value)}" for name, value in entry.items()]
            return "\n".join([f"[{self.section}.{NAME}]", *lines, ""])
        return _json({self.section: {NAME: entry}})


def _claude(url: str, token: str | None) -> dict[str, Any]:
    return {"type": "http", "url": url, "headers": _bearer(token or f"${{{VARIABLE}}}")}


def _codex(url: str, token: str | None) -> dict[str, Any]:
    known = {"http_headers": _bearer(token)} if token else {"bearer_token_env_var": VARIABLE}
    return {"url": url, **known, "tool_timeout_sec": TIMEOUT_S}


def _gemini(url: str, token: str | None) -> dict[str, Any]:
    headers = _bearer(token or f"${VARIABLE}")
    return {"httpUrl": url, "headers": headers, "timeout": TIMEOUT_S * 1_000}


def _opencode(url: str, token: str | None) -> dict[str, Any]:
    headers = _bearer(token or f"{{env:{VARIABLE}}}")
    return {"type": "remote", "url": url, "enabled": True, "headers": headers}


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


FORMS = {
    Agent.claude: Form("Claude Code", ".mcp.json", "mcpServers", _claude),
    Agent.codex: Form("Codex", "~/.codex/config.toml", "mcp_servers", _codex),
    Agent.gemini: Form("Gemini CLI", ".gemini/settings.json", "mcpServers", _gemini),
    Agent.opencode: Form("opencode", "opencode.json", "mcp", _opencode),
}


def connect(
    agent: Annotated[Agent, typer.Argument(help="The coding agent to connect.")],
    name: Annotated[
        str, typer.Option(help="Name to work under; left out, that of the coding agent.")
    ] = "",
    token: Annotated[str, typer.Option(help="Its access token; left out, a new one is made.")] = "",
    tools: Annotated[
        str, typer.Option(help="Tiers of tools it is shown, such as 'core,wider' or 'all'.")
    ] = "",
    env: Annotated[
        bool, typer.Option("--env", help=f"Refer to {VARIABLE} instead of holding the token.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the agent's file instead of printing.")
    ] = False,
    url: UrlOption = None,
    admin_token: Annotated[
        str | None,
        typer.Option(help="Token that makes the new one. Default: the administrator's file"),
    ] = None,
    data: DataOption = None,
) -> None:
    """Print or write the configuration with which a coding agent finds this server."""
    base = (url or settings_with(data=data).url).rstrip("/")
    with refusals():
        if not token:
            owner = {"kind": "agent", "id": agent_id(name or agent), "role": "worker"}
            with server(url, admin_token, data) as client:
                token = client.issue_token(owner=owner, label=f"connect {agent}").token
        form = FORMS[agent]
        address = f"{base}/mcp?tools={tools}" if tools else f"{base}/mcp"
        text = form.text(address, None if env else token)
        if write:
            path = Path(form.file).expanduser()
            _write(path, form.section, text)
            told = (
                "" if env else " It holds the token: keep it out of version control, or use --env."
            )
            err.print(f"{path} tells {form.title} of this server.{told}", highlight=False)
        else:
            typer.echo(text, nl=False)
            err.print(f"This belongs into {form.file} of {form.title}.", highlight=False)
    if env:
        err.print(f"  export {VARIABLE}={token}", highlight=False, soft_wrap=True)


def _write(path: Path, section: str, text: str) -> None:
    """Add our entry to a file that may hold others; only its owner can read it then.

    Raises
    ------
    StartError
        The file has an entry of ours that cannot be replaced, or is none that can be added to.
    """
    before = path.read_text() if path.exists() else ""
    try:
        merged = (_add_toml if path.suffix == ".toml" else _add_json)(before, section, text)
    except ValueError as error:
        message = f"{path} was left as it is: {error}"
        raise StartError(message, "Print the entry, without --write, and edit the file.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(merged)


def _add_toml(before: str, section: str, text: str) -> str:
    """Add a table; one that is there would have to be cut out of a file with comments."""
    if NAME in tomllib.loads(before).get(section, {}):
        message = f"it has a table {section}.{NAME} already."
        raise ValueError(message)
    return f"{before.rstrip()}\n\n{text}" if before.strip() else text


def _add_json(before: str, section: str, text: str) -> str:
    known = json.loads(before or "{}")
    try:
        known.setdefault(section, {}).update(json.loads(text)[section])
    except AttributeError as error:
        message = f"it holds no object with an object {section}."
        raise ValueError(message) from error
    return _json(known)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _toml(value: Any) -> str:
    """Strings and numbers are written as in JSON; a table on one line has its own form."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(v)}" for name, v in value.items()) + " }"
    return json.dumps(value)
