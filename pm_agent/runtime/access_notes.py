"""Who was refused and which keys are in use, written into the journal now and then."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from uuid import uuid4

from pm_agent.domain.access import NoteKeysUsed, NoteRefusals, Refusals
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.errors import PMError
from pm_agent.kernel.types import Reply
from pm_agent.runtime.credentials import Credentials

audit = logging.getLogger("pm_agent.audit")  # who was refused, and why; one line each

NOTE_S = 10.0  # between notes in the journal
# Different ones in a note: strangers must not make the journal grow as they like.
MAX_REFUSALS = 100


class AccessNotes:
    """Counts refusals until they are written."""

    def __init__(
        self, credentials: Credentials, submit: Callable[[Command], Awaitable[Reply]]
    ) -> None:
        self._credentials = credentials
        self._submit = submit
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._notes: dict[str, Command] = {}  # by request id: sent, and not answered yet

    def refused(self, address: str, reason: str) -> None:
        """Count a request without a valid token."""
        audit.warning("refused %s: %s", address, reason)
        known = (reason, address)
        if known not in self._refusals and len(self._refusals) >= MAX_REFUSALS:
            known = ("more", "elsewhere")
        self._refusals[known] += 1

    async def run(self, can_begin: Callable[[], bool]) -> None:
        """Write them every ten seconds, until cancelled."""
        while True:
            await asyncio.sleep(NOTE_S)
            with suppress(PMError):
                await self.write(is_new=can_begin())

    async def write(self, *, is_new: bool = True) -> None:
        """Write what could not be written before, or else, with ``is_new``, what came since.

        Raises
        ------
        Unavailable
            What could not be written is kept, and sent again as it was, since it may have been
            written all the same.
        """
        if not self._notes and is_new:
            self._notes = {note.request_id: note for note in self._taken()}
        for note in list(self._notes.values()):
            await self._submit(note)
            self._notes.pop(note.request_id, None)

    def _taken(self) -> Iterator[Command]:
        if self._refusals:
            counted, self._refusals = self._refusals, Counter()
            refusals = tuple(Refusals(why, where, n) for (why, where), n in counted.items())
            yield NoteRefusals(request_id=uuid4().hex, principal=SYSTEM, refusals=refusals)
        used = self._credentials.take_used()
        if used:
            yield NoteKeysUsed(request_id=uuid4().hex, principal=SYSTEM, key_ids=used)
