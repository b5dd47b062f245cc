"""One embedded Ray with the whole product on it, for the session. Only this folder starts Ray."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from actors import cluster
from actors.exposure import LOOPBACK_FLAG
from pm_agent.cli.serve import running_on_ray
from pm_agent.client import AsyncClient
from pm_agent.settings import Settings

# Ray reads its flags when it is imported, which the test modules do.
os.environ |= {**cluster.FLAGS, "RAY_AUTH_MODE": "token", "RAY_SERVE_ENABLE_HA_PROXY": "1"}
os.environ |= {LOOPBACK_FLAG: "0"}

Json = dict[str, Any]
PATIENCE_S = 60.0


class Product:
    """The running product: its address, the handles of its hosts, and clients for it."""

    def __init__(self, settings: Settings, hosts: list[Any]) -> None:
        from actors.coordinator import RemoteCoordinator  # noqa: PLC0415 - it imports Ray

        self.settings = settings
        self.hosts = hosts
        self.coordinator = RemoteCoordinator(settings.workspace)

    @property
    def admin_token(self) -> str:
        return self.settings.admin_token_path.read_text().strip()

    @asynccontextmanager
    async def client(self, token: str = "") -> AsyncIterator[AsyncClient]:
        """Speak with the product by HTTP, as the administrator unless a token is given."""
        token = token or self.admin_token
        async with AsyncClient(self.settings.url, token, patience_s=PATIENCE_S) as client:
            yield client


async def a_project(admin: AsyncClient, **more: Any) -> str:
    """Make a project that no other test has; return its id."""
    made = await admin.create_project(f"p {uuid4().hex[:8]}", **more)
    return made.project_id


async def an_agent(admin: AsyncClient, project_id: str, **more: Any) -> tuple[str, str]:
    """Register an agent for one project; return its id and its access token."""
    name = f"agent {uuid4().hex[:8]}"
    made = await admin.register_agent(name, project_ids=[project_id], **more)
    return made.agent_id, made.access_token


async def until(look: Callable[[], Awaitable[Any]], within_s: float = 60.0) -> Any:
    """Ask again and again, over the wire, until there is an answer that counts."""
    async with asyncio.timeout(within_s):
        while not (found := await look()):  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.05)
    return found


def marked_processes(mark: str) -> list[str]:
    """Command lines of living processes that carry a mark of ours in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if f"{cluster.MARK}={mark}".encode() in environment and state != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended meanwhile
            continue
    return found


def children_of_ray() -> list[subprocess.Popen[bytes]]:
    """Return the processes that Ray started from this one."""
    from ray._private import worker  # noqa: PLC0415 - reads its flags when imported

    node: Any = worker._global_node
    processes = node.all_processes.values()
    return [info.process for infos in processes for info in infos]


@contextmanager
def running_product(folder: Path) -> Iterator[Product]:
    """Run the product on Ray; nothing of it is left afterwards."""
    before = dict(os.environ)
    settings = Settings(data=folder, port=cluster.free_port(), seed=1)
    try:
        with running_on_ray(settings) as hosts:
            mark = os.environ[cluster.MARK]
            children = children_of_ray()
            yield Product(settings, hosts)
        assert marked_processes(mark) == []
        for child in children:  # Ray kills them and does not wait, which Python would complain of
            child.wait(10)
    finally:
        os.environ.clear()
        os.environ.update(before)
        if (
            sys.modules.get("pandas", sys) is None
        ):  # kept out of Ray's processes, of which we were one
            del sys.modules["pandas"]


class Session:
    """The one Ray of the session: begun by the first test that wants it, ended after the last."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._product: Product | None = None

    def product(self, folder: Path) -> Product:
        if self._product is None:
            self._product = self._stack.enter_context(running_product(folder))
        return self._product

    def end(self) -> None:
        self._product = None
        self._stack.close()


SESSION = Session()


@pytest.fixture
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return SESSION.product(tmp_path_factory.getbasetemp() / "product")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End Ray with the last test of this folder, not of the session: two cores are few."""
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        SESSION.end()
