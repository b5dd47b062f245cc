"""Every broken build is caught within 10,000 steps, and for what it breaks."""

import pytest

from pm_agent.kernel.invariants import CAPACITY, FENCED, READY_SET, SINGLE_LEASE, SINGLE_WRITER
from simulation.check import Outcome, Plan, run
from simulation.history import DURABLE_ACK, IDEMPOTENT
from simulation.liveness import LIVENESS
from tests.simulation import broken
from tests.simulation.broken import Break

MAX_STEPS = 10_000
STEPS = 1_000  # a seed

# What may be seen first.
BUILDS: dict[Break, set[str]] = {
    broken.lease_token_unchecked: {FENCED},
    broken.lease_unchecked: {FENCED, SINGLE_LEASE},
    broken.late_work_steals: {FENCED},
    broken.late_token_is_as_good: {FENCED},
    broken.every_end_is_a_loss: {FENCED},
    broken.epoch_unchecked: {SINGLE_WRITER},
    broken.reply_before_commit: {DURABLE_ACK, IDEMPOTENT},
    broken.capacity_unchecked: {CAPACITY},
    broken.request_ids_ignored: {IDEMPOTENT},
    broken.request_bodies_ignored: {IDEMPOTENT},
    broken.requests_forgotten: {IDEMPOTENT},
    broken.counter_off_by_one: {READY_SET},
    broken.holds_ignored: {READY_SET},
    broken.caps_ignored: {CAPACITY},
    broken.offers_ignored: {LIVENESS},
}


def first_failure(*, liveness: bool) -> Outcome | None:
    for seed in range(MAX_STEPS // STEPS):
        outcome = run(Plan(seed, steps=STEPS, liveness=liveness))
        if outcome.violations:
            return outcome
    return None


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_a_broken_build_is_caught(monkeypatch: pytest.MonkeyPatch, build: Break) -> None:
    build(monkeypatch)
    failed = first_failure(liveness=BUILDS[build] == {LIVENESS})
    assert failed is not None
    assert BUILDS[build] & {violation.invariant for violation in failed.violations}


def test_the_build_as_it_is_is_not_caught() -> None:
    assert first_failure(liveness=True) is None
