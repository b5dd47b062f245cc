import msgspec
import pytest

from pm_agent.domain.tombstone import Tombstone, Tombstones

DONE = Tombstone("P-web", "done", 3, 1_750_000_000_000_000)
GIVEN_UP = Tombstone("P-shop", "dead_letter", 2**31, 7)


@pytest.fixture
def tombstones() -> Tombstones:
    made = Tombstones()
    made.put("T-12", DONE)
    made.put("T-2", GIVEN_UP)
    return made


def test_a_tombstone_is_read_as_it_was_put(tombstones: Tombstones) -> None:
    assert tombstones["T-12"] == DONE
    assert tombstones["T-2"] == GIVEN_UP


@pytest.mark.parametrize("name", ["T-1", "T-13", "T-012", "T-", "", "x", "T-٢", "T-" + "9" * 40])
def test_what_was_never_archived_has_none(tombstones: Tombstones, name: str) -> None:
    assert name not in tombstones
    with pytest.raises(KeyError):
        tombstones[name]


def test_all_come_in_the_order_of_their_ids_as_texts() -> None:
    tombstones = Tombstones()
    for number in range(1, 131):
        tombstones.put(f"T-{number}", DONE)
    ids = [task_id for task_id, _ in tombstones.items()]
    assert ids == sorted(f"T-{number}" for number in range(1, 131))


def test_a_snapshot_keeps_them(tombstones: Tombstones) -> None:
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(tombstones), type=Tombstones)
    assert kept == tombstones
    kept.put("T-99", DONE)
    assert "T-99" not in tombstones
