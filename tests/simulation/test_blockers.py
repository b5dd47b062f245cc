"""Blockers met by the ladder itself; the comparison is `python -m simulation blockers`."""

import pytest

from simulation.blockers import Clinic, compare_ladders
from simulation.causes import PERSONAL, causes


def test_a_share_of_the_causes_yields_to_a_person_alone() -> None:
    known = causes(0)
    assert sum(cause.is_personal for cause in known) / len(known) == pytest.approx(PERSONAL)
    assert len({cause.blocker_type for cause in known if cause.is_personal}) == 6


def test_the_full_ladder_resolves_nearly_what_an_oracle_would_and_blocks_for_less_time() -> None:
    found = compare_ladders(2, 1_500)
    assert found.share_of_oracle.mean > 0.75  # it has learned from a tenth of the usual incidents
    assert found.share_of_oracle.mean > 3 * found.advice_share_of_oracle.mean
    assert found.blocked_ratio.mean < 0.95


def test_a_seed_makes_the_same_run_every_time() -> None:
    assert Clinic(3, "full").run(150) == Clinic(3, "full").run(150)
