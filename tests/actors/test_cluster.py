"""Starting and ending an embedded Ray: what is refused, and what is left alone."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from actors import cluster
from pm_agent.domain.errors import HAProxyMissing, RayNotAvailable
from pm_agent.settings import Settings
from tests.actors.conftest import Product, marked_processes

LOOPBACK = ("127.0.0.1", "::1")
WAITING = (sys.executable, "-c", "import sys; sys.stdin.read()")


@pytest.fixture
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_second_ray_in_one_process_is_refused_and_harms_nothing(product: Product) -> None:
    before = dict(os.environ)
    with pytest.raises(RayNotAvailable) as refused:
        cluster.start(product.settings)
    assert refused.value.code == "ray_not_available"
    assert "ray.shutdown()" in refused.value.next_step
    assert dict(os.environ) == before
    assert marked_processes(before[cluster.MARK])


def test_every_process_of_our_ray_carries_the_mark(product: Product) -> None:
    told = " ".join(marked_processes(os.environ[cluster.MARK]))
    for name in ("gcs_server", "raylet", "haproxy", "CoordinatorActor", "HostActor"):
        assert name in told


def test_nothing_of_ours_listens_beyond_loopback(product: Product) -> None:
    listening = {
        (process.name(), socket.laddr.ip, socket.laddr.port)
        for process in our_processes()
        for socket in process.net_connections(kind="tcp")
        if socket.status == psutil.CONN_LISTEN
    }
    assert {"haproxy", "gcs_server", "raylet"} <= {name for name, _, _ in listening}
    assert any(port == product.settings.port for _, _, port in listening)
    assert {one for one in listening if one[1].removeprefix("::ffff:") not in LOOPBACK} == set()


def our_processes() -> Iterator[psutil.Process]:
    """This process, and all that our Ray has started."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            marked = process.environ().get(cluster.MARK) == os.environ[cluster.MARK]
            if marked or process.pid == os.getpid():
                yield process


def test_only_processes_with_our_mark_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {name: value for name, value in os.environ.items() if name != cluster.MARK}
    monkeypatch.setenv(cluster.MARK, "mine")
    started = [
        subprocess.Popen(WAITING, stdin=subprocess.PIPE, env=env)
        for env in (
            {**bare, cluster.MARK: "mine"},
            {**bare, cluster.MARK: "mine-too"},
            {**bare, f"NOT_{cluster.MARK}": "mine"},
            bare,
        )
    ]
    try:
        cluster.end_leftovers()
        assert started[0].wait(10) == -9
        assert [process.poll() for process in started[1:]] == [None] * 3
    finally:
        for process in started:
            process.communicate()


def test_without_a_mark_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.MARK, raising=False)
    with subprocess.Popen(WAITING, stdin=subprocess.PIPE) as process:
        cluster.end_leftovers()
        assert process.poll() is None


@pytest.mark.usefixtures("_own_environment")
def test_what_an_operator_has_set_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_NBTHREAD", "4")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    cluster.prepare_environment(Settings(ray_address="auto", haproxy=False))
    assert os.environ["RAY_SERVE_HAPROXY_NBTHREAD"] == "4"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ


@pytest.mark.usefixtures("_own_environment")
def test_haproxy_is_asked_for_only_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "has_haproxy", lambda: False)
    with pytest.raises(HAProxyMissing):
        cluster.prepare_environment(Settings())
    cluster.prepare_environment(Settings(ray_address="auto", haproxy=False))


def test_free_ports_are_free_and_differ() -> None:
    assert len({cluster.free_port() for _ in range(5)}) > 1


def test_a_window_in_which_somebody_listens_is_passed_over() -> None:
    start = cluster.free_window(range(20_000, 29_000, cluster.WINDOW)).start
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", start + 3))
        taken.listen()
        windows = range(start, start + 5 * cluster.WINDOW, cluster.WINDOW)
        assert start not in {cluster.free_window(windows).start for _ in range(50)}
