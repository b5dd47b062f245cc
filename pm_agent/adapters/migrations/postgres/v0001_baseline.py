"""The first tables. All of them are new, so nobody waits for their locks."""

import sqlalchemy
from alembic import op

from pm_agent.adapters.history_postgres import HYPERTABLE, PARTITIONS

revision = "0001"
down_revision = None

TABLES = (
    # One row a workspace: who may write, and where its journal ends. `turn` numbers the writing
    # connections, so that a statement of a lost one finds another number and writes nothing.
    """CREATE TABLE workspaces (
        workspace_id text PRIMARY KEY, epoch bigint NOT NULL, turn bigint NOT NULL,
        position bigint NOT NULL, hash bytea NOT NULL
    ) WITH (fillfactor = 10)""",
    """CREATE TABLE events (
        workspace_id text NOT NULL, position bigint NOT NULL, at_us bigint NOT NULL,
        epoch bigint NOT NULL, kind text NOT NULL, schema_version integer NOT NULL,
        principal text NOT NULL, cause text NOT NULL, subject text NOT NULL,
        payload bytea NOT NULL, hash bytea NOT NULL,
        PRIMARY KEY (workspace_id, position)
    ) WITH (toast_tuple_target = 8160)""",
    "CREATE INDEX events_by_subject ON events (workspace_id, subject, position)",
    # Few rows: read when a writer starts, to know which tasks are blocked.
    """CREATE INDEX events_of_blockers ON events (workspace_id, position)
        WHERE kind IN ('BlockerReported', 'BlockerResolved')""",
    # An erased body keeps its row, without salt and text: erased and never seen are two things.
    # Bytes, since what a gate printed may hold U+0000, which a text column cannot.
    """CREATE TABLE bodies (
        workspace_id text NOT NULL, ref text NOT NULL, salt bytea, text bytea,
        PRIMARY KEY (workspace_id, ref)
    )""",
    # All requests of one append in one row: they are read again as a whole or not at all. The
    # engine keeps their ids unique for the 24 hours that matter.
    """CREATE TABLE requests (
        workspace_id text NOT NULL, number bigint GENERATED ALWAYS AS IDENTITY,
        at_us bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (workspace_id, number)
    )""",
    """CREATE TABLE snapshots (
        workspace_id text NOT NULL, position bigint NOT NULL, schema_version integer NOT NULL,
        data bytea NOT NULL, PRIMARY KEY (workspace_id, schema_version, position)
    )""",
    # Megabytes that are packed already: compressing them would only cost time.
    "ALTER TABLE snapshots ALTER data SET STORAGE EXTERNAL",
    "CREATE TABLE schema_info (task_history text NOT NULL)",
)

HISTORY = """CREATE TABLE task_history (
    workspace_id text NOT NULL, task_id text NOT NULL, status text NOT NULL, assigned_to text,
    timestamp timestamptz NOT NULL, metrics jsonb NOT NULL, position bigint NOT NULL
)"""


def upgrade() -> None:
    """Make everything."""
    for statement in TABLES:
        op.execute(statement)
    if has_timescale():
        op.execute(HISTORY)
        op.execute("SELECT create_hypertable('task_history', 'timestamp')")
        made = HYPERTABLE
    else:
        op.execute(f"{HISTORY} PARTITION BY RANGE (timestamp)")
        op.execute("CREATE TABLE task_history_default PARTITION OF task_history DEFAULT")
        made = PARTITIONS
    op.execute(
        "CREATE INDEX task_history_by_task ON task_history (workspace_id, task_id, position)"
    )
    op.execute(sqlalchemy.text("INSERT INTO schema_info VALUES (:made)").bindparams(made=made))


def downgrade() -> None:
    """Take everything away, the journal included."""
    for name in ("task_history", "schema_info", "snapshots", "requests", "bodies", "events"):
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP TABLE workspaces")


def has_timescale() -> bool:
    """Whether TimescaleDB is installed, loaded at the server's start, and ours to use."""
    connection = op.get_bind()
    loaded = connection.exec_driver_sql(
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'"
        " AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'"
    ).scalar()
    if not loaded:
        return False
    if connection.exec_driver_sql(
        "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
    ).scalar():
        return True
    may_create = connection.exec_driver_sql(
        "SELECT has_database_privilege(current_database(), 'CREATE') AND (usesuper OR EXISTS ("
        "SELECT FROM pg_available_extension_versions WHERE name = 'timescaledb' AND trusted))"
        " FROM pg_user WHERE usename = current_user"
    ).scalar()
    if may_create:
        op.execute("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public")
    return bool(may_create)
