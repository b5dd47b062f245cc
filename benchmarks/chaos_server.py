"""The system under test as the chaos run sees it: processes to find by their role, kill and start.

``pm-agent up`` runs in a session of its own. Its processes carry a mark in their environment, so
only what was started here is ever stopped or killed.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.product import (
    HOST,
    MARK,
    free_port,
    marked,
    stop,
    wait_until_ready,
)

# How a process of each role begins its command line; Ray names its workers for their actor.
ROLES = {
    "coordinator": "ray::CoordinatorActor",
    "replica": "ray::ServeReplica",
    "host": "ray::HostActor",
    "haproxy": "haproxy",
}
GONE_S = 10.0


class Server:
    """``pm-agent up`` on one folder and one port, through any number of lives.

    Parameters
    ----------
    folder
        Of the journal; it must exist.
    environment
        Settings beside this process's own, such as ``PM_AGENT_DATABASE_URL``.
    options
        More arguments of ``pm-agent up``.
    """

    def __init__(
        self,
        folder: Path,
        log: Path,
        *,
        environment: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._mark = secrets.token_hex(8)
        self._log = log
        self.environment = environment or {}
        self._argv = [str(Path(sys.executable).with_name("pm-agent")), "up", *options]
        self._argv += ["--port", str(self.port), "--data", str(folder)]
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return HOST

    @property
    def token(self) -> str:
        """The administrator's token."""
        return (self.folder / "admin.token").read_text().strip()

    async def start(self) -> float:
        """Start it; return the seconds until it was ready.

        Raises
        ------
        RuntimeError
            It ended, or was not ready in time.
        """
        start_s = time.monotonic()
        environment = {**os.environ, **self.environment, MARK: self._mark}
        self._child = await asyncio.to_thread(self._begin, environment)
        await asyncio.to_thread(wait_until_ready, self._child, self.port, self._log)
        return time.monotonic() - start_s

    def _begin(self, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._argv, stdout=output, stderr=output, env=environment, start_new_session=True
            )

    async def stop(self) -> None:
        """End it as a user would."""
        if self._child is not None:
            child, self._child = self._child, None
            await asyncio.to_thread(stop, child, self._mark)

    def pids(self, role: str = "") -> list[int]:
        """Living processes of a role, or all of them."""
        return [pid for pid in marked(self._mark) if not role or has_role(role, pid)]

    def send(self, role: str, number: signal.Signals) -> list[int]:
        """Send a signal to the processes of a role; return which."""
        return send(self.pids(role), number)

    async def kill_all(self) -> list[int]:
        """Kill every process of it, and wait until they are gone."""
        killed = send(self.pids(), signal.SIGKILL)
        if self._child is not None:
            child, self._child = self._child, None
            await asyncio.to_thread(child.wait)
        end_s = time.monotonic() + GONE_S
        while time.monotonic() < end_s:
            if not send(self.pids(), signal.SIGKILL):  # one may have been born meanwhile
                break
            await asyncio.sleep(0.05)
        return killed


def send(pids: list[int], number: signal.Signals) -> list[int]:
    """Signal processes that may be gone; return those that were there."""
    there = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            there.append(pid)
    return there


def is_alive(pid: int) -> bool:
    """Whether a process lives; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def has_role(role: str, pid: int) -> bool:
    """Whether a process is of a role, by its command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return Path(words[0].decode(errors="replace").split(" ")[0]).name.startswith(ROLES[role])
