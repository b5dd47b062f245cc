"""Stored models: what is read is what was stored, or the version before it."""

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from models.card import Card, Measure
from models.registry import ModelDamaged, ModelTooNew, Registry, UnknownModel

X = np.arange(200.0).reshape(100, 2)


@pytest.fixture(scope="module")
def booster() -> lgb.Booster:
    data = lgb.Dataset(X, np.sin(X[:, 0]))
    return lgb.train({"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 5)


def a_card(**fields: object) -> Card:
    known = {
        "name": "duration",
        "purpose": "How long tasks take.",
        "trained_from_us": 1_750_000_000_000_000,
        "trained_until_us": 1_760_000_000_000_000,
        "n_training": 1_000,
        "n_censored": 200,
        "n_evaluated": 400,
        "features": ("estimate_min", "kind"),
        "metric": "mean absolute log2 error",
        "model": Measure(0.5, 0.45, 0.55),
        "baselines": {"median": Measure(0.8, 0.7, 0.9), "agent median": Measure(0.7, 0.6, 0.8)},
        "seed": 7,
        "parameters": {"num_leaves": 15},
    }
    return Card(**{**known, **fields})  # type: ignore[arg-type]  # a table of examples


@pytest.fixture
def registry(tmp_path: Path, booster: lgb.Booster) -> Registry:
    """Two versions, the second one current."""
    registry = Registry(tmp_path / "models")
    for number in (1, 2):
        version = registry.add(
            "duration",
            "duration",
            state={"number": number},
            boosters={"location": booster},
            card=a_card(seed=number),
        )
        registry.promote("duration", version)
    return registry


def test_a_stored_model_predicts_as_before(registry: Registry, booster: lgb.Booster) -> None:
    stored = registry.load("duration")
    assert (stored.version, stored.state, stored.card.seed) == ("v2", {"number": 2}, 2)
    np.testing.assert_array_equal(stored.boosters["location"].predict(X), booster.predict(X))


def test_a_new_version_is_not_current_before_its_promotion(
    registry: Registry, booster: lgb.Booster
) -> None:
    added = registry.add("duration", "duration", state={}, boosters={}, card=a_card())
    assert added == "v3"
    assert registry.current("duration") == "v2"
    registry.promote("duration", added)
    assert registry.current("duration") == "v3"


def test_a_rollback_goes_back_one_version_at_a_time(registry: Registry) -> None:
    assert registry.rollback("duration") == "v1"
    assert registry.load("duration").state == {"number": 1}
    with pytest.raises(UnknownModel, match="no earlier version"):
        registry.rollback("duration")
    assert registry.current("duration") == "v1"


@pytest.mark.parametrize("file", ["location.txt", "state.json", "card.json"])
def test_a_changed_file_is_refused(registry: Registry, file: str) -> None:
    path = registry.folder / "duration" / "v2" / file
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1) + b" ")
    with pytest.raises(ModelDamaged, match="has changed"):
        registry.load("duration")


def test_a_lost_file_is_refused(registry: Registry) -> None:
    (registry.folder / "duration" / "v2" / "location.txt").unlink()
    with pytest.raises(ModelDamaged):
        registry.load("duration")


def test_a_damaged_current_version_leaves_the_one_before_it_usable(registry: Registry) -> None:
    (registry.folder / "duration" / "v2" / "manifest.json").write_text("{")
    usable = registry.load_usable("duration")
    assert usable is not None
    assert usable.version == "v1"
    assert registry.rollback("duration") == "v1"


def test_a_damaged_version_is_not_promoted(registry: Registry) -> None:
    (registry.folder / "duration" / "v1" / "state.json").write_text("{}")
    with pytest.raises(ModelDamaged):
        registry.promote("duration", "v1")
    assert registry.current("duration") == "v2"


def test_a_version_of_another_schema_is_refused_and_the_previous_stays(registry: Registry) -> None:
    path = registry.folder / "duration" / "v2" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(ModelTooNew, match="schema 99"):
        registry.load("duration")
    usable = registry.load_usable("duration")
    assert usable is not None
    assert usable.version == "v1"


def test_a_manifest_that_names_files_elsewhere_is_refused(registry: Registry) -> None:
    path = registry.folder / "duration" / "v2" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "sha256": {"../../secret": "0" * 64}}))
    with pytest.raises(ModelDamaged, match="elsewhere"):
        registry.load("duration")


def test_what_a_crash_left_behind_is_no_version(registry: Registry) -> None:
    (registry.folder / "duration" / ".v3.4242").mkdir()
    assert registry.versions("duration") == ["v1", "v2"]


def test_versions_are_ordered_by_number(registry: Registry) -> None:
    for _ in range(9):
        registry.add("duration", "duration", state={}, boosters={}, card=a_card())
    assert registry.versions("duration")[-2:] == ["v10", "v11"]


def test_an_unknown_model_is_refused(registry: Registry) -> None:
    with pytest.raises(UnknownModel):
        registry.load("nothing")
    with pytest.raises(UnknownModel):
        registry.load("duration", "v9")
    assert registry.load_usable("nothing") is None


def test_a_name_cannot_leave_the_folder(registry: Registry) -> None:
    with pytest.raises(UnknownModel):
        registry.add("../escape", "duration", state={}, boosters={}, card=a_card())


def test_the_list_says_what_is_wrong(registry: Registry) -> None:
    (registry.folder / "duration" / "v1" / "state.json").write_text("{}")
    found = [(e.version, e.is_current, e.problem) for e in registry.entries()]
    assert found == [("v1", False, "model_damaged"), ("v2", True, "")]


def test_a_card_reads_back_as_it_was_written() -> None:
    card = a_card(limits=("agents without an outcome",))
    assert Card.from_json(card.to_json()) == card
    with pytest.raises(ValueError, match="no model card"):
        Card.from_json('{"model": {}}')


def test_a_card_claims_to_be_better_only_with_clear_intervals_on_enough_rows() -> None:
    assert a_card().beats_all_baselines
    assert not a_card(n_evaluated=299).beats_all_baselines
    assert not a_card(model=Measure(0.55, 0.5, 0.61)).beats_all_baselines
    assert a_card(
        is_higher_better=True, baselines={"random": Measure(0.2, 0.1, 0.3)}
    ).beats_all_baselines


def test_a_card_reads_as_a_page() -> None:
    page = a_card(limits=("new agents",)).to_markdown()
    assert "| **this model** | 0.5 (0.45 to 0.55) |" in page
    assert "better than every baseline" in page
    assert "2025-06-15 to 2025-10-09; seed 7" in page
    assert "- new agents" in page
