"""Subjects are indexed a round of events at a time, in a table of its own."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Take over the full rounds."""
    op.execute(
        "CREATE TABLE subjects ("
        " subject TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (subject, position)"
        " ) WITHOUT ROWID"
    )
    op.execute(
        "INSERT INTO subjects SELECT subject, position FROM events WHERE position <="
        " (SELECT max(position) / 4096 * 4096 FROM events) ORDER BY subject, position"
    )
    op.execute("DROP INDEX events_by_subject")
    op.execute("UPDATE meta SET schema_version = 4")


def downgrade() -> None:
    """Index every event again."""
    op.execute("CREATE INDEX events_by_subject ON events (subject)")
    op.execute("DROP TABLE subjects")
    op.execute("UPDATE meta SET schema_version = 3")
