import numpy as np
import pandas as pd
import pytest

from models.baselines import MedianBaseline
from models.errors import NothingToLearn, ValuesInvalid
from models.evaluate import (
    compare,
    drift,
    forward_folds,
    off_policy,
    paired_bootstrap,
    psi,
)


def test_each_fold_lies_after_all_that_is_learned_from() -> None:
    folds = list(forward_folds(60, 5))
    assert len(folds) == 5
    for train, test in folds:
        assert train.max() + 1 == test.min()
    assert folds[-1][1].max() == 59


def test_too_few_rows_for_the_folds_are_counted() -> None:
    with pytest.raises(NothingToLearn, match="3 rows more"):
        list(forward_folds(3, 5))


def _absolute(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return np.abs(truth - answer)


def test_a_rolling_median_beats_the_median_where_the_level_drifts() -> None:
    random = np.random.default_rng(0)
    facts = pd.DataFrame({"x": np.zeros(1200)})
    drifting = np.linspace(0, 10, 1200) + random.normal(size=1200)
    found = compare(
        MedianBaseline(), MedianBaseline(window=50), facts, drifting, loss=_absolute, n_folds=8
    )
    assert found.is_better
    assert found.gain.value == pytest.approx(found.champion - found.challenger)
    back = compare(
        MedianBaseline(window=50), MedianBaseline(), facts, drifting, loss=_absolute, n_folds=8
    )
    assert not back.is_better


def test_no_claim_is_made_on_few_rows() -> None:
    facts = pd.DataFrame({"x": np.zeros(120)})
    drifting = np.linspace(0, 50, 120)
    found = compare(MedianBaseline(), MedianBaseline(window=5), facts, drifting, loss=_absolute)
    assert found.gain.low > 0
    assert not found.is_better


def test_the_interval_of_equal_models_holds_zero_in_95_of_100_trials() -> None:
    random = np.random.default_rng(0)
    held = 0
    for seed in range(100):
        first, second = random.normal(size=(2, 80))
        gain = paired_bootstrap(first, second, n_draws=300, seed=seed)
        held += gain.low <= 0 <= gain.high
    assert 88 <= held <= 100


def test_rows_that_hang_together_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    shared = np.repeat(random.normal(size=30), 20)
    alone = paired_bootstrap(shared, np.zeros(600))
    grouped = paired_bootstrap(shared, np.zeros(600), groups=np.repeat(np.arange(30), 20))
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def _log(seed: int, n: int = 2000) -> tuple[dict[str, np.ndarray], float]:
    """Decisions among three agents by softmax, and the true worth of always taking the third."""
    random = np.random.default_rng(seed)
    context = random.normal(size=n)
    worth = np.column_stack([0.5 + 0 * context, 0.3 + 0 * context, 0.6 + 0.1 * np.tanh(context)])
    likes = np.exp(np.column_stack([context, -context, 0 * context]))
    propensity = likes / likes.sum(axis=1, keepdims=True)
    chosen = (random.random(n)[:, None] > propensity.cumsum(axis=1)).sum(axis=1)
    rows = np.arange(n)
    return {
        "reward": (random.random(n) < worth[rows, chosen]).astype(float),
        "propensity": propensity[rows, chosen],
        "target_probability": (chosen == 2).astype(float),
        # A model that is wrong, and the same everywhere: the correction has to make up for it.
        "predicted_chosen": np.full(n, 0.4),
        "predicted_target": np.full(n, 0.4),
    }, float(worth[:, 2].mean())


def test_snips_and_doubly_robust_are_unbiased_and_their_intervals_hold() -> None:
    errors, held = [], []
    for seed in range(60):
        log, truth = _log(seed)
        found = off_policy(**log)
        assert found.doubly_robust is not None
        errors.append([found.snips.value - truth, found.doubly_robust.value - truth])
        held.append(
            [
                found.snips.low <= truth <= found.snips.high,
                found.doubly_robust.low <= truth <= found.doubly_robust.high,
            ]
        )
    np.testing.assert_allclose(np.mean(errors, axis=0), 0.0, atol=0.012)
    assert (np.mean(held, axis=0) >= 0.85).all()


def test_a_policy_is_promoted_on_its_lower_bound_and_on_weight_enough() -> None:
    log, _ = _log(seed=1)
    found = off_policy(**log)
    assert found.may_promote(incumbent=0.45)
    assert not found.may_promote(incumbent=0.6)
    few = off_policy(**{name: values[:300] for name, values in log.items()})
    assert few.effective_rows < 200
    assert not few.may_promote(incumbent=0.0)


@pytest.mark.parametrize(
    ("propensity", "target", "message"), [(0.0, 0.5, "Propensities"), (0.5, 0.0, "never makes")]
)
def test_logs_that_cannot_tell_are_refused(propensity: float, target: float, message: str) -> None:
    with pytest.raises(ValuesInvalid, match=message):
        off_policy([1.0], [propensity], [target])


def test_drift_shows_in_the_facts_or_in_the_coverage() -> None:
    random = np.random.default_rng(0)
    before = pd.DataFrame({"size": random.normal(size=2000), "kind": "bug"})
    same = pd.DataFrame({"size": random.normal(size=2000), "kind": "bug"})
    interval = np.tile([-1.2816, 1.2816], (2000, 1))
    outcome = random.normal(size=2000)
    assert not drift(before, same, outcome, interval).has_drifted
    assert drift(before, same, outcome + 0.7, interval).has_drifted
    moved = drift(before, same.assign(size=same["size"] + 1), outcome, interval)
    assert moved.has_drifted
    assert list(moved.psi) == ["size"]


def test_psi_is_zero_for_the_same_rows_and_finite_for_a_constant() -> None:
    values = np.arange(100.0)
    assert psi(values, values) == pytest.approx(0.0)
    assert np.isfinite(psi(np.ones(50), np.zeros(50)))
