import json
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from pm_agent.client import ApiError, Client
from tests.certificate import self_signed
from tests.cli.conftest import run, serving


def test_with_a_certificate_the_server_speaks_tls_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    settings = {"PM_AGENT_TLS_CERT": str(certificate), "PM_AGENT_TLS_KEY": str(key)}
    with monkeypatch.context() as trusting:
        trusting.setenv("SSL_CERT_FILE", str(certificate))  # as users trust an authority of theirs
        with serving(tmp_path / "data", **settings) as served:
            assert served.url.startswith("https://")
            with served.client() as admin:
                assert admin.create_project("Web").project_id == "P-web"
                key_made = admin.issue_key(owner={"kind": "agent", "id": "A-ada", "role": "worker"})
            with served.client(key_made.key) as agent:  # its tokens name the https address, too
                assert agent.register_agent("Ada").agent_id == "A-ada"
            url = ("--url", served.url, "--data", served.data)
            assert "P-web" in run("status", *url).stdout
            shown = json.loads(run("connect", "claude", *url).stdout)
            assert shown["mcpServers"]["pm"]["url"] == f"{served.url}/mcp"
            trusting.delenv("SSL_CERT_FILE")
            with (
                Client(served.url, "x", patience_s=0.0) as stranger,
                pytest.raises(ApiError, match="unreachable"),
            ):
                stranger.get_status()
            plain = served.url.replace("https", "http")
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{plain}/healthz")
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
            with (
                socket.create_connection(("127.0.0.1", served.port)) as raw,
                old.wrap_socket(raw) as wrapped,
            ):
                assert wrapped.version() == "TLSv1.2"
