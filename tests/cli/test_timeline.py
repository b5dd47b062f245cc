"""``pm-agent timeline`` tells what happened, from the journal alone."""

import asyncio
from pathlib import Path

import pytest

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.envelope import Body
from pm_agent.ports import Batch
from tests.cli.conftest import refused, run, run_json
from tests.scenario import (
    BOB,
    Scenario,
    a_project,
    agent_principal,
    an_agent,
    answer_help,
    hand_off,
    message_to,
    of_person,
    report_blocker,
    resolve_blocker,
)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Make a journal in which A-ada writes to A-bob and offers it T-1."""
    scenario = Scenario()
    scenario.given(a_project(), an_agent(), an_agent(BOB))
    scenario.new_task("Build it")
    scenario.assigned()
    scenario.given(message_to(BOB, text="Which\nport?"), hand_off("T-1", 1, BOB))
    return written(scenario, tmp_path)


def written(scenario: Scenario, folder: Path) -> Path:
    """Write what happened in a scenario into a journal."""
    bodies = [Body(ref, b"", text) for ref, text in scenario.texts.items()]

    async def write() -> None:
        journal = SQLiteJournal(folder / "main.journal.db")
        await journal.activate()
        await journal.append(Batch(1, scenario.journal, bodies, scenario.stored_requests))
        await journal.close()

    asyncio.run(write())
    return folder


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


def test_of_a_blocker_all_that_was_said_about_it(tmp_path: Path) -> None:
    scenario = Scenario()
    scenario.given(a_project(), an_agent(), an_agent(BOB))
    scenario.new_task()
    scenario.assigned()
    scenario.given(report_blocker("T-1", 1, blocker_type="needs_input"))
    scenario.given(answer_help("C-1"), of_person(resolve_blocker("B-1"), agent_principal(BOB)))
    lines = run("timeline", "B-1", "--data", written(scenario, tmp_path)).stdout
    for said in (
        "A-ada asks A-bob for help with T-1 (B-1)",
        "help wanted to A-bob about T-1 (B-1)",
        "A-bob helps A-ada with T-1 (B-1)",
        "B-1 of T-1 is resolved",
    ):
        assert said in lines


def test_without_a_journal_there_is_nothing_to_tell(tmp_path: Path) -> None:
    refused("start_failed", "timeline", "--data", tmp_path)
