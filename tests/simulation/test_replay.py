import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.domain.assignment import LeaseRegranted, TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.ids import task_number
from pm_agent.domain.time import HOUR_US
from pm_agent.kernel.engine import Step
from simulation.__main__ import app
from simulation.arrivals import Fortune, arrivals
from simulation.driver import Simulation
from simulation.experiment import run
from simulation.journal import JournalFile
from simulation.replay import read_day, replay
from simulation.scenario import Scenario, ScenarioError
from simulation.team import team_of

YESTERDAY: dict[str, Any] = {
    "horizon_h": 6,
    "load": {"tasks_per_day": 400, "graph": {"shape": "chain", "tasks": 4}},
    "tasks": {"human_min": 10, "skills": [{"name": "python", "share": 0.5}]},
    "team": [{"name": "all", "count": 8, "skills": {"python": 3}, "horizon_min": 480}],
}


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of a day that was: simulated, but written as the coordinator writes."""
    scenario = Scenario.of(YESTERDAY)
    steps: list[Step] = []
    day = Simulation(
        scenario,
        arrivals(scenario, 1),
        team_of(scenario, 1),
        Fortune(1),
        seed=1,
        on_step=steps.append,
    )
    day.start()
    day.go_on(6 * HOUR_US)
    path = tmp_path_factory.mktemp("yesterday") / "journal.db"

    async def write() -> None:
        journal = SQLiteJournal(path)
        epoch = (await journal.activate()).epoch
        for step in steps:
            if step.events:
                await journal.append(step.batch(epoch))
        await journal.close()

    asyncio.run(write())
    return path


def test_a_day_is_replayed_with_its_own_arrivals_agents_and_durations(journal: Path) -> None:
    day = read_day(str(journal))
    result = replay(day, "factors")
    assert result.violations == []
    assert len(day.agents) == 8
    assert result.figures.tasks_created == sum(len(a.works) for a in day.arrivals)
    assert result.figures.tasks_done >= day.n_done > 50
    assert result.figures.lead_h.p50 == pytest.approx(day.lead_h.p50, rel=0.3)


def test_policies_differ_on_the_same_day(journal: Path) -> None:
    day = read_day(str(journal))
    one, other = replay(day, "priority"), replay(day, "factors")
    assert one.journal_hash != other.journal_hash
    created = [result.ledger.column("created_us").tolist() for result in (one, other)]
    assert created[0] == created[1]
    assert replay(day, "priority").journal_hash == one.journal_hash


def test_the_command_line_shows_the_day_beside_its_replays(journal: Path) -> None:
    answer = CliRunner().invoke(app, ["replay", str(journal), "--policy", "priority"])
    assert answer.exit_code == 0, answer.output
    assert "recorded" in answer.stdout
    assert "priority-1" in answer.stdout


def test_work_that_came_late_counts_from_the_lease_that_was_lost(tmp_path: Path) -> None:
    silent = {"faults": {"silence": 1, "silence_min": 60}}
    path = tmp_path / "journal.db"
    events: list[Event] = []
    with JournalFile(path) as written:

        def kept(step: Step) -> None:
            events.extend(step.events)
            written.write(step)

        run(Scenario.of(YESTERDAY | silent), seed=2, on_step=kept)
    recorded = read_day(str(path)).recorded
    begun_us: dict[tuple[str, int], int] = {}
    late: list[int] = []
    for event in events:
        if isinstance(event.data, TaskAssigned):
            begun_us[event.data.task_id, event.data.lease_token] = event.at_us
        elif isinstance(event.data, LeaseRegranted):
            task_id = event.data.task_id
            late.append(event.at_us - begun_us[task_id, event.data.late_token])
            assert late[-1] in [a.worked_us for a in recorded[task_number(task_id)]]
    assert late


def test_a_damaged_journal_is_refused(journal: Path, tmp_path: Path) -> None:
    copy = tmp_path / "journal.db"
    copy.write_bytes(journal.read_bytes())
    with sqlite3.connect(copy) as connection:
        first, found = connection.execute(
            "SELECT first_position, hashes FROM batches WHERE first_position <= 40"
            " ORDER BY first_position DESC"
        ).fetchone()
        hashes = bytearray(found)
        hashes[32 * (40 - first)] ^= 1
        connection.execute(
            "UPDATE batches SET hashes = ? WHERE first_position = ?", (hashes, first)
        )
    connection.close()
    with pytest.raises(ScenarioError, match=r"damaged at event 40.*Restore a backup"):
        read_day(str(copy))


def test_a_journal_that_is_missing_or_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="There is no journal"):
        read_day(str(tmp_path / "none.db"))
    (tmp_path / "other.db").write_text("no journal, whatever its name says " * 100)
    with pytest.raises(ScenarioError):
        read_day(str(tmp_path / "other.db"))
