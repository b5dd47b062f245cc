"""PM Agent as its users run it: ``pm-agent up`` in a child process, on a free port of loopback.

Its processes are found by a mark in their environment, which Ray hands down to all of its own. So
memory and CPU are those of the whole product, and only what was started here is ever ended.
"""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.report import progress

MARK = "BENCHMARK_RUN"
READY_S = 120.0
STOP_S = 40.0
POLL_S = 0.02
HOST = "127.0.0.1"
OK = 200
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB_PER_MIB = 1024
# What is in the command lines of our processes; the rest of Ray counts as "other".
_KINDS = {
    "haproxy": "haproxy ",
    "ingress": "ray::ServeReplica",
    "coordinator": "ray::CoordinatorActor",
    "host": "ray::HostActor",
}


class Product(NamedTuple):
    """A running server."""

    host: str
    port: int
    token: str  # of an administrator
    mark: str = ""  # of its processes; empty when we did not start it
    cold_start_s: float = 0.0  # from the start of the process to the first 200 of /readyz

    def cpu_s(self) -> float:
        """CPU seconds used by all its processes that live; 0.0 when it is not ours."""
        return sum(_cpu_s(pid) for pid in marked(self.mark)) if self.mark else 0.0

    def pss_mib(self) -> float:
        """Memory of all its processes, shared pages counted once."""
        return sum(_pss_kib(pid) for pid in marked(self.mark)) / KIB_PER_MIB if self.mark else 0.0

    def n_processes(self) -> int:
        return len(marked(self.mark))


def attach(url: str, token: str) -> Product:
    """Use a server that runs already."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(f"{url} is not an address such as http://127.0.0.1:8470")
    return Product(parts.hostname, parts.port or 80, token)


@contextmanager
def running(
    folder: Path, *, no_ray: bool, environment: Mapping[str, str] | None = None
) -> Iterator[Product]:
    """Start the product with its data in ``folder``, wait until it is ready, and end it after.

    Parameters
    ----------
    environment
        More variables for it.

    Raises
    ------
    RuntimeError
        It ended, or was not ready in time; the message holds the end of its output.
    """
    mark, port = secrets.token_hex(8), free_port()
    argv = [str(Path(sys.executable).with_name("pm-agent")), "up"]
    argv += ["--port", str(port), "--data", str(folder), *(["--no-ray"] if no_ray else [])]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.log"
    # An address in this process's environment is for the rivals: the product keeps to its folder.
    given = {**os.environ, "PM_AGENT_DATABASE_URL": "", **(environment or {}), MARK: mark}
    start = time.perf_counter()
    with log.open("wb") as output:
        child = subprocess.Popen(
            argv,
            stdout=output,
            stderr=output,
            env=given,
            start_new_session=True,
        )
    try:
        wait_until_ready(child, port, log)
        took_s = time.perf_counter() - start
        token = (folder / "admin.token").read_text().strip()
        yield Product(HOST, port, token, mark, took_s)
    finally:
        stop(child, mark)


def marked(mark: str, variable: str = MARK) -> list[int]:
    """Ids of the living processes that carry a mark in a variable of their environment.

    Their children are among them: two of Ray's agents give themselves a title, which most often
    writes over the environment that can be read from outside.
    """
    wanted = f"{variable}={mark}".encode()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    while children := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= children
    return sorted(found)


def wait_until_ready(child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait until a server that was just started is ready.

    Raises
    ------
    RuntimeError
        It ended, or was not ready in time; the message holds the end of its output.
    """
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if child.poll() is not None:
            raise RuntimeError(f"pm-agent up ended with {child.returncode}:\n{_tail(log)}")
        if _is_ready(port):
            return
        time.sleep(POLL_S)
    raise RuntimeError(f"pm-agent up was not ready in {READY_S:.0f} s:\n{_tail(log)}")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def stop(child: "subprocess.Popen[bytes]", mark: str) -> None:
    """End the child as a user would, then whatever it left behind."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            progress(f"pm-agent up did not stop within {STOP_S:.0f} s")
            child.kill()
            child.wait()
    end = time.monotonic() + 3.0  # Ray's own processes end a moment after it
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        progress(f"ending process {pid} that was left behind")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:]


def _cpu_s(pid: int) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _stat(pid: int) -> list[str]:
    """Fields of a process from its state on; the name before that may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s_by_process(mark: str) -> Counter[str]:
    """CPU seconds used by the living processes that carry a mark, by what each is."""
    used: Counter[str] = Counter()
    for pid in marked(mark):
        used[_kind(pid)] += _cpu_s(pid)  # type: ignore[assignment]  # a Counter takes floats too
    return used


def _kind(pid: int) -> str:
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        for kind, words in _KINDS.items():
            if words in command:
                return kind
    return "other"


def _pss_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
