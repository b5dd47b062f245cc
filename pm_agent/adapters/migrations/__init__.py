"""The journals' tables through the versions, by Alembic; SQLite and PostgreSQL apart.

A journal compares its version with `NEWEST` when it is opened and comes here only when they differ:
Alembic and SQLAlchemy cost 0.4 s and 30 MiB, which a coordinator that is up to date does not pay.

Rules for a new revision: on PostgreSQL one statement that changes the schema in each (each revision
is a transaction of its own, which keeps a table locked until its end), first what only adds, in a
later release what takes away. On SQLite it also sets the version in ``meta``. The number is raised
in `NEWEST`.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

Dialect = Literal["sqlite", "postgres"]
FOLDER = Path(__file__).parent
# Number of the newest revision, which is also the version of the tables.
NEWEST: dict[Dialect, int] = {"sqlite": 5, "postgres": 1}
LOCK_TIMEOUT_S = 2.0  # a migration gives way to whoever works with a table, and fails


def revision_id(version: int) -> str:
    """``0001`` from 1."""
    return f"{version:04}"


def upgrade_sqlite(connection: sqlite3.Connection, *, adopted: int = 0) -> None:
    """Bring a file's tables to the newest version.

    Parameters
    ----------
    connection
        In autocommit mode, with no transaction under way. It stays open.
    adopted
        Version of a file that no revision has seen yet, since new files are made without Alembic;
        0 for an empty one.
    """
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - see above
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    # Python's module begins no transaction before a statement that changes the schema.
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
    is_known = known.fetchone() is not None
    try:
        with engine.connect() as wrapped:
            run(wrapped, "sqlite", adopted=0 if is_known else adopted)
    except DBAPIError as error:  # as the module told it
        raise (error.orig or error) from error


async def upgrade_postgres(connect: Callable[[], Awaitable[Any]]) -> None:
    """Bring a database's tables to the newest version, on a connection of its own.

    Parameters
    ----------
    connect
        Opens an asyncpg connection. Whoever calls sees to it that nobody else does this now.
    """
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - see above
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(lambda sync: run(sync, "postgres"))
    except DBAPIError as error:  # as the driver told it
        raise (error.orig and error.orig.__cause__) or error from error
    finally:
        await engine.dispose()


def run(connection: Any, dialect: Dialect, *, adopted: int = 0) -> None:
    """Run what is missing through ``env.py``."""
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("version_locations", str(FOLDER / dialect))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, dialect=dialect)
    if adopted:
        command.stamp(config, revision_id(adopted))
    command.upgrade(config, "head")
