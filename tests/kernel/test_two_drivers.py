"""One core, two drivers: the same commands make the same events, whoever runs the engine."""

from typing import Any

import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.catalog import CATALOG
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.types import Policy
from pm_agent.ports import Head, StoredSnapshot
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from tests.driver_stream import record, shape, through_coordinator, through_engine
from tests.scenario import START_US, Scenario

LATER_US = START_US + 777_000_000


class SettableClock:
    """A wall clock that stands still until it is told to move."""

    def __init__(self, start_us: int) -> None:
        self.start_us = start_us
        self.us = start_us

    def now_us(self) -> int:
        return self.us

    def move(self, after_us: int) -> None:
        self.us = self.start_us + after_us


def build_engine(saved: StoredSnapshot | None, head: Head, now_us: int) -> Engine:
    state: dict[str, Any] = {}
    if saved is not None:
        state["world"], state["outbox"] = snapshots.load(saved)
    policy = Policy(exploration=0.0, reserve=0.0)
    return Engine(CATALOG, PriorityScorer(), policy, seed=1, started_us=now_us, head=head, **state)


@pytest.mark.parametrize("seed", [11, 13, 14])
async def test_the_coordinator_loop_makes_the_events_of_a_stepped_engine(seed: int) -> None:
    lines = record(seed=seed)
    stepped = through_engine(lines, Scenario())
    clock = SettableClock(LATER_US)
    loop = CoordinatorLoop(MemoryJournal(), build_engine, clock)
    await loop.start()
    looped = await through_coordinator(lines, loop, clock.move)
    await loop.stop()
    assert len(stepped) > 100
    assert {"CompletionRejected", "HoldLifted"} <= {e.kind for e in stepped}
    assert [shape(e) for e in looped] == [shape(e) for e in stepped]


async def test_a_stream_without_time_needs_no_clock_to_be_moved() -> None:
    lines = record(with_time=False)
    stepped = through_engine(lines, Scenario())
    loop = CoordinatorLoop(MemoryJournal(), build_engine, SettableClock(LATER_US))
    await loop.start()
    looped = await through_coordinator(lines, loop)
    await loop.stop()
    assert [shape(e) for e in looped] == [shape(e) for e in stepped]


def test_a_recorded_stream_played_again_makes_the_journal_of_its_recording() -> None:
    lines = record(seed=5)
    first, second = (through_engine(lines, Scenario()) for _ in range(2))
    assert first == second


def test_a_difference_between_two_drivers_is_seen() -> None:
    lines = record(with_time=False)
    stepped = through_engine(lines, Scenario())
    skipped = through_engine(lines[:2] + lines[3:], Scenario())
    assert [shape(e) for e in stepped] != [shape(e) for e in skipped]
