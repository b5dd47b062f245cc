"""The scorer of the moment follows the registry, and rules stand in for a model that fails."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.scorers import CurrentScorer, Found, ModelShelf
from models.train import store
from pm_agent.features.assignment.learned import FACT_NAMES, LearnedScorer
from pm_agent.features.assignment.view import differences
from pm_agent.settings import Settings
from tests.models.learned import registry_with, trained
from tests.scenario import Scenario, a_project, an_agent, claim


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, scorer="learned")


def looked(scorer: CurrentScorer) -> str:
    """The version in use after another look."""
    scorer._take(scorer._look())
    return scorer.version


def shadow_of(scorer: CurrentScorer) -> str:
    return scorer.shadow.version if scorer.shadow else ""


def test_rules_decide_until_a_version_is_current(settings: Settings) -> None:
    scorer = CurrentScorer(settings)
    assert scorer.version == "factors-1"
    registry_with(settings.data / "models")
    assert looked(scorer).startswith("learned-3.v1-")
    assert scorer.fact_names == FACT_NAMES


def test_other_settings_leave_models_alone(settings: Settings) -> None:
    registry_with(settings.data / "models")
    assert CurrentScorer(settings.model_copy(update={"scorer": "priority"})).version == "priority-1"


def test_a_rollback_and_a_model_stood_down_take_effect_at_the_next_look(
    settings: Settings,
) -> None:
    registry = registry_with(settings.data / "models", 2)
    scorer = CurrentScorer(settings)
    assert scorer.version.startswith("learned-3.v2-")
    registry.rollback("assignment")
    assert looked(scorer).startswith("learned-3.v1-")
    registry.stand_down("assignment", "the world has changed")
    assert looked(scorer) == "factors-1"
    registry.promote("assignment", "v2")
    assert looked(scorer).startswith("learned-3.v2-")


def test_the_newest_version_is_a_shadow_while_another_decides(settings: Settings) -> None:
    registry = registry_with(settings.data / "models")
    assert CurrentScorer(settings).shadow is None  # none was asked for
    scorer = CurrentScorer(settings.model_copy(update={"shadow": 0.1}))
    assert shadow_of(scorer) == ""  # the only version decides
    store(registry, trained())
    assert looked(scorer).startswith("learned-3.v1-")
    assert shadow_of(scorer).startswith("learned-3.v2-")
    registry.promote("assignment", "v2")
    assert looked(scorer).startswith("learned-3.v2-")
    assert shadow_of(scorer) == ""


def test_a_damaged_shadow_is_not_asked(settings: Settings) -> None:
    registry = registry_with(settings.data / "models")
    store(registry, trained())
    (settings.data / "models" / "assignment" / "v2" / "acceptance.txt").write_text("")
    scorer = CurrentScorer(settings.model_copy(update={"shadow": 0.1}))
    assert (scorer.version[:13], scorer.shadow) == ("learned-3.v1-", None)


def test_of_a_damaged_version_the_one_before_decides(settings: Settings) -> None:
    registry_with(settings.data / "models", 2)
    booster = settings.data / "models" / "assignment" / "v2" / "acceptance.txt"
    booster.write_bytes(booster.read_bytes()[:-40])
    assert CurrentScorer(settings).version.startswith("learned-3.v1-")


def test_a_damaged_pointer_leaves_what_decides_in_place(settings: Settings) -> None:
    registry_with(settings.data / "models")
    scorer = CurrentScorer(settings)
    (settings.data / "models" / "assignment" / "current.json").write_text("{")
    assert looked(scorer).startswith("learned-3.v1-")
    assert CurrentScorer(settings).version == "factors-1"  # a start has nothing to go on with


def test_decisions_by_a_stored_model_recompute_with_it(settings: Settings) -> None:
    registry_with(settings.data / "models")
    scenario = Scenario(CurrentScorer(settings))
    scenario.given(a_project(), an_agent())
    scenario.new_task("hard", complexity=5)
    scenario.new_task("easy", complexity=1)
    given = scenario.assigned()
    assert scenario.task(given.task_id).title == "easy"
    shelf = ModelShelf(settings)
    assert isinstance(shelf.scorer(given.decision.version), LearnedScorer)
    assert differences(given.decision, given.task_id, shelf.scorer) == []


def test_a_shelf_knows_no_other_model_of_the_same_number(settings: Settings) -> None:
    registry_with(settings.data / "models")
    shelf = ModelShelf(settings)
    for version in ("learned-1.v1-00000000", "learned-1.v9-00000000", "factors-1", "learned-3."):
        assert shelf.scorer(version) is None


class Failing:
    version = "v1-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        raise MemoryError


def test_rules_take_over_from_a_model_that_fails_in_a_decision(settings: Settings) -> None:
    scorer = CurrentScorer(settings)
    scorer._take(Found(LearnedScorer(Failing()), None))
    scenario = Scenario(scorer)
    scenario.given(a_project(), an_agent())
    scenario.new_task()
    with pytest.raises(MemoryError):  # the engine refuses this one claim, as decision_failed
        scenario.when(claim())
    assert scenario.assigned().decision.version == "factors-1"
    scenario.verify()
