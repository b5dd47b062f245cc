"""The table for people as a hypertable, on the real TimescaleDB.

This build of it, PGlite as WebAssembly, loads the extension with its first use and cannot load it
at the server's start, which our migration asks for. So that one setting is told otherwise, by a
function that hides PostgreSQL's own; all else is the server's answer. It serves one connection at
a time, so the journal itself, which holds more, is tested on partitions.
"""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pm_agent.adapters.history_postgres import HYPERTABLE, TaskHistory, encode_rows, keep, layout
from pm_agent.adapters.migrations import upgrade_postgres
from pm_agent.adapters.postgres import SCHEMA
from tests.cli.conftest import free_port
from tests.scenario import ADA, START_US, Scenario, a_project, an_agent, complete
from tests.services.node import MODULES, NODE, environment

SERVER = Path(__file__).with_name("timescale_server.mjs")
PRELOADED = f"""CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE OR REPLACE FUNCTION {SCHEMA}.current_setting(name text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE name WHEN 'shared_preload_libraries' THEN 'timescaledb'
        ELSE pg_catalog.current_setting(name) END
$$"""
DAYS = 40


class Abrupt(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Hangs up without a good-bye, to which this server does not answer."""

    async def close(self, *, timeout: float | None = None) -> None:
        self.terminate()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with the extension at hand."""
    folder, port = tmp_path_factory.mktemp("timescale"), free_port()
    program = folder / SERVER.name
    program.write_text(SERVER.read_text())
    (folder / "node_modules").symlink_to(MODULES)
    process = subprocess.Popen(
        [str(NODE / "node"), str(program), str(port)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"postgresql://postgres:password@127.0.0.1:{port}/template1?sslmode=disable"
    finally:
        process.kill()
        process.communicate()


async def connect(url: str) -> Any:
    path = f"{SCHEMA}, pg_catalog, public"
    connection = await asyncpg.connect(url, connection_class=Abrupt)
    await connection.execute(PRELOADED)
    await connection.execute(f"SET search_path = {path}")
    return connection


def told() -> list[Any]:
    """A task a day for some weeks, done at once."""
    scenario = Scenario()
    scenario.given(a_project(), an_agent(ADA))
    for _ in range(DAYS):
        task_id = scenario.new_task()
        scenario.given(complete(task_id, scenario.assigned(ADA).lease_token))
        scenario.after(days=1)
    return scenario.journal


async def test_a_hypertable_is_made_filled_and_shortened(url: str) -> None:
    await upgrade_postgres(lambda: connect(url))
    connection = await connect(url)
    assert await layout(connection) == HYPERTABLE
    assert await connection.fetchval(
        "SELECT count(*) FROM pg_extension WHERE extname='timescaledb'"
    )

    rows = TaskHistory("main").rows(told())
    await connection.execute(
        "INSERT INTO task_history"
        " SELECT new.* FROM json_populate_recordset(NULL::task_history, $1::json) AS new",
        encode_rows(rows).decode(),
    )
    chunks = "SELECT count(*) FROM timescaledb_information.chunks"
    n_chunks = await connection.fetchval(chunks)
    assert n_chunks > 4

    age = datetime.now(UTC) - datetime.fromtimestamp(START_US / 1e6, UTC)
    await keep(connection, age.days - DAYS // 2)
    assert 0 < await connection.fetchval(chunks) < n_chunks
    oldest = await connection.fetchval("SELECT min(timestamp) FROM task_history")
    whole_chunk = timedelta(days=7)  # only as a whole can one be dropped
    assert oldest > datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(DAYS // 2) - whole_chunk
    done = "SELECT count(*) FROM task_history WHERE status = 'done'"
    assert await connection.fetchval(done) < DAYS
    await connection.close()
