"""Start a server of its own, play the story of ``story.py`` on it, and show the timeline.

Run it from the project's folder: ``.venv/bin/python -m examples.team.run``. It leaves nothing
running; ``--data FOLDER`` keeps the journal.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from examples.team.story import Json, connector, play
from pm_agent.client import AsyncClient

READY_S = 60.0
PM_AGENT = str(Path(sys.executable).with_name("pm-agent"))


def main() -> int:
    """Play, print, and say whether all came as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the journal; else it is thrown away")
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        place = data or Path(folder)
        with serving(place) as url:
            found = asyncio.run(_played(url, place))
        sys.stdout.write(json.dumps(found, indent=2) + "\n\n")
        sys.stdout.flush()
        subprocess.run([PM_AGENT, "timeline", "--data", str(place)], check=True)
    return 0 if found["told"]["delivered"] == 4 and found["unblocked"]["state"] == "resolved" else 1


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """Run a server on a free port of this machine; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [PM_AGENT, "up", "--no-ray", "--port", str(port), "--data", str(data)]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        _wait_until_ready(url := f"http://127.0.0.1:{port}", server)
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]") -> None:
    until_s = time.monotonic() + READY_S
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < until_s and server.poll() is None:
            with suppress(httpx.TransportError):
                if http.get(f"{url}/readyz").is_success:
                    return
            time.sleep(0.1)
    raise SystemExit("the server did not start")


async def _played(url: str, data: Path) -> Json:
    token = (data / "admin.token").read_text().strip()
    async with AsyncClient(url, token) as admin:
        return await play(admin, connector(f"{url}/mcp"))


if __name__ == "__main__":
    sys.exit(main())
