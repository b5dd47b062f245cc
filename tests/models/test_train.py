"""An assignment model learns from judged attempts, and its card says how good it is."""

from pathlib import Path

import numpy as np
import pytest

from models.dataset import History, load_history
from models.errors import NothingToLearn
from models.registry import Registry
from models.train import (
    FACTS,
    assignment_model,
    brier,
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
    assert trained.card.n_evaluated == 30
    assert trained.card.model.high < min(m.low for m in trained.card.baselines.values())
    assert not trained.card.beats_all_baselines  # 30 rows are too few for a claim


def test_equal_history_and_seed_give_the_same_model(history: History) -> None:
    first, second = train_assignment(history, seed=3), train_assignment(history, seed=3)
    assert first.booster.model_to_string() == second.booster.model_to_string()
    assert first.card == second.card


def test_a_stored_model_scores_the_facts_of_a_decision(history: History, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.promote("assignment", store(registry, train_assignment(history)))
    model = assignment_model(registry.load("assignment"))
    rows = training_rows(history)
    easy, hard = rows[rows["label_accepted"]], rows[~rows["label_accepted"].astype(bool)]
    columns = [f"fact_{name}" for name in FACTS]
    chances = [model.predict(part[columns].to_numpy(np.float32)).mean() for part in (easy, hard)]
    assert chances[0] > 0.9
    assert chances[1] < 0.2


def test_a_model_of_other_columns_is_refused(history: History, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = store(registry, train_assignment(history))
    stored = registry.load("assignment", version)
    with pytest.raises(NothingToLearn, match="other columns"):
        assignment_model(stored._replace(state={"columns": ["level"]}))


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
