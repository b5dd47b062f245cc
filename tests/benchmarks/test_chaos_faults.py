"""The schedule holds every kind and comes from its seed; a report fails by itself and adds up."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from benchmarks.chaos_faults import GAP_S, PLAYS, TAIL_S, schedule
from benchmarks.chaos_product import PRODUCT_KINDS
from benchmarks.chaos_report import ChaosReport, conclude, sum_parts, summed, write_part
from benchmarks.chaos_zpopmax import ZpopmaxSubject


@pytest.mark.parametrize("seed", range(20))
def test_three_minutes_hold_every_kind_of_fault(seed: int) -> None:
    planned = schedule(PRODUCT_KINDS, 180.0, Random(seed))
    assert {kind for _, kind in planned} == set(PRODUCT_KINDS)
    instants = [due_s for due_s, _ in planned]
    assert instants == sorted(instants)
    assert instants[-1] < 180.0 - TAIL_S


def test_a_long_run_has_a_fault_every_five_to_fifteen_seconds() -> None:
    planned = schedule(PRODUCT_KINDS, 3600.0, Random(1))
    gaps = [two - one for (one, _), (two, _) in pairwise(planned)]
    assert GAP_S[0] * 0.9 < min(gaps)
    assert max(gaps) < GAP_S[1] * 1.1


def test_a_schedule_comes_from_its_seed() -> None:
    plans = [schedule(PRODUCT_KINDS, 180.0, Random(seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


def test_every_kind_that_is_planned_can_be_played() -> None:
    assert set(PRODUCT_KINDS) | set(ZpopmaxSubject.kinds) <= set(PLAYS)


def a_report(**more: object) -> ChaosReport:
    plain = {"seeds": [1], "seconds": 10.0, "claims": 50, "faults": {"reset": 1}}
    report = ChaosReport(**{**plain, "samples": {"reset": [(0.5, 0.25)]}, **more})  # type: ignore[arg-type]  # by its fields
    conclude(report, ("reset",))
    return report


def test_a_run_in_which_all_was_kept_passes() -> None:
    report = a_report()
    assert report.passed
    assert report.claims_per_s == 5.0
    assert report.unavailable_s["reset"].p99 == 0.5


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"claims": 29}, "2.9 claims/s is below 3"),
        ({"faults": {}}, "never fired: reset"),
        ({"double_assignments": 1}, "1 double assignments"),
        ({"acked_lost": 2}, "2 acked lost"),
        ({"found": {"stale_write": 3}}, "3 violations"),
    ],
)
def test_a_run_fails_by_itself_and_says_why(more: dict, why: str) -> None:
    report = a_report(**more)
    assert not report.passed
    assert why in " ".join(report.failures)


def test_parts_add_up_and_keep_their_failures(tmp_path: Path) -> None:
    write_part(a_report(seeds=[1]), tmp_path, 100)
    write_part(a_report(seeds=[2], samples={"reset": [(2.0, 1.0)]}), tmp_path, 200)
    total = sum_parts(tmp_path)
    assert total.passed
    assert (total.seeds, total.claims, total.seconds) == ([1, 2], 100, 20.0)
    assert total.faults == {"reset": 2}
    assert (total.unavailable_s["reset"].p50, total.unavailable_s["reset"].max) == (0.5, 2.0)
    write_part(a_report(seeds=[3], acked_lost=1), tmp_path, 300)
    total = sum_parts(tmp_path)
    assert (total.passed, total.acked_lost) == (False, 1)
    assert "part of seed 3" in total.failures[0]


def test_a_run_on_two_journals_says_so_and_has_the_faults_of_both() -> None:
    killed = a_report(journal="postgres", faults={"kill_database": 2}, acked_lost=1)
    total = summed([a_report(journal="sqlite"), killed])
    assert total.journal == "sqlite and postgres"
    assert total.faults == {"kill_database": 2, "reset": 1}
    assert "on postgres" in total.failures[0]


def test_parts_of_different_systems_do_not_add_up(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no parts"):
        sum_parts(tmp_path)
    write_part(a_report(), tmp_path, 1)
    write_part(a_report(system="zpopmax"), tmp_path, 2)
    with pytest.raises(ValueError, match="different systems"):
        sum_parts(tmp_path)
