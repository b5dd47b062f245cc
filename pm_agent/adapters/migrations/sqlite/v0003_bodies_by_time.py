"""Texts lie in their key itself, as references that begin with their time lie side by side."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Copy them into a table without row numbers."""
    op.execute("ALTER TABLE bodies RENAME TO old_bodies")
    op.execute("CREATE TABLE bodies (ref TEXT PRIMARY KEY, salt BLOB, text TEXT) WITHOUT ROWID")
    op.execute("INSERT INTO bodies SELECT ref, salt, text FROM old_bodies ORDER BY ref")
    op.execute("DROP TABLE old_bodies")
    op.execute("UPDATE meta SET schema_version = 3")


def downgrade() -> None:
    """Copy them back."""
    op.execute("ALTER TABLE bodies RENAME TO new_bodies")
    op.execute("CREATE TABLE bodies (ref TEXT PRIMARY KEY, salt BLOB, text TEXT)")
    op.execute("INSERT INTO bodies SELECT ref, salt, text FROM new_bodies ORDER BY ref")
    op.execute("DROP TABLE new_bodies")
    op.execute("UPDATE meta SET schema_version = 2")
