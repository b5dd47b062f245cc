"""On a Ray that others run: what is ours comes and goes, what is theirs stays."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import PM_AGENT, Served, clean_environment, free_port

RAY = Path(sys.executable).with_name("ray")
ACTORS = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
named = ray.util.list_named_actors(all_namespaces=True)
print(*sorted(actor["name"] for actor in named if actor["namespace"] == "pm-agent"))
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """GCS address of a cluster of one node, with Ray's own settings."""
    port = free_port()
    head = subprocess.Popen(
        [
            *(str(RAY), "start", "--head", "--block", "--disable-usage-stats"),
            *("--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2"),
            *("--include-dashboard", "false", "--object-store-memory", "80000000"),
            *("--temp-dir", tempfile.mkdtemp(prefix="ray")),  # short: sockets' paths end at 107
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=clean_environment(),
    )
    give_up_at = time.monotonic() + 60
    check = [str(RAY), "health-check", "--address", f"127.0.0.1:{port}"]
    while subprocess.run(check, check=False, env=clean_environment()).returncode:
        assert time.monotonic() < give_up_at, "Ray did not start"
        time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    os.killpg(head.pid, signal.SIGKILL)  # all of its processes are in one session
    head.wait()


@contextmanager
def up(data: Path, address: str) -> Iterator[Served]:
    port = free_port()
    process = subprocess.Popen(
        [str(PM_AGENT), "up", "--data", str(data), "--port", str(port)],
        env=clean_environment(PM_AGENT_RAY_ADDRESS=address, RAY_USAGE_STATS_ENABLED="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    served = Served(data, port, process)
    try:
        assert process.stdout is not None
        while "PM Agent is up" not in process.stdout.readline():
            assert process.poll() is None, process.communicate()
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def actors_at(address: str) -> str:
    """Names of our actors in the cluster."""
    found = subprocess.run(
        [sys.executable, "-c", ACTORS, address],
        check=True,
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    return found.stdout.strip()


def test_up_joins_a_cluster_and_leaves_nothing_of_ours_in_it(address: str, tmp_path: Path) -> None:
    for turn in range(2):  # the second finds no remains of the first in its way
        with up(tmp_path, address) as served:
            with served.client() as admin:
                admin.create_project(f"Turn {turn}")
                assert len(admin.list_projects().projects) == turn + 1
            assert actors_at(address) == "coordinator:main host:main"
            code, printed = served.stop()
        assert code == 0, printed
        assert actors_at(address) == ""
