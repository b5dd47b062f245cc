"""One workspace in this process: journal in memory, coordinator, ingress and the app over HTTP."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

import httpx
import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.api.http import HttpApp, build_app
from pm_agent.catalog import CATALOG
from pm_agent.domain.access import IssueToken
from pm_agent.domain.envelope import SYSTEM, Principal
from pm_agent.domain.errors import JournalUnavailable
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.types import Policy
from pm_agent.ports import Head, Journal, StoredSnapshot
from pm_agent.runtime.admission import Limits
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.runtime.credentials import Credentials
from pm_agent.runtime.ingress import Ingress
from tests import ambiguous_journal
from tests.ambiguous_journal import AmbiguousJournal

SEED = 7
ADMIN, LEAD = "secret-of-admin", "secret-of-lead"
OWNERS = {
    ADMIN: Principal("person", "root", "admin"),
    LEAD: Principal("person", "lena", "lead"),
}


_asked = itertools.count(1)


def _journal() -> MemoryJournal:
    return AmbiguousJournal() if ambiguous_journal.SHARE else MemoryJournal()


def build_engine(saved: StoredSnapshot | None, head: Head, now_us: int) -> Engine:
    world, outbox = snapshots.load(saved) if saved else (None, None)
    return Engine(
        CATALOG,
        FactorsScorer(),
        Policy(),
        seed=SEED,
        started_us=now_us,
        world=world,
        outbox=outbox,
        head=head,
    )


class Stack:
    """The app with what is behind it, and short words for talking to it."""

    def __init__(self, app: HttpApp, ingress: Ingress, loop: CoordinatorLoop) -> None:
        self.app = app
        self.ingress = ingress
        self.loop = loop
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    @property
    def position(self) -> int:
        """Of the truth: refusals must leave it where it is."""
        return self.loop.engine.world.position

    @property
    def fingerprint(self) -> str:
        return self.loop.engine.world.fingerprint()

    async def call(self, method: str, path: str, token: str = ADMIN, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-PM-Position": str(self.position)}
        headers |= more.pop("headers", {})
        if not ambiguous_journal.SHARE:
            return await self.http.request(method, path, headers=headers, **more)
        if method != "GET" and "request_id" not in str(more.get("json", "")):
            headers.setdefault("Idempotency-Key", f"asked-{next(_asked)}")
        while True:
            response = await self.http.request(method, path, headers=headers, **more)
            if response.status_code != 503 or "journal_unavailable" not in response.text:
                return response
            await self.until(lambda: self.loop._engine is not None)

    async def ok(self, method: str, path: str, token: str = ADMIN, **more: Any) -> dict[str, Any]:
        response = await self.call(method, path, token, **more)
        assert response.status_code < 300, response.text
        result: dict[str, Any] = response.json()
        assert result["server_time"].endswith("Z")
        return result

    async def note_access(self) -> None:
        """Write into the journal who was refused, and try again as the server does."""
        await self.again(self.ingress.note_access)

    async def tick(self) -> None:
        """Let what is due by now happen, as the coordinator's clock does, and be known here."""
        await self.again(lambda: self.loop.submit([], []))
        await self.ingress.reach(self.position)

    async def again(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask, and once more whenever an append ended in doubt."""
        while True:
            try:
                await ask()
            except JournalUnavailable:
                if not ambiguous_journal.SHARE:
                    raise
                await self.until(lambda: self.loop._engine is not None)
            else:
                return

    def stands(self, agent_id: str) -> bool:
        """Whether the agent's offer stands, in the engine of the moment."""
        engine = self.loop._engine
        return engine is not None and agent_id in engine.presence.offers

    async def until(self, is_so: Callable[[], object]) -> None:
        """Let the others run until something is so."""
        async with asyncio.timeout(5):
            while not is_so():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)

    async def project(self, name: str = "Web", **more: Any) -> str:
        made = await self.ok("POST", "/v1/projects", json={"name": name, **more})
        return str(made["project_id"])

    async def task(self, project_id: str = "P-web", **fields: Any) -> str:
        fields.setdefault("title", "Build it")
        made = await self.ok("POST", f"/v1/projects/{project_id}/tasks", json=fields)
        return str(made["task_id"])

    async def agent(self, name: str, **fields: Any) -> tuple[str, str]:
        """Register an agent; return its id and its access token."""
        made = await self.ok("POST", "/v1/agents", json={"name": name, **fields})
        return str(made["agent_id"]), str(made["access_token"])

    async def claim(self, agent_id: str, token: str) -> dict[str, Any]:
        return await self.ok("POST", f"/v1/agents/{agent_id}/next-task", token)


@asynccontextmanager
async def running(
    journal: Journal | None = None,
    limits: Limits | None = None,
    credentials: Credentials | None = None,
    **options: Any,
) -> AsyncIterator[Stack]:
    clock = SystemClock()
    loop = CoordinatorLoop(journal or _journal(), build_engine, clock)
    await loop.start()
    issue = [
        IssueToken(
            request_id=f"token:{owner.id}",
            principal=SYSTEM,
            sha256=sha256(secret.encode()).hexdigest(),
            owner=owner,
        )
        for secret, owner in OWNERS.items()
    ]
    for _ in range(100):  # an append may end in doubt; the same requests may come again
        with suppress(JournalUnavailable):
            await loop.submit([*issue], [])
            break
        await asyncio.sleep(0.01)
    ingress = Ingress(loop, clock, limits or Limits(), credentials=credentials)
    app = build_app(ingress, **options)
    async with app.lifespan():
        await ingress.reach(loop.engine.world.position)
        stack = Stack(app, ingress, loop)
        async with stack.http:
            yield stack
    await loop.stop()


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    # The app's task group must end in the task that began it, and fixtures end in another one.
    started: asyncio.Future[Stack] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def live() -> None:
        async with running() as made:
            started.set_result(made)
            await over.wait()

    living = asyncio.create_task(live())
    await asyncio.wait((started, living), return_when=asyncio.FIRST_COMPLETED)
    if living.done():
        living.result()
    yield started.result()
    over.set()
    await living


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ambiguous_journal.SHARE:
        n = ambiguous_journal.counts
        told = f"{n['appends']} appends, {n['failed']} in doubt, {n['written']} of them written"
        terminalreporter.write_line(told)
