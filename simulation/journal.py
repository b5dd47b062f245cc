"""A run's journal as a file, as a coordinator would have written it."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.envelope import DEFAULT_WORKSPACE
from pm_agent.kernel.engine import Step
from pm_agent.ports import Batch

AT_ONCE = 1_000  # events, at least, in one transaction: a run need not survive a crash


class JournalFile:
    """Writes the steps of one run into a new journal.

    Parameters
    ----------
    path : Path
        Of a file that does not exist yet.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._kept = Step()

    def __enter__(self) -> Self:
        if self._path.exists():
            raise FileExistsError(f"{self._path} exists already; a journal is never overwritten.")
        self._runner = asyncio.Runner()
        self._journal = SQLiteJournal(self._path, DEFAULT_WORKSPACE)
        self._epoch = self._runner.run(self._journal.activate()).epoch
        return self

    def write(self, step: Step) -> None:
        """Add a step."""
        self._kept.stored += step.stored
        self._kept.bodies += step.bodies
        self._kept.requests += step.requests
        if len(self._kept.stored) >= AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        kept, self._kept = self._kept, Step()
        if kept.stored:
            batch = Batch(self._epoch, kept.stored, kept.bodies, kept.requests)
            self._runner.run(self._journal.append(batch))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._flush()
            self._runner.run(self._journal.close())
        finally:
            self._runner.close()
