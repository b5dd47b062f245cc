"""Blockers met by the ladder itself; the comparison is `python -m simulation blockers`."""

import signal

import pytest

from pm_agent.domain.time import MINUTE_US
from pm_agent.kernel.types import Policy
from simulation.attention import People
from simulation.blockers import Clinic, compare_ladders
from simulation.causes import PERSON_MIN, PERSON_SPREAD, PERSONAL, Cause, Luck, causes
from simulation.oracle import Ending, Met, endings


def test_a_share_of_the_causes_yields_to_a_person_alone() -> None:
    known = causes(0)
    assert sum(cause.is_personal for cause in known) / len(known) == pytest.approx(PERSONAL)
    assert len({cause.blocker_type for cause in known if cause.is_personal}) == 6


def test_the_full_ladder_resolves_nearly_what_an_oracle_would_and_blocks_for_less_time() -> None:
    found = compare_ladders(2, 1_500)
    assert found.share_of_oracle.mean > 0.75  # it has learned from a tenth of the usual incidents
    assert found.share_of_oracle.mean > 3 * found.advice_share_of_oracle.mean
    assert found.blocked_ratio.mean < 0.75
    assert found.oracle_ratio.mean < found.blocked_ratio.mean
    assert 0 < found.asked_in_vain_share.mean < 0.2


def test_a_comparison_that_is_interrupted_holds_the_seeds_up_to_then() -> None:
    def stop(share: float) -> None:
        if share >= 0.5:
            signal.raise_signal(signal.SIGINT)

    found = compare_ladders(4, 60, on_seed=stop)
    assert (found.seeds, found.is_partial) == (2, True)


def test_an_oracle_asks_a_person_at_once_where_nothing_else_can_help() -> None:
    for cause in causes(0):
        told = met_by_an_oracle(cause, 1, PERSON_MIN)
        waited_min = Luck(0).span_us(1, "person", PERSON_MIN, PERSON_SPREAD) / MINUTE_US
        if cause.is_personal:
            assert told == Ending(by_person=True, blocked_min=waited_min)
        elif told.by_person:
            assert told.blocked_min > waited_min
        if cause.has_upstream:
            assert not told.by_person  # the work it waits for comes for certain


def test_an_oracle_leaves_out_what_takes_longer_than_a_person_would() -> None:
    slow = Cause(0, "environment", ("a",), {"split": 0.9}, has_upstream=False)
    assert all(met_by_an_oracle(slow, n, person_min=5).by_person for n in range(50))
    assert sum(met_by_an_oracle(slow, n, person_min=240).by_person for n in range(50)) < 15


def met_by_an_oracle(cause: Cause, number: int, person_min: float) -> Ending:
    people = People(person_min=person_min)
    return endings([Met(cause, number, began_us=0)], Luck(0), Policy(), people)[number]


def test_an_oracle_tries_more_where_few_people_have_much_to_answer() -> None:
    asks = [Cause(0, "other", ("a",), {}, has_upstream=False)] * 40
    tries = Cause(0, "environment", ("b",), {"split": 0.5}, has_upstream=False)
    met = [Met(cause, n, n * MINUTE_US) for n, cause in enumerate([*asks, tries] * 3)]
    by_person = [
        sum(one.by_person for one in endings(met, Luck(0), Policy(), people).values())
        for people in (People(40, 20), People(1, 20))
    ]
    assert by_person[0] > by_person[1]


def test_fewer_questions_are_answered_sooner_by_few_people() -> None:
    full, alone = (Clinic(1, ladder, People(1)).run(500) for ladder in ("full", "advice"))
    assert full.people_busy < 0.8 * alone.people_busy
    assert full.person_p95_min < alone.person_p95_min


def test_a_seed_makes_the_same_run_every_time() -> None:
    assert Clinic(3, "full").run(150) == Clinic(3, "full").run(150)
