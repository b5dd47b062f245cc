"""An assignment model learns from judged attempts, and its card says how good it is."""

from pathlib import Path

import numpy as np
import pytest

from models.dataset import load_history
from models.errors import NothingToLearn
from models.forecast import CachedForecaster, forecast_model
from models.grid import grid_codes
from models.history import History
from models.registry import Registry
from models.train import (
    brier,
    facts_of,
    store,
    train_assignment,
    training_rows,
)
from tests.models.journals import months_of_work, write_journal


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    path = tmp_path_factory.mktemp("journal") / "main.journal.db"
    return load_history(write_journal(path, months_of_work()))


def test_each_judged_attempt_is_a_row_with_its_facts(history: History) -> None:
    rows = training_rows(history)
    assert len(rows) == 120
    assert rows["label_accepted"].sum() == 80
    assert {"fact_level", "fact_success"} <= set(rows.columns)


def test_the_model_learns_that_hard_tasks_fail(history: History) -> None:
    trained = train_assignment(history)
    assert trained.card.n_evaluated == 60
    assert trained.card.model.high < min(m.low for m in trained.card.baselines.values())
    assert not trained.card.beats_all_baselines  # 60 rows are too few for a claim


def test_equal_history_and_seed_give_the_same_model(history: History) -> None:
    first, second = train_assignment(history, seed=3), train_assignment(history, seed=3)
    texts = [
        {name: booster.model_to_string() for name, booster in one.model.boosters().items()}
        for one in (first, second)
    ]
    assert texts[0] == texts[1]
    assert first.model.state() == second.model.state()
    assert first.card == second.card


def test_a_stored_model_forecasts_from_the_facts_of_a_decision(
    history: History, tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    registry.promote("assignment", store(registry, train_assignment(history)))
    forecaster = CachedForecaster.of(registry.load("assignment"))
    rows = training_rows(history)
    easy, hard = rows[rows["label_accepted"]], rows[~rows["label_accepted"].astype(bool)]
    chances = [forecaster.forecast(facts_of(part))[:, 0].mean() for part in (easy, hard)]
    assert chances[0] > 0.9
    assert chances[1] < 0.2


def test_a_forecast_does_not_depend_on_what_was_asked_before(
    history: History, tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    stored = registry.load("assignment", store(registry, train_assignment(history)))
    facts = facts_of(training_rows(history))
    together = CachedForecaster.of(stored).forecast(facts)
    one_by_one = CachedForecaster.of(stored)
    alone = np.concatenate([one_by_one.forecast(facts[i : i + 1]) for i in range(len(facts))])
    np.testing.assert_array_equal(together, alone)


def test_what_was_forecast_is_forgotten_when_there_is_too_much_of_it(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path)
    stored = registry.load("assignment", store(registry, train_assignment(history)))
    facts = facts_of(training_rows(history))
    expected = CachedForecaster.of(stored).forecast(facts)
    monkeypatch.setattr("models.forecast.KEPT", 2)
    forgetful = CachedForecaster.of(stored)
    for _ in range(2):
        for start in range(0, len(facts), 7):
            part = slice(start, start + 7)
            np.testing.assert_array_equal(forgetful.forecast(facts[part]), expected[part])


def test_a_model_of_other_columns_is_refused(history: History, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = store(registry, train_assignment(history))
    stored = registry.load("assignment", version)
    with pytest.raises(NothingToLearn, match="other columns"):
        forecast_model(stored._replace(state={"grid": {"level": [1.0, 0, 5]}}))


def test_outcomes_that_are_all_the_same_are_refused(history: History) -> None:
    accepted = history.candidates.assign(
        label_accepted=history.candidates["label_accepted"].where(
            history.candidates["label_accepted"].isna(), other=True
        )
    )
    with pytest.raises(NothingToLearn, match="ended the same way"):
        train_assignment(history._replace(candidates=accepted))


def test_a_constant_duration_is_learned_as_such(history: History) -> None:
    attempts = history.attempts.assign(label_duration_min=9.0)
    model = train_assignment(history._replace(attempts=attempts)).model
    rows = training_rows(history)
    predicted = model.predict(grid_codes(facts_of(rows), model.prior))
    np.testing.assert_allclose(predicted[:, 1:3], 9.0, rtol=0.05)


def test_decisions_with_missing_facts_are_left_out(history: History) -> None:
    candidates = history.candidates.copy()
    candidates.loc[candidates.index[:9], "fact_level"] = np.nan
    assert len(training_rows(history._replace(candidates=candidates))) < len(training_rows(history))


def test_the_current_version_has_to_be_beaten_too(history: History) -> None:
    first = train_assignment(history)
    second = train_assignment(history, champion=first.model)
    assert set(second.card.gains) == {*first.card.gains, "current version"}
    assert second.card.gains["current version"].low <= 0  # it learned from the same rows


def test_too_few_judged_attempts_are_refused(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j.db", months_of_work(12))
    with pytest.raises(NothingToLearn, match="12 attempts have been judged"):
        train_assignment(load_history(path))


def test_an_empty_history_is_refused(tmp_path: Path, history: History) -> None:
    empty = History(*(table.iloc[:0] for table in history))
    with pytest.raises(NothingToLearn):
        train_assignment(empty)


def test_a_brier_score_has_an_interval_around_it() -> None:
    found = brier(np.full(400, 0.5), np.tile([0.0, 1.0], 200), seed=1)
    assert found == (0.25, 0.25, 0.25)
    wide = brier(np.full(40, 0.9), np.tile([0.0, 1.0], 20), seed=1)
    assert wide.low < wide.value < wide.high
