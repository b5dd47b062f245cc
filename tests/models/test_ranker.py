"""Who should do it: ranked by online counts, which learn from each outcome at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models import exam as exams
from models import exam_triage
from models.errors import ColumnsMissing, FileNotReadable, TestOverlapsTraining
from models.features import DecayedCounts
from models.ranker import FEATURES, AssigneeRanker, Item, ListwiseSoftmax, OnlineHistory


def bugs(n: int, seed: int = 1, start: int = 0) -> pd.DataFrame:
    """Each component has an owner who does most, and a helper who comes after the owner."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 6, n)
    helped = random.random(n) < 0.3
    return pd.DataFrame(
        {
            "number": np.arange(start, start + n) * 3.0,
            "project": np.where(kind < 3, "ide", "web"),
            "kind": [f"c{k}" for k in kind],
            "agent": [
                f"helper{k % 2}" if h else f"owner{k}" for k, h in zip(kind, helped, strict=True)
            ],
            "passed": [f"owner{k}" if h else "" for k, h in zip(kind, helped, strict=True)],
        }
    )


def test_a_count_fades_with_its_key_s_own_outcomes() -> None:
    counts = DecayedCounts([2.0])
    counts.learn(1, 7, 0, 0.0, [])
    counts.learn(2, 8, 1, 1.0, [])  # of another key
    assert counts.counts(1, counts.rows(1, [7]))[0, 0] == pytest.approx(1.0)
    counts.learn(1, 9, 2, 2.0, [])
    assert counts.counts(1, counts.rows(1, [7]))[0, 0] == pytest.approx(np.exp(-0.5))


def test_an_agent_never_seen_counts_nothing() -> None:
    counts = DecayedCounts([2.0, 5.0])
    counts.learn(1, 7, 0, 0.0, [3])
    rows = counts.rows(1, [7, 4])
    assert counts.counts(1, rows)[1].tolist() == [0.0, 0.0]
    assert np.isnan(counts.at(counts.last_item, rows)[1])
    assert counts.passing(1, counts.rows(1, [3])).tolist() == [1.0]


def test_another_key_s_many_outcomes_do_not_disturb_an_absent_agent() -> None:
    counts = DecayedCounts([1.0])
    for item in range(2_000):
        counts.learn(1, 7, item, float(item), [])
    assert counts.counts(2, counts.rows(2, [7]))[0, 0] == 0.0
    assert counts.passing(2, counts.rows(2, [7]))[0] == 0.0


def test_counts_grow_beyond_their_first_size() -> None:
    counts = DecayedCounts([3.0])
    for agent in range(3_000):
        counts.learn(0, agent, agent, float(agent), [])
    assert len(counts.members(0)) == 3_000
    assert counts.at(counts.last_number, counts.rows(0, [0, 2_999])).tolist() == [0.0, 2_999.0]


def test_before_any_outcome_nobody_is_ranked() -> None:
    assert AssigneeRanker().rank(Item(1.0, "ide", "c0")) == []


def test_an_outcome_counts_for_the_very_next_item() -> None:
    ranker = AssigneeRanker()
    item = Item(1.0, "ide", "c0")
    ranker.learn(item, "ada")
    assert [name for name, _ in ranker.rank(item)] == ["ada"]
    ranker.learn(item, "bob")
    ranker.learn(item, "bob")
    assert [name for name, _ in ranker.rank(item)] == ["bob", "ada"]


def test_a_kind_never_seen_is_ranked_by_its_project() -> None:
    ranker = AssigneeRanker()
    ranker.learn(Item(1.0, "ide", "c0"), "ada")
    ranker.learn(Item(2.0, "web", "c1"), "bob")
    assert next(name for name, _ in ranker.rank(Item(3.0, "ide", "new"))) == "ada"


def test_features_of_an_item_do_not_know_its_outcome() -> None:
    table = bugs(400)
    other = table.copy()
    other.loc[399, ["agent", "passed"]] = ["somebody", "owner1 owner2"]
    found = []
    for history in (table, other):
        online = OnlineHistory()
        ranker = AssigneeRanker()
        ranker.history_ = online
        ranker.warm_up(history.iloc[:399])
        row = history.iloc[399]
        found.append(online.candidates(Item(row["number"], row["project"], row["kind"])))
    np.testing.assert_array_equal(found[0].features, found[1].features)
    assert found[0].features.shape[1] == len(FEATURES)


def test_trees_learn_and_repeat_themselves() -> None:
    table, later = bugs(1_500), bugs(200, seed=2, start=1_500)
    first = AssigneeRanker(n_rounds=20).fit(table)
    assert first.booster_ is not None
    second = AssigneeRanker(n_rounds=20).fit(table)
    ranking = first.walk(later)
    assert ranking.agents == second.walk(later).agents
    assert ranking.top(1) > 0.6  # owners do 70 %
    assert ranking.top(5) > 0.95


def test_with_little_history_the_counts_alone_rank() -> None:
    ranker = AssigneeRanker().fit(bugs(100))
    assert ranker.booster_ is None
    assert ranker.walk(bugs(50, seed=3)).top(1) > 0.5


def test_the_softmax_pulls_up_the_chosen_of_each_item() -> None:
    chosen = np.array([True, False, False, True])
    gradient, hessian = ListwiseSoftmax(chosen, np.array([2, 2]))(np.zeros(4), None)  # type: ignore[arg-type]  # the data set is not read
    np.testing.assert_allclose(gradient, [-0.5, 0.5, 0.5, -0.5])
    np.testing.assert_allclose(hessian, 0.25)


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(ColumnsMissing, match="passed"):
        AssigneeRanker().fit(bugs(10).drop(columns="passed"))


# -- the exam ---------------------------------------------------------------------------------


def write_tracker(folder: Path, table: pd.DataFrame) -> None:
    folder.mkdir(exist_ok=True)
    passed = table["passed"].where(table["passed"] == "", table["passed"] + " ")
    source = pd.DataFrame(
        {
            "id": table["number"].astype(int),
            "seq": range(len(table)),
            "product": table["project"],
            "component": table["kind"],
            "fixer": table["agent"],
            "after_path": passed + table["agent"],
        }
    )
    for name in exam_triage.TRACKERS:
        source.to_parquet(folder / f"{name}.parquet")


def test_the_exam_walks_both_trackers(tmp_path: Path) -> None:
    write_tracker(tmp_path / "train", bugs(200))
    write_tracker(tmp_path / "test", bugs(60, seed=2, start=200))
    result = exams.run("triage", tmp_path / "train", tmp_path / "test")
    assert list(result.metrics) == ["eclipse_top1", "eclipse_top5", "mozilla_top1", "mozilla_top5"]
    assert 0.5 < result.metrics["eclipse_top1"] <= result.metrics["eclipse_top5"] <= 1.0


def test_the_exam_refuses_bugs_that_it_trained_on(tmp_path: Path) -> None:
    write_tracker(tmp_path / "train", bugs(50))
    with pytest.raises(TestOverlapsTraining):
        exam_triage.judge(tmp_path / "train", tmp_path / "train", "eclipse")


def test_the_exam_names_the_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotReadable, match=r"eclipse\.parquet"):
        exam_triage.load(tmp_path, "eclipse")
