import pytest

from pm_agent.domain.access import AccessRefused
from pm_agent.domain.errors import JournalUnavailable
from tests.runtime.line import running


async def test_refusals_are_counted_once_when_the_append_that_notes_them_ends_in_doubt() -> None:
    async with running() as (line, ingress):
        ingress.refuse_stranger("192.0.2.1", "no token")
        line.error, line.n_cut_after = JournalUnavailable, 1
        with pytest.raises(JournalUnavailable):
            await ingress.note_access()
        ingress.refuse_stranger("192.0.2.1", "no token")
        await ingress.note_access()  # the same note once more: it was written
        await ingress.note_access()
        last = (await ingress.health()).position
        events = [await ingress.event_at(position) for position in range(1, last + 1)]
    noted = [event.data for event in events if event and isinstance(event.data, AccessRefused)]
    assert [[one.n for one in note.refusals] for note in noted] == [[1], [1]]
