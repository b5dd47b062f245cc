"""The commands, one list."""

import typer

from pm_agent.cli import (
    audit,
    blockers,
    board,
    connect,
    demo,
    doctor,
    handover,
    holds,
    keys,
    models,
    secrets,
    serve,
    timeline,
    token,
    transfer,
    verdict,
)

app = typer.Typer(
    name="pm-agent",
    help="The project manager for teams of autonomous coding agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("up")(serve.up)
app.command("handover")(handover.handover)
app.command("demo")(demo.demo)
app.command("status")(board.status)
app.command("tasks")(board.tasks)
app.command("agents")(board.agents)
app.command("blockers")(blockers.blockers)
app.command("timeline")(timeline.timeline)
app.command("why")(audit.why)
app.command("verify")(audit.verify)
app.command("replay")(audit.replay)
app.command("export")(transfer.export)
app.command("import")(transfer.import_)
app.command("backup")(transfer.backup)
app.command("pause")(holds.pause)
app.command("resume")(holds.resume)
app.command("stop")(holds.stop)
app.command("approve")(verdict.approve)
app.command("reject")(verdict.reject)
app.command("token")(token.token)
app.command("connect")(connect.connect)
app.command("doctor")(doctor.doctor)
app.add_typer(keys.app, name="keys")
app.add_typer(secrets.app, name="secrets")
app.add_typer(models.app, name="models")


def main() -> None:
    """Entry point of the ``pm-agent`` script."""
    app()
