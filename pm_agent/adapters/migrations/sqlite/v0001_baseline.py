"""The first tables."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """CREATE TABLE meta (
        schema_version INTEGER NOT NULL, workspace_id TEXT NOT NULL,
        epoch INTEGER NOT NULL, probes INTEGER NOT NULL
    )""",
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, epoch INTEGER NOT NULL,
        kind TEXT NOT NULL, schema_version INTEGER NOT NULL, principal TEXT NOT NULL,
        cause TEXT NOT NULL, subject TEXT NOT NULL, payload BLOB NOT NULL, hash BLOB NOT NULL
    )""",
    # An index entry ends with the row's key, so this one is ordered by (subject, position).
    "CREATE INDEX events_by_subject ON events (subject)",
    # An erased body keeps its row, without salt and text: erased and never seen are two things.
    # References begin with their time, so new rows lie side by side on the same few pages.
    "CREATE TABLE bodies (ref TEXT PRIMARY KEY, salt BLOB, text TEXT)",
    """CREATE TABLE requests (
        principal TEXT NOT NULL, request_id TEXT NOT NULL, body_sha256 BLOB NOT NULL,
        at_us INTEGER NOT NULL, position INTEGER NOT NULL, reply BLOB NOT NULL
    )""",
    "CREATE INDEX requests_by_time ON requests (at_us)",
    """CREATE TABLE snapshots (
        position INTEGER NOT NULL, schema_version INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (schema_version, position)
    )""",
)


def upgrade() -> None:
    """Make everything."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Take everything away, the journal included."""
    for name in ("snapshots", "requests", "bodies", "events", "meta"):
        op.execute(f"DROP TABLE {name}")
