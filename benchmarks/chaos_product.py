"""PM Agent on Ray as the subject of a chaos run, and what any such subject must be able to do."""

import asyncio
from pathlib import Path
from typing import Protocol

from benchmarks.chaos_check import Truth, facts_of
from benchmarks.chaos_database import Database
from benchmarks.chaos_faults import System
from benchmarks.chaos_report import ChaosReport
from benchmarks.chaos_server import Server
from benchmarks.population import Administrator
from benchmarks.product import Product
from pm_agent.bootstrap import open_journal_readonly
from pm_agent.cli.audit import verify_journal
from pm_agent.settings import Settings

SILENCE_S = 4.0  # of an agent, until its leases are suspect; agents speak every 2.5 s on average
LOST_S = 2 * SILENCE_S  # until they end
PRODUCT_KINDS = (
    "kill_coordinator",
    "kill_replica",
    "kill_host",
    "kill_haproxy",
    "kill_group",
    "stop_coordinator",
    "stop_agents",
    "kill_agents",
    "delay",
    "reset",
    "half_open",
    "drop_reply",
    "disk_full",
)


class Subject(System, Protocol):
    """A system under test with its address and, once it is at rest, what it has kept."""

    @property
    def name(self) -> str: ...
    @property
    def journal(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...
    @property
    def port(self) -> int: ...
    @property
    def is_idempotent(self) -> bool:
        """Whether it promises the same answer to the same request id."""
        ...

    @property
    def token(self) -> str: ...
    async def stop(self) -> None: ...
    async def truth(self, report: ChaosReport) -> Truth: ...
    def clear(self) -> None:
        """Leave nothing behind."""


class ProductSubject(Server):
    """PM Agent on Ray."""

    name = "pm-agent"
    is_idempotent = True
    kinds: tuple[str, ...] = PRODUCT_KINDS

    def __init__(self, folder: Path, log: Path, *, on_postgres: bool) -> None:
        self._database = Database() if on_postgres else None
        self.journal = "postgres" if on_postgres else "sqlite"
        if on_postgres:
            self.kinds = (*(kind for kind in PRODUCT_KINDS if kind != "disk_full"), "kill_database")
        # An address in this process's environment must not lead to somebody's database.
        own = {"PM_AGENT_SILENCE_S": str(SILENCE_S), "PM_AGENT_DATABASE_URL": ""}
        super().__init__(folder, log, environment=own)

    async def start(self) -> float:
        if self._database is not None:
            await self._database.start()
            self.environment["PM_AGENT_DATABASE_URL"] = self._database.url
        return await super().start()

    async def kill_database(self) -> None:
        assert self._database is not None
        await self._database.kill()

    async def start_database(self) -> None:
        assert self._database is not None
        await self._database.start()

    async def can_read(self) -> bool:
        product = Product(self.host, self.port, self.token)
        async with Administrator(product) as administrator:
            try:
                async with asyncio.timeout(2.0):
                    return bool(await administrator.ask("GET", "/v1/status"))
            except (RuntimeError, TimeoutError, OSError):
                return False

    async def truth(self, report: ChaosReport) -> Truth:
        url = self.environment["PM_AGENT_DATABASE_URL"]
        settings = Settings.model_validate({"data": self.folder, "PM_AGENT_DATABASE_URL": url})
        verified = await verify_journal(settings)
        report.verified_events = verified.events
        report.verified_assignments = verified.assignments
        report.double_assignments += verified.double_assignments
        if verified.problems:
            report.found["verify"] = len(verified.problems)
            report.examples += verified.problems
        journal = open_journal_readonly(settings)
        try:
            return Truth(await facts_of(journal))
        finally:
            await journal.close()

    def clear(self) -> None:
        if self._database is not None:
            self._database.stop()
