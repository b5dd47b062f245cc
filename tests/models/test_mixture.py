"""Predictors side by side: weight goes to who was right, and never by what is not known yet."""

import numpy as np
import pytest

from models.mixture import weighted_mean

OUTCOMES = np.full(40, 10.0)
RIGHT, WRONG = OUTCOMES, OUTCOMES + 5.0


@pytest.mark.parametrize("predictors", [[RIGHT, WRONG], [WRONG, RIGHT]])
def test_weight_goes_to_the_predictor_that_was_right(predictors: list[np.ndarray]) -> None:
    found = weighted_mean(np.stack(predictors), OUTCOMES, trust=1.0, half_life=50.0)
    assert found[0] == pytest.approx(12.5)
    assert np.abs(found[30:] - 10.0).max() < 0.2


def test_the_last_predictor_begins_with_its_trust() -> None:
    found = weighted_mean(np.stack([WRONG, RIGHT]), OUTCOMES, trust=4.0, half_life=50.0)
    assert found[0] == pytest.approx(11.0)


def test_rows_of_one_step_do_not_tell_of_each_other() -> None:
    predictors, steps = np.stack([WRONG, RIGHT]), np.repeat(np.arange(20), 2)
    changed = OUTCOMES.copy()
    changed[20] = 500.0  # the first row of its step
    before, after = (
        weighted_mean(predictors, outcomes, trust=1.0, half_life=50.0, steps=steps)
        for outcomes in (OUTCOMES, changed)
    )
    np.testing.assert_array_equal(before[:22], after[:22])
    assert before[22] != after[22]
