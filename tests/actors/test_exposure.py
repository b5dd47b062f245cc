"""What Ray Serve's HAProxy is made to do, with the real HAProxy and without Ray."""

import http.server
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from actors.cluster import free_port
from actors.exposure import BINARY, bind_privately
from pm_agent.settings import Settings
from tests.certificate import self_signed

# In the form in which Ray Serve 2.60 writes it, as far as it is about addresses.
CONFIGURATION = """\
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend prometheus
    bind :{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
frontend http_frontend
    bind 127.0.0.1:{public}
    default_backend replicas
backend replicas
    server replica 127.0.0.1:{replica}
listen stats
  bind *:{stats}
  stats enable
"""


class Replica(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers.get("X-Forwarded-For", "").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def replica() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replica)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server.server_address[1]
    server.shutdown()
    serving.join()
    server.server_close()


def test_haproxy_speaks_tls_and_keeps_its_own_pages_to_this_machine(
    tmp_path: Path, replica: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, metrics, stats = free_port(), free_port(), free_port()
    certificate, key = self_signed(tmp_path)
    settings = Settings(port=public, tls_cert=certificate, tls_key=key)
    monkeypatch.setenv("RAY_SERVE_HAPROXY_METRICS_PORT", str(metrics))
    monkeypatch.setenv("RAY_SERVE_HAPROXY_STATS_PORT", str(stats))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.delenv(BINARY, raising=False)
    bind_privately(settings, tmp_path)
    script = tmp_path / "haproxy-loopback.sh"
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        CONFIGURATION.format(public=public, metrics=metrics, stats=stats, replica=replica)
    )
    process = subprocess.Popen([script, "-f", configuration, "-db"], stderr=subprocess.PIPE)
    try:
        trust = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=trust, trust_env=False) as client:
            url = f"https://127.0.0.1:{public}/"
            assert answered(client, url, process).text == "127.0.0.1"  # who asked is passed on
            with pytest.raises(httpx.TransportError):
                httpx.get(f"https://127.0.0.1:{public}/", trust_env=False)
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{public}/", trust_env=False)
        corrected = configuration.read_text()
        assert f"bind 127.0.0.1:{metrics}\n" in corrected
        assert f"bind 127.0.0.1:{stats}\n" in corrected
    finally:
        process.terminate()
        process.communicate(timeout=10)


def answered(client: httpx.Client, url: str, process: subprocess.Popen[bytes]) -> httpx.Response:
    give_up_at = time.monotonic() + 10
    while True:
        assert process.poll() is None, process.communicate()
        try:
            return client.get(url)
        except httpx.ConnectError:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
