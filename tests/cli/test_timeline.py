"""``pm-agent timeline`` tells what happened, from the journal alone."""

import asyncio
from pathlib import Path

import pytest

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.envelope import Body
from pm_agent.ports import Batch
from tests.cli.conftest import refused, run, run_json
from tests.scenario import BOB, Scenario, a_project, an_agent, hand_off, message_to


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Make a journal in which A-ada writes to A-bob and offers it T-1."""
    scenario = Scenario()
    scenario.given(a_project(), an_agent(), an_agent(BOB))
    scenario.new_task("Build it")
    scenario.assigned()
    scenario.given(message_to(BOB, text="Which\nport?"), hand_off("T-1", 1, BOB))
    bodies = [Body(ref, b"", text) for ref, text in scenario.texts.items()]

    async def write() -> None:
        journal = SQLiteJournal(tmp_path / "main.journal.db")
        await journal.activate()
        await journal.append(Batch(1, scenario.journal, bodies, scenario.stored_requests))
        await journal.close()

    asyncio.run(write())
    return tmp_path


def test_a_line_an_event_in_order(told: Path) -> None:
    lines = run("timeline", "--data", told).stdout
    first, second = lines.index("A-ada gets T-1"), lines.index("message to A-bob")
    assert first < second < lines.index("A-ada offers T-1 to A-bob")
    assert "“Which port?”" in lines  # what was said stands in one line


def test_about_one_thing_or_the_newest_alone(told: Path) -> None:
    about = run_json("timeline", "T-1", "--data", told)["events"]
    assert [one["event"] for one in about] == [
        "TaskCreated",
        "TaskAssigned",
        "HandoffOffered",
        "MessageSent",
    ]
    last = run_json("timeline", "--last", "1", "--data", told)["events"]
    assert [one["event"] for one in last] == ["MessageSent"]
    assert last[0]["text"] == "half done; the parser is next"
    after = run_json("timeline", "--after", last[0]["position"], "--data", told)["events"]
    assert after == []


def test_without_a_journal_there_is_nothing_to_tell(tmp_path: Path) -> None:
    refused("start_failed", "timeline", "--data", tmp_path)
