"""``pm-agent secrets``: what PM Agent keeps sealed, and the keys that seal it."""

import time
from typing import Annotated

import typer

from pm_agent.adapters.kek_local import add_key, keep_newest, read_key_file
from pm_agent.bootstrap import build_credentials, key_encryption, open_secrets
from pm_agent.cli.console import DataOption, JsonOption, out, print_json, refusals, settings_with

app = typer.Typer(help="Secrets at rest, and their keys.", no_args_is_help=True)


@app.command("status")
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show which version of the key-encryption key protects how much."""
    settings = settings_with(data=data)
    with refusals():
        newest = key_encryption(settings).version
        counts = open_secrets(settings).wrapped_by()
    if as_json:
        print_json({"newest": newest, "wrapped_by": counts})
        return
    out.print(f"newest key-encryption key: version {newest}")
    for version, n in sorted(counts.items()):
        out.print(f"  {n} secrets under version {version}")


@app.command("rotate")
def rotate(
    signing: Annotated[
        bool, typer.Option("--signing", help="Also sign short-lived tokens with a new key.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal all secrets anew; a running server goes on and reads the new file by itself.

    With keys in a file a new key-encryption key is made, and the old ones are forgotten at the end.
    With keys in the environment or a KMS their newest version is used: make it known to the server
    first, and take the old one away afterwards.
    """
    settings = settings_with(data=data)
    in_file = settings.kek is None and not settings.kms
    with refusals():
        if in_file:
            read_key_file(settings.kek_path)
            add_key(settings.kek_path)
        secrets = open_secrets(settings)
        n = secrets.rewrap()
        if in_file:
            keep_newest(settings.kek_path)
        version = key_encryption(settings).version
        key_id = build_credentials(settings).tokens.rotate(int(time.time())) if signing else ""
    if as_json:
        print_json({"secrets": n, "version": version, "signing_key": key_id})
        return
    out.print(f"{n} secrets are sealed anew under version {version} of the key-encryption key.")
    if key_id:
        out.print(f"Short-lived tokens are signed with {key_id}; older ones last to their end.")
