"""Learning again and again: promotion by merit, a watch for drift, a shadow without a say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.dataset import load_history
from models.errors import NothingToLearn
from models.forecast import forecast_model
from models.grid import FORECAST_FACTS, grid_codes
from models.history import History
from models.learning import (
    Score,
    learn,
    learn_on,
    logged_shadow,
    save_shadow,
    shadow,
    watch,
)
from models.registry import Registry
from tests.models.journals import months_of_work, write_journal


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Enough judged attempts for a claim."""
    path = tmp_path_factory.mktemp("journal") / "main.journal.db"
    return load_history(write_journal(path, months_of_work(640)))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def later(history: History, factor: float = 1.0) -> History:
    """The same again, a year later, all work so many times as long."""
    year_us = 365 * 86_400_000_000
    attempts = history.attempts.assign(
        at_us=history.attempts["at_us"] + year_us,
        label_ended_at_us=history.attempts["label_ended_at_us"] + year_us,
        label_duration_min=history.attempts["label_duration_min"] * factor,
    )
    candidates = history.candidates.assign(at_us=history.candidates["at_us"] + year_us)
    return history._replace(attempts=attempts, candidates=candidates)


def test_what_beats_the_rules_is_promoted_and_its_equal_is_not(
    history: History, registry: Registry
) -> None:
    first = learn(history, registry, promotes=True)
    assert first.is_current
    again = learn(history, registry, promotes=True)
    assert not again.is_current  # no better than the one before
    assert (again.version, registry.current("assignment")) == ("v2", "v1")


def test_nothing_is_promoted_unasked(history: History, registry: Registry) -> None:
    assert not learn(history, registry).is_current
    assert registry.current("assignment") is None


def test_a_model_stands_down_when_work_takes_much_longer(
    history: History, registry: Registry
) -> None:
    learn(history, registry, promotes=True)
    assert watch(history, registry) is None  # nothing has come since
    slow = watch(later(history, 4.0), registry)
    assert slow is not None
    assert slow.has_drifted
    assert slow.coverage < 0.2
    assert registry.current("assignment") is None
    assert "Drift over 640 later attempts" in registry.why_stood_down("assignment")
    registry.rollback("assignment")
    assert registry.current("assignment") == "v1"


def test_the_learner_trains_when_enough_is_new(history: History, registry: Registry) -> None:
    first = learn_on(history, registry, by_duration)
    assert first.lesson is not None
    assert (first.n_new, first.lesson.is_current, first.shadow) == (640, True, None)
    again = learn_on(history, registry, by_duration)
    assert (again.n_new, again.lesson) == (0, None)
    assert registry.versions("assignment") == ["v1"]


def test_the_learner_follows_a_challenger_that_was_not_promoted(
    history: History, registry: Registry
) -> None:
    learn(history, registry)  # v1, not promoted: rules decide
    told = learn_on(later(history), registry, by_duration).told()
    assert (told["challenger"], told["decisions"], told["agreement"]) == ("v1", 640, 1.0)
    assert told["is_doubly_robust"]
    assert len(pd.read_parquet(registry.folder / "assignment" / "v1.shadow.parquet")) == 640
    assert (told["version"], told["is_current"]) == ("v2", True)


def test_the_learner_takes_a_model_out_of_service_and_learns_anew(
    history: History, registry: Registry
) -> None:
    learn(history, registry, promotes=True)
    found = learn_on(later(history, 4.0), registry, by_duration)
    assert found.has_drifted
    assert found.lesson is not None  # from before and after; it has to show its worth


def by_duration(version: str) -> Score:
    return lambda facts: -facts[:, 0]


def test_a_shadow_tells_what_another_choice_would_have_been_worth(
    history: History, registry: Registry, tmp_path: Path
) -> None:
    lesson = learn(history, registry)
    stored = registry.load("assignment", lesson.version)

    def likeliest(facts: NDArray[np.float32]) -> NDArray[np.float32]:
        model = forecast_model(stored)
        read = facts[:, : len(FORECAST_FACTS)]
        return model.predict(grid_codes(read, model.prior))[:, 0].astype(np.float32)

    found = shadow(history, stored, likeliest)
    assert len(found.rows) == 640
    assert found.agreement == 1.0  # there was one candidate at a time
    assert found.challenger is not None
    assert found.challenger.snips.value == pytest.approx(found.incumbent)
    assert found.challenger.doubly_robust is None  # it learned from these very outcomes
    assert not found.challenger.may_promote(found.incumbent)
    unseen = shadow(later(history), stored, likeliest)
    assert unseen.challenger is not None
    assert unseen.challenger.doubly_robust is not None
    save_shadow(found, tmp_path / "log" / "shadow.parquet")
    assert len(pd.read_parquet(tmp_path / "log" / "shadow.parquet")) == 640


def test_a_shadow_of_nothing_is_refused(history: History, registry: Registry) -> None:
    lesson = learn(history, registry)
    unjudged = history.candidates.assign(label_accepted=pd.NA)
    with pytest.raises(NothingToLearn, match="judged"):
        shadow(
            history._replace(candidates=unjudged),
            registry.load("assignment", lesson.version),
            lambda facts: facts[:, 0],
        )


def test_what_a_shadow_said_within_claims_is_judged(history: History) -> None:
    random = np.random.default_rng(0)
    attempts = history.attempts
    said = random.random(len(attempts)) < 0.5  # it would have made the same choice
    asked = attempts.assign(
        shadow_version=np.where(np.arange(len(attempts)) % 2, "learned-3.v2-0123abcd", ""),
        shadow_task_id=np.where(said, attempts["task_id"], "T-0"),
        shadow_accepted=0.75,
        shadow_accepted_of_chosen=np.where(said, 0.75, np.nan),
    )
    found = logged_shadow(history._replace(attempts=asked), "v2")
    assert len(found.rows) == len(attempts) // 2
    assert found.agreement == pytest.approx(0.5, abs=0.1)
    assert found.challenger is not None
    assert found.challenger.doubly_robust is not None
    rows = found.rows
    worth = np.where(rows["is_same"], rows["label_accepted"], 0.75).mean()  # as forecast elsewhere
    assert found.challenger.doubly_robust.value == pytest.approx(worth)
    with pytest.raises(NothingToLearn, match="PM_AGENT_SHADOW"):
        logged_shadow(history, "v2")


def test_too_few_later_attempts_are_no_reason_to_stand_down(
    history: History, registry: Registry
) -> None:
    learn(history, registry, promotes=True)
    slow = later(history, 4.0)
    assert watch(slow._replace(candidates=slow.candidates.iloc[:50]), registry) is None
    assert registry.current("assignment") == "v1"
