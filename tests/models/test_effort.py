import numpy as np
import pandas as pd
import pytest

from models.effort import EffortModel
from models.errors import ValuesInvalid


def _attempts(n_rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    agents = random.choice(["cheap", "dear"], n_rows)
    price = np.where(agents == "dear", 2.0, -2.0)
    calls = np.exp(3 + 0.5 * random.normal(size=n_rows))
    cost = np.exp(price + 0.5 * random.normal(size=n_rows))
    return pd.DataFrame({"agent": agents}), np.column_stack([calls, cost])


def test_each_use_has_its_median_and_interval() -> None:
    facts, uses = _attempts(400, seed=1)
    model = EffortModel(["calls", "cost_usd"], categorical=["agent"]).fit(facts, uses)
    cheap, dear = model.predict(pd.DataFrame({"agent": ["cheap", "dear"]}))
    assert cheap[0] == pytest.approx(dear[0], rel=0.2)
    assert dear[1] / cheap[1] == pytest.approx(np.exp(4), rel=0.3)

    later, spent = _attempts(400, seed=2)
    bounds = model.predict_interval(later)
    assert bounds.shape == (400, 2, 2)
    inside = (bounds[:, :, 0] <= spent) & (spent <= bounds[:, :, 1])
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.06)
    assert model.recalibrate(later, spent) is model


def test_attempts_that_used_nothing_are_taken_for_very_cheap_ones() -> None:
    facts, uses = _attempts(100, seed=1)
    uses[::10, 1] = 0.0
    model = EffortModel(["calls", "cost_usd"], categorical=["agent"]).fit(facts, uses)
    assert (model.predict(facts) > 0).all()


def test_uses_below_zero_or_of_another_number_are_refused() -> None:
    facts, uses = _attempts(40, seed=1)
    with pytest.raises(ValuesInvalid, match="below 0"):
        EffortModel(["calls", "cost_usd"], categorical=["agent"]).fit(facts, -uses)
    with pytest.raises(ValuesInvalid, match="2 columns"):
        EffortModel(categorical=["agent"]).fit(facts, uses)
