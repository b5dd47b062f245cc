"""A saved world comes back equal, and goes on like the one that was saved."""

from typing import get_args, get_origin

import msgspec
import pytest

from pm_agent.domain.tables import Tables
from pm_agent.domain.world import World
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.effects import Outbox
from pm_agent.kernel.invariants import check_replay, check_world
from tests.scenario import (
    BOB,
    Scenario,
    a_project,
    an_agent,
    complete,
    place_hold,
    release,
    report_blocker,
)


def busy(scenario: Scenario) -> None:
    """Something in every table."""
    scenario.given(a_project(), a_project("P-app", completion="command"))
    scenario.given(an_agent(capacity=3), an_agent(BOB))
    first = scenario.new_task("first", key="first")
    scenario.new_task("second", dependencies=("first",), needs_approval=True)
    scenario.new_task("third", project_id="P-app", estimate_min=40)
    given = scenario.assigned()
    assert given.task_id == first
    scenario.given(complete(first, given.lease_token))
    scenario.after(days=8)
    gone = scenario.new_task("fourth")
    given = scenario.assigned()
    scenario.given(report_blocker(given.task_id, given.lease_token))
    given = scenario.assigned(BOB)
    scenario.given(release(given.task_id, given.lease_token, BOB, reason="failed"))
    scenario.given(place_hold("workspace", "main"), place_hold("agent", BOB))
    assert gone in scenario.world.tasks
    assert first in scenario.world.tombstones


def test_a_snapshot_comes_back_equal(empty: Scenario) -> None:
    busy(empty)
    world, outbox = snapshots.load(snapshots.save(empty.world, empty.engine.outbox))
    assert world.tables == empty.world.tables
    assert world.fingerprint() == empty.world.fingerprint()
    assert outbox.pending == empty.engine.outbox.pending
    assert check_world(world) == []


def test_a_world_taken_hold_of_is_encoded_as_it_was_then(empty: Scenario) -> None:
    busy(empty)
    before = snapshots.save(empty.world, empty.engine.outbox)
    held = snapshots.copy(empty.world, empty.engine.outbox)
    busy_again = empty.new_task("later")
    empty.after(days=30)
    empty.new_task("much later")
    assert busy_again in empty.world.tasks
    assert snapshots.stored(before.position, snapshots.pieces(held)) == before


def test_records_in_tables_never_change_so_that_a_copied_table_may_share_them() -> None:
    for field in msgspec.structs.fields(Tables):
        if get_origin(field.type) is dict and field.name != "track_records":  # copied one by one
            record = get_args(field.type)[1]
            is_frozen = issubclass(record, int) or record.__struct_config__.frozen
            assert is_frozen, (field.name, record)


@pytest.mark.parametrize("n", [0, 1, 15, 16, 40])
def test_tables_of_any_size_come_back_in_pieces(
    empty: Scenario, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PIECE", 17)
    empty.given(a_project())
    for number in range(n):
        empty.new_task(f"task {number}")
    world, _ = snapshots.load(snapshots.save(empty.world, empty.engine.outbox))
    assert world.fingerprint() == empty.world.fingerprint()


def test_a_snapshot_at_any_position_and_its_tail_give_the_same_world(empty: Scenario) -> None:
    busy(empty)
    live = empty.world.fingerprint()
    for position in range(1, len(empty.journal) + 1):
        empty.restart(snapshot_at=position)
        assert empty.world.fingerprint() == live


def test_a_snapshot_does_not_change_with_the_world_it_was_taken_of(empty: Scenario) -> None:
    busy(empty)
    saved = snapshots.save(empty.world, empty.engine.outbox)
    before = empty.world.fingerprint()
    empty.new_task("later")
    assert snapshots.load(saved)[0].fingerprint() == before
    assert check_replay(empty.journal, empty.world.fingerprint(), saved) == []


def test_an_empty_world_is_a_snapshot_too() -> None:
    world, _ = snapshots.load(snapshots.save(World(), Outbox()))
    assert world.fingerprint() == World().fingerprint()
