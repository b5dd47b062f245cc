"""A journal that reports some appends as failed, of which some were written all the same.

`PM_AGENT_TEST_AMBIGUOUS=0.01` puts it under all of `tests/api`: one append in a hundred ends in
doubt, and whoever was answered 503 asks again with the same request id.
"""

import os
from random import Random

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.domain.errors import JournalUnavailable
from pm_agent.ports import Batch

SHARE = float(os.environ.get("PM_AGENT_TEST_AMBIGUOUS", "0"))
WRITTEN = 0.5  # of the appends that are reported as failed

_random = Random(int(os.environ.get("PM_AGENT_TEST_SEED", "1")))
counts = {"appends": 0, "failed": 0, "written": 0}


class AmbiguousJournal(MemoryJournal):
    """Fails before the append, or after it."""

    async def append(self, batch: Batch) -> None:
        counts["appends"] += 1
        if _random.random() >= SHARE:
            await super().append(batch)
            return
        counts["failed"] += 1
        if _random.random() < WRITTEN:
            counts["written"] += 1
            await super().append(batch)
        raise JournalUnavailable
