"""The seal: any change, cut or swap in the journal is found."""

import msgspec
import pytest

from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.kernel.invariants import check_replay
from pm_agent.ports import GENESIS, StoredEvent
from tests.scenario import Scenario, complete


@pytest.fixture
def journal(team: Scenario) -> list[StoredEvent]:
    for _ in range(2):
        team.new_task()
        given = team.assigned()
        team.given(complete(given.task_id, given.lease_token))
    return list(team.journal)


def broken_at(journal: list[StoredEvent]) -> int | None:
    """Index of the first event that does not follow the one before it."""
    previous = GENESIS
    for index, stored in enumerate(journal):
        if not is_intact(stored, previous):
            return index
        previous = stored.hash
    return None


def test_an_untouched_journal_is_intact(journal: list[StoredEvent]) -> None:
    assert broken_at(journal) is None
    assert [unseal(stored).position for stored in journal] == list(range(1, len(journal) + 1))


@pytest.mark.parametrize(
    "field",
    [
        "position",
        "at_us",
        "epoch",
        "kind",
        "schema_version",
        "principal",
        "cause",
        "subject",
        "payload",
        "hash",
    ],
)
def test_a_change_of_any_field_is_found(journal: list[StoredEvent], field: str) -> None:
    stored = journal[3]
    value = getattr(stored, field)
    if isinstance(value, bytes):
        changed: object = bytes([value[0] ^ 1]) + value[1:]
    else:
        changed = value + 1 if isinstance(value, int) else value + "x"
    journal[3] = msgspec.structs.replace(stored, **{field: changed})
    assert broken_at(journal) == 3


def test_one_flipped_bit_anywhere_in_a_payload_is_found(journal: list[StoredEvent]) -> None:
    stored = journal[4]
    for i in range(len(stored.payload)):
        payload = bytearray(stored.payload)
        payload[i] ^= 1 << (i % 8)
        forged = msgspec.structs.replace(stored, payload=bytes(payload))
        assert not is_intact(forged, journal[3].hash)


@pytest.mark.parametrize("index", range(5))
def test_an_event_cut_out_is_found(journal: list[StoredEvent], index: int) -> None:
    del journal[index]
    assert broken_at(journal) == index


@pytest.mark.parametrize("index", range(5))
def test_two_events_swapped_are_found(journal: list[StoredEvent], index: int) -> None:
    journal[index], journal[index + 1] = journal[index + 1], journal[index]
    assert broken_at(journal) == index


def test_an_event_put_in_twice_is_found(journal: list[StoredEvent]) -> None:
    journal.insert(2, journal[2])
    assert broken_at(journal) == 3


def test_a_tail_that_was_cut_off_is_found_by_the_fingerprint(
    team: Scenario, journal: list[StoredEvent]
) -> None:
    live = team.world.fingerprint()
    assert check_replay(journal, live) == []
    assert [v.invariant for v in check_replay(journal[:-1], live)] == ["replay"]
