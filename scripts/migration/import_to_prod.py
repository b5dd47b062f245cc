"""Import an exported workspace into the production database: ``pm-agent import``, but safer.

    PM_AGENT_DATABASE_URL=postgresql://… python scripts/migration/import_to_prod.py state.jsonl

Refuses to run without a database, so that nothing lands in a file by mistake. Run it again after an
interruption. See README.md, "On PostgreSQL".
"""

from pathlib import Path
from typing import Annotated

import typer

from pm_agent.cli.console import DataOption, JsonOption, settings_with
from pm_agent.cli.transfer import import_


def main(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    data: DataOption = None,
    as_json: JsonOption = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Import an exported workspace into the database of PM_AGENT_DATABASE_URL."""
    if settings_with(data=data).database_url is None:
        raise typer.BadParameter("Set PM_AGENT_DATABASE_URL to the production database.")
    import_(file, None, None, None, data, as_json)


if __name__ == "__main__":
    typer.run(main)
