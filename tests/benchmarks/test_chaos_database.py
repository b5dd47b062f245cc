"""PostgreSQL killed under a coordinator in this process: refused, then back, and nothing lost."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from benchmarks.chaos_database import Database, missing
from pm_agent.bootstrap import build_coordinator, open_journal_readonly
from pm_agent.cli.audit import verify_journal
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import JournalUnavailable
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.settings import Settings
from tests.scenario import a_project

N_KILLS = int(os.environ.get("PM_AGENT_TEST_KILLS", "3"))
BACK_S = 10.0
PAUSE_S = 0.05


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    if why := missing():
        pytest.skip(why)
    database = Database()
    await database.start()
    yield database
    await asyncio.to_thread(database.stop)


class Writer:
    """Creates projects one after another, each again and again until it is acknowledged."""

    def __init__(self, loop: CoordinatorLoop) -> None:
        self._loop = loop
        self.acknowledged: list[str] = []
        self.n_refused = 0

    async def run(self) -> None:
        while True:
            command = a_project(f"P-{len(self.acknowledged)}")
            if await self._is_done(command):
                self.acknowledged.append(command.request_id)
            else:
                await asyncio.sleep(PAUSE_S)

    async def grows(self, by: int) -> None:
        """Wait for more acknowledgements."""
        wanted = len(self.acknowledged) + by
        async with asyncio.timeout(BACK_S * 3):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - a server is waited for
                await asyncio.sleep(PAUSE_S / 5)

    async def is_refused(self) -> None:
        """Wait for one more refusal."""
        before = self.n_refused
        async with asyncio.timeout(BACK_S):
            while self.n_refused == before:  # noqa: ASYNC110 - as above
                await asyncio.sleep(PAUSE_S / 5)

    async def _is_done(self, command: Command) -> bool:
        try:
            (reply,) = await self._loop.submit([command], [])
        except JournalUnavailable:
            self.n_refused += 1
            return False
        assert reply.error is None, reply
        return True


async def test_a_killed_database_loses_nothing_that_was_acknowledged(
    database: Database,
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    settings = Settings.model_validate({"data": tmp_path, "PM_AGENT_DATABASE_URL": database.url})
    loop = build_coordinator(settings)
    await loop.start()
    writer = Writer(loop)
    writing = asyncio.create_task(writer.run())
    longest_s = 0.0
    for _ in range(N_KILLS):
        await writer.grows(by=20)
        await database.kill()
        killed_s = time.monotonic()
        await writer.is_refused()
        await database.start()
        await writer.grows(by=1)
        longest_s = max(longest_s, time.monotonic() - killed_s)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await loop.stop()
    record_testsuite_property("database_killed_longest_gap_s", longest_s)
    journal = open_journal_readonly(settings)
    causes = [event.cause for event in await journal.read(0, 1_000_000)]
    await journal.close()
    assert len(causes) == len(set(causes)), "each request has one effect"
    assert set(writer.acknowledged) <= set(causes)
    assert (await verify_journal(settings)).problems == []
