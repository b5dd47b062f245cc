"""Journals of earlier releases still fold to the world they folded to then.

A golden journal is written once and never changed; a new release adds a file. To write the next one,
give its name to `write` from a Python prompt, and commit the file.
"""

from pathlib import Path

import msgspec
import pytest

from pm_agent.domain.upcast import EVENT_TYPES
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.invariants import Watch, check_replay, check_world
from pm_agent.domain.world import World
from pm_agent.ports import StoredEvent
from tests.driver_stream import record, through_engine
from tests.scenario import Scenario

FOLDER = Path(__file__).parent


class Golden(msgspec.Struct):
    """First line of a golden file: what the events below it fold to."""

    fingerprint: str
    n_events: int


def write(name: str) -> None:
    """Write a new golden journal: a line about its world, then one line an event."""
    scenario = Scenario()
    journal = through_engine(record(seed=2026, n_turns=90), scenario)
    head = Golden(scenario.engine.world.fingerprint(), len(journal))
    path = FOLDER / f"{name}.jsonl"
    assert not path.exists(), f"{path} is golden: it is never changed"
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in (head, *journal)))


def read(path: Path) -> tuple[Golden, list[StoredEvent]]:
    head, *lines = path.read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=StoredEvent) for line in lines]
    return msgspec.json.decode(head, type=Golden), events


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_golden_journal_folds_to_its_recorded_world(path: Path) -> None:
    golden, events = read(path)
    assert len(events) == golden.n_events
    assert check_replay(events, golden.fingerprint) == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_golden_journal_keeps_every_promise(path: Path) -> None:
    _, events = read(path)
    watch, world = Watch(), World()
    for stored in events:
        event = unseal(stored)
        assert watch.observe(event) == []
        world.apply(event)
    assert check_world(world) == []


def test_the_first_golden_journal_holds_most_kinds_of_events() -> None:
    _, events = read(FOLDER / "v1.jsonl")
    kinds = {stored.kind for stored in events}
    assert kinds <= set(EVENT_TYPES)
    assert len(kinds) >= 14, sorted(set(EVENT_TYPES) - kinds)
