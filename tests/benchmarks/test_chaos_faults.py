"""The schedule holds every kind and comes from its seed; a report fails by itself and adds up."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from benchmarks.chaos_faults import GAP_S, PLAYS, TAIL_S, Observer, schedule
from benchmarks.chaos_history import History, Line
from benchmarks.chaos_product import PRODUCT_KINDS
from benchmarks.chaos_report import (
    LONG_RUN,
    STOPS,
    ChaosReport,
    conclude,
    next_seed,
    sum_parts,
    summed,
    write_part,
)
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


@pytest.mark.parametrize("seed", range(4))
def test_four_parts_of_22_minutes_hold_the_faults_of_a_long_run(seed: int) -> None:
    sqlite = Counter(kind for _, kind in schedule(PRODUCT_KINDS, 22 * 60.0, Random(seed)))
    kills = ("kill_database", "kill_coordinator")
    postgres = Counter(kind for _, kind in schedule(kills, 2.2 * 60.0, Random(seed)))
    planned = sqlite + postgres
    planned["stops"] = sum(planned[kind] for kind in STOPS)
    lacking = {what: n - 4 * planned[what] for what, n in LONG_RUN.items() if what != "claims"}
    assert max(lacking.values()) <= 0, lacking


def test_a_folder_of_parts_says_what_a_long_run_still_lacks(tmp_path: Path) -> None:
    done = {"kill_coordinator": 60, "kill_replica": 70, "stop_agents": 20, "stop_coordinator": 9}
    samples = {kind: [(1.0, 1.0)] for kind in done}
    for number in (1, 2):
        part = a_report(seeds=[next_seed(tmp_path)], claims=20_000, faults=done, samples=samples)
        part.failures.clear()  # of a kind that these parts are not about
        write_part(part, tmp_path, number)
    total = sum_parts(tmp_path)
    assert total.seeds == [1, 2]
    assert total.lacking == {"kill_database": 20, "stops": 2, "claims": 20_000}


def test_a_part_that_was_too_slow_may_be_made_good_by_the_others(tmp_path: Path) -> None:
    def part(number: int, *seconds: float) -> ChaosReport:
        samples = {"reset": [(0.5, 0.5)], "kill_coordinator": [(s, s) for s in seconds]}
        made = a_report(seeds=[number], samples=samples)
        write_part(made, tmp_path, number)
        return made

    slow = part(1, *[2.0] * 49, 4.5)
    assert not slow.passed
    assert slow.too_slow == ["kill_coordinator: away for 4.5 s (p99), promised are 4"]
    assert not sum_parts(tmp_path).passed
    part(2, *[2.0] * 100)
    assert sum_parts(tmp_path).passed
    part(3, 4.1, 4.2)
    assert not sum_parts(tmp_path).passed


def test_the_first_success_is_that_of_a_request_that_was_sent_after_the_fault(
    tmp_path: Path,
) -> None:
    observer = Observer(tmp_path)
    about = {"client_id": "A-ada", "kind": "claim"}
    for name, sent_s, got_s in (("late", 3.0, 9.0), ("soon", 5.0, 6.0), ("before", 1.0, 5.5)):
        history = History(tmp_path / f"{name}.jsonl")
        history.write(Line(sent_s, "sent", name, **about))  # type: ignore[arg-type]  # by its fields
        history.write(Line(got_s, "got", name, status=200, **about))  # type: ignore[arg-type]  # as above
        history.close()
    observer.look()
    assert [observer.first_success(at_s) for at_s in (0.0, 2.0, 4.0, 5.5)] == [5.5, 6.0, 6.0, None]
    assert observer.first_success(3.0) == 6.0
