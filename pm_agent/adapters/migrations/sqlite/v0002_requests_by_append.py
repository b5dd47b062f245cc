"""All requests of one append in one row."""

from hashlib import sha256

import msgspec
from alembic import op

revision = "0002"
down_revision = "0001"

FIELDS = "principal, request_id, body_sha256, at_us, position, reply"


def upgrade() -> None:
    """Pack the rows of each instant: those of one append have one."""
    connection = op.get_bind()
    packed: dict[int, list[dict[str, object]]] = {}
    for row in connection.exec_driver_sql(f"SELECT {FIELDS} FROM requests ORDER BY at_us, rowid"):  # noqa: S608 - a constant
        packed.setdefault(row.at_us, []).append(dict(row._mapping))  # noqa: SLF001 - its public name
    op.execute("DROP TABLE requests")
    op.execute(
        "CREATE TABLE requests (at_us INTEGER NOT NULL, sha256 BLOB NOT NULL, data BLOB NOT NULL)"
    )
    for at_us, requests in packed.items():
        data = msgspec.msgpack.encode(requests)
        values = (at_us, sha256(data).digest(), data)
        connection.exec_driver_sql("INSERT INTO requests VALUES (?, ?, ?)", values)
    op.execute("UPDATE meta SET schema_version = 2")


def downgrade() -> None:
    """Unpack them."""
    connection = op.get_bind()
    rows = connection.exec_driver_sql("SELECT data FROM requests ORDER BY rowid").fetchall()
    op.execute("DROP TABLE requests")
    op.execute(
        "CREATE TABLE requests (principal TEXT NOT NULL, request_id TEXT NOT NULL,"
        " body_sha256 BLOB NOT NULL, at_us INTEGER NOT NULL, position INTEGER NOT NULL,"
        " reply BLOB NOT NULL)"
    )
    op.execute("CREATE INDEX requests_by_time ON requests (at_us)")
    for (data,) in rows:
        for request in msgspec.msgpack.decode(data):
            values = tuple(request[field] for field in FIELDS.split(", "))
            connection.exec_driver_sql("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?)", values)
    op.execute("UPDATE meta SET schema_version = 1")
