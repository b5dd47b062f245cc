"""How many people must answer: blockers and judgements in a scenario's run."""

import json
import signal
from typing import Any

import pytest
from typer.testing import CliRunner

from simulation.__main__ import app
from simulation.capacity import utilisation, warnings_of
from simulation.experiment import Result, run
from simulation.scenario import Scenario, ScenarioError
from simulation.sizing import Sizing, Try, goal_of, size

ASKING: dict[str, Any] = {
    "name": "asking",
    "horizon_h": 12,
    "load": {"tasks_per_day": 240},
    "tasks": {"human_min": 10},
    "projects": [{"name": "main", "completion": "person"}],
    "team": [{"name": "all", "count": 30, "horizon_min": 480}],
    "review": {"person_min": 10},
    "faults": {"blocker": 0.1, "blocker_min": 10},
}


def asking(count: int, **more: Any) -> Scenario:
    return Scenario.of(ASKING | {"people": {"count": count}} | more)


def ran(count: int) -> Result:
    return run(asking(count), seed=3)


def test_with_few_people_questions_wait_and_with_many_hardly() -> None:
    few, many, endless = (ran(count).figures for count in (2, 40, 0))
    assert few.answer_min.p50 > 2 * many.answer_min.p50 > 2 * endless.answer_min.p50
    assert few.questions_open > many.questions_open
    assert few.people_busy > 0.95
    assert 0.05 < many.people_busy < 0.5
    assert endless.people_busy == 0
    assert few.lead_h.p95 > many.lead_h.p95


def test_an_answer_is_as_much_work_whoever_gives_it_and_whenever() -> None:
    def work_us(count: int) -> set[int]:
        return set(ran(count).ledger.column("worked_us").tolist())

    assert len(work_us(20) & work_us(40)) > 100


def test_people_without_end_leave_a_scenario_as_it_was() -> None:
    plain = Scenario.of(ASKING)
    assert (plain.hash, plain.people.count) == (asking(0).hash, 0)
    assert plain.hash != asking(1).hash
    assert run(plain, seed=3).journal_hash == ran(0).journal_hash
    assert run(plain, seed=3).journal_hash != ran(2).journal_hash


def test_what_people_can_answer_is_told_before_the_run() -> None:
    expected = utilisation(asking(8))["the people who answer"]
    assert ran(8).figures.people_busy == pytest.approx(expected, abs=0.15)
    assert any("the people who answer" in said for said in warnings_of(asking(2)))
    assert not any("people" in said for said in warnings_of(asking(0)))


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ({"count": -1}, r"people\.count: .*greater than or equal to 0; it is -1"),
        ({"count": 1.5}, r"people\.count"),
        ({"count": 2, "answer_min": 0}, r"people\.answer_min: .*greater than 0"),
        ({"persons": 2}, r"people\.persons: unknown key"),
    ],
)
def test_wrong_people_are_named(people: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        Scenario.of(ASKING | {"people": people})


def fewest(goal: str, **kept: Any) -> Sizing:
    return size(asking(1), goal_of(goal), seed=3, find="people", **kept)


def test_the_fewest_people_that_answer_in_time_are_found() -> None:
    found = fewest("p95_answer_min<90")
    by_count = {one.people: one for one in found.tries}
    assert found.people > 2
    assert by_count[found.people].is_enough
    assert not by_count[found.people - 1].is_enough
    assert found.team == {"all": 30}


def test_where_no_number_of_people_is_enough_that_is_found_at_once() -> None:
    found = fewest("p95_lead_h<0.01")
    assert (found.people, found.team, len(found.tries)) == (0, {}, 1)


def test_an_interrupted_search_for_people_keeps_what_was_enough() -> None:
    def stop(one: Try) -> None:
        if one.is_enough and one.people:
            signal.raise_signal(signal.SIGINT)

    found = fewest("p95_answer_min<90", on_try=stop)
    assert found.is_partial
    assert found.people == max(one.people for one in found.tries)


def test_people_are_not_looked_for_where_nobody_is_asked() -> None:
    answer = CliRunner().invoke(app, ["size", "mm1", "--find", "people"])
    assert answer.exit_code == 2
    assert "nobody is asked here" in answer.stderr


def test_the_command_line_finds_people() -> None:
    words = ["size", "questions", "--find", "people", "--target", "p95_answer_min<900", "--json"]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["find"] == "people"
    assert 0 < found["people"] < 4  # as many as the scenario has are more than enough
