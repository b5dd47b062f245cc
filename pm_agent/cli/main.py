"""The commands, one list."""

import typer

from pm_agent.cli import audit, board, demo, doctor, holds, serve, token

app = typer.Typer(
    name="pm-agent",
    help="The project manager for teams of autonomous coding agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("up")(serve.up)
app.command("demo")(demo.demo)
app.command("status")(board.status)
app.command("tasks")(board.tasks)
app.command("agents")(board.agents)
app.command("import")(board.import_tasks)
app.command("why")(audit.why)
app.command("verify")(audit.verify)
app.command("replay")(audit.replay)
app.command("export")(audit.export)
app.command("pause")(holds.pause)
app.command("resume")(holds.resume)
app.command("stop")(holds.stop)
app.command("approve")(holds.approve)
app.command("token")(token.token)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point of the ``pm-agent`` script."""
    app()
