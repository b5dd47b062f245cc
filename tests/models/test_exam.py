"""The exams of agents' runs, on small made-up folders."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from models import exam_assignment, exam_metr_runs, exam_swe_agents
from models.__main__ import app
from models.errors import (
    BadData,
    ColumnsMissing,
    FileNotReadable,
    NothingToLearn,
    TestOverlapsTraining,
    TimesInFuture,
    ValuesInvalid,
)
from models.escalation import chains
from models.exam import Result, Row, as_json, read_table, show
from tests.models.exam_folders import change, write_metr_runs, write_swe_agents

Folders = tuple[Path, Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As `models.exam.run` does: threads of linear algebra spin on a busy machine."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def swe_agents(tmp_path: Path) -> Folders:
    write_swe_agents(tmp_path / "train", tmp_path / "test")
    return tmp_path / "train", tmp_path / "test"


@pytest.fixture
def metr_runs(tmp_path: Path) -> Folders:
    write_metr_runs(tmp_path / "train", tmp_path / "test")
    return tmp_path / "train", tmp_path / "test"


def test_swe_agents_beats_its_trivial_baseline(swe_agents: Folders) -> None:
    result = exam_swe_agents.run(*swe_agents)
    trivial = result.baselines[0].metrics
    assert list(result.metrics) == exam_swe_agents.METRICS
    assert result.metrics["brier"] < trivial["brier"]
    assert result.metrics["auc"] > trivial["auc"]
    assert result.metrics["calls_abs_log2"] < trivial["calls_abs_log2"]
    assert result.metrics["new_agent_brier_after_10"] < trivial["new_agent_brier_after_10"]
    assert 0.7 < result.metrics["cover80"] < 0.9


def test_outcomes_of_the_test_are_in_no_fact_and_no_training_row(swe_agents: Folders) -> None:
    rows = exam_swe_agents.read(*swe_agents)
    change(swe_agents[1], "runs.parquet", resolved=lambda runs: ~runs.resolved, api_calls=7)
    changed = exam_swe_agents.read(*swe_agents)
    facts = exam_swe_agents.EFFORT_FACTS
    pd.testing.assert_frame_equal(rows.known[facts], changed.known[facts])
    pd.testing.assert_frame_equal(rows.train, changed.train)


def test_chances_of_the_test_do_not_depend_on_its_outcomes(swe_agents: Folders) -> None:
    before = exam_swe_agents.run(*swe_agents).metrics
    change(swe_agents[1], "runs.parquet", resolved=lambda runs: ~runs.resolved)
    after = exam_swe_agents.run(*swe_agents).metrics
    # The same chances, judged by the opposite outcomes.
    assert after["auc"] == pytest.approx(1 - before["auc"])
    assert after["calls_abs_log2"] == before["calls_abs_log2"]


def test_swe_agents_walks_each_repository_in_the_order_of_issues(swe_agents: Folders) -> None:
    rows = exam_swe_agents.read(*swe_agents)
    for _, runs in rows.known.groupby("repo"):
        assert runs.issue_no.is_monotonic_increasing
    assert not set(rows.known.instance_id) & set(rows.train.instance_id)
    assert set(rows.new.agent) == {"agent 5"}


def test_metr_runs_beats_its_trivial_baseline(metr_runs: Folders) -> None:
    result = exam_metr_runs.run(*metr_runs)
    trivial = result.baselines[0].metrics
    assert result.metrics["brier"] < trivial["brier"]
    assert result.metrics["duration_abs_log2"] < trivial["duration_abs_log2"]
    assert 0.7 < result.metrics["cover80"] < 0.92


def test_a_run_is_predicted_without_what_ends_after_its_start(metr_runs: Folders) -> None:
    train, test = exam_metr_runs.read(*metr_runs)
    assert "human" not in set(train.agent) | set(test.agent)
    middle = len(test) // 2
    later = test.index >= middle
    changed = test.assign(
        score_binarized=np.where(later, 1 - test.score_binarized, test.score_binarized),
        duration_s=np.where(later, test.duration_s * 9, test.duration_s),
    )
    first = exam_metr_runs.walk(train, test, is_online=True)
    second = exam_metr_runs.walk(train, changed, is_online=True)
    np.testing.assert_array_equal(first.chance[:middle], second.chance[:middle])
    np.testing.assert_array_equal(first.interval[:middle], second.interval[:middle])
    assert not np.array_equal(first.chance, second.chance)


def test_runs_without_an_instant_are_never_learned_from(metr_runs: Folders) -> None:
    train, test = exam_metr_runs.read(*metr_runs)
    timeless = test.assign(started_at=0, completed_at=0)
    frozen = exam_metr_runs.walk(train, timeless, is_online=False)
    online = exam_metr_runs.walk(train, timeless, is_online=True)
    np.testing.assert_array_equal(frozen.chance, online.chance)


def test_assignment_keeps_quota_and_budget_and_beats_chance(swe_agents: Folders) -> None:
    result = exam_assignment.run(*swe_agents)
    random = result.baselines[0].metrics
    assert list(result.metrics) == [
        "solved_quota_14",
        "solved_quota_28",
        "solved_quota_56",
        "solved_budget_0.20",
    ]
    assert all(result.metrics[name] > value for name, value in random.items())
    spent_usd = float(result.notes[0].split("$")[1].split(" ")[0])
    assert 0.1 < spent_usd <= 0.2


def test_a_run_dearer_than_all_the_money_left_is_cut_short() -> None:
    logits, expected = np.zeros((2, 1)), np.full((2, 1), 0.1)
    runs = exam_assignment.Runs(
        logits, expected, solved=np.ones((2, 1), bool), spent_usd=np.array([[0.15], [9.0]])
    )
    solved, spent_usd = exam_assignment.spend(runs, chains(logits, expected, 0.0), 0.2)
    assert solved == 0.5
    assert spent_usd == pytest.approx(0.2)


def test_a_success_ends_the_attempts_on_a_task() -> None:
    logits, expected = np.zeros((1, 2)), np.array([[0.01, 0.02]])
    runs = exam_assignment.Runs(
        logits, expected, solved=np.array([[True, True]]), spent_usd=expected
    )
    spent = exam_assignment.spend(runs, chains(logits, expected, 0.0), 1.0)
    assert spent == pytest.approx((1.0, 0.01))


def _drop(folder: Path) -> None:
    (folder / "runs.parquet").unlink()


def _damage(folder: Path) -> None:
    path = folder / "runs.parquet"
    path.write_bytes(path.read_bytes()[:200])


def _forget_column(folder: Path) -> None:
    runs = pd.read_parquet(folder / "runs.parquet").drop(columns="agent")
    runs.to_parquet(folder / "runs.parquet")


def _forget_rows(folder: Path) -> None:
    pd.read_parquet(folder / "runs.parquet").head(0).to_parquet(folder / "runs.parquet")


@pytest.mark.parametrize("take", [exam_swe_agents.run, exam_metr_runs.run, exam_assignment.run])
@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (_drop, FileNotReadable),
        (_damage, FileNotReadable),
        (_forget_column, ColumnsMissing),
        (_forget_rows, NothingToLearn),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path,
    take: Callable[[Path, Path], Result],
    spoil: Callable[[Path], None],
    error: type[BadData],
) -> None:
    write = write_metr_runs if take is exam_metr_runs.run else write_swe_agents
    write(tmp_path / "train", tmp_path / "test")
    spoil(tmp_path / "test")
    with pytest.raises(error) as refusal:
        take(tmp_path / "train", tmp_path / "test")
    assert refusal.value.next_step


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("api_calls", 0, "lack values: [0-9]+ a usable api_calls"),
        ("cost_usd", float("nan"), "lack values: [0-9]+ a usable cost_usd"),
        ("instance_id", "nowhere-1", "ran a task twice"),
    ],
)
def test_values_of_swe_agents_that_mean_nothing_are_refused(
    swe_agents: Folders, column: str, value: object, message: str
) -> None:
    change(swe_agents[1], "runs.parquet", **{column: value})
    with pytest.raises(ValuesInvalid, match=message):
        exam_swe_agents.run(*swe_agents)


def test_runs_that_lie_in_the_future_or_end_before_they_start_are_refused(
    metr_runs: Folders,
) -> None:
    change(metr_runs[1], "runs.parquet", completed_at=lambda runs: runs.started_at - 1)
    with pytest.raises(ValuesInvalid, match="before it started"):
        exam_metr_runs.run(*metr_runs)
    change(metr_runs[1], "runs.parquet", completed_at=4_102_444_800_000)
    with pytest.raises(TimesInFuture, match="2100-01-01"):
        exam_metr_runs.run(*metr_runs)


def test_testing_on_training_data_is_refused(tmp_path: Path) -> None:
    for take, write in (
        (exam_swe_agents.run, write_swe_agents),
        (exam_assignment.run, write_swe_agents),
        (exam_metr_runs.run, write_metr_runs),
    ):
        write(tmp_path / "train", tmp_path / "test")
        with pytest.raises(TestOverlapsTraining, match="training data too"):
            take(tmp_path / "train", tmp_path / "train")


def test_the_command_prints_one_json_object(swe_agents: Folders) -> None:
    train, test = (str(folder) for folder in swe_agents)
    done = CliRunner().invoke(
        app, ["exam", "assignment", "--train", train, "--test", test, "--json"]
    )
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["exam"] == "assignment"
    assert list(found) == ["exam", "metrics"]


def test_the_command_ends_with_the_code_of_what_was_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["exam", "swe_agents", "--train", str(tmp_path), "--test", str(tmp_path)]
    )
    assert done.exit_code == 2
    assert done.stderr.startswith("file_not_readable: There is no runs.parquet")


def test_a_metric_without_rows_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result({"brier": float("nan")}, [Row("mean", {})], ["a note"])
    assert json.loads(as_json("x", result)) == {"exam": "x", "metrics": {"brier": None}}
    show("x", result)
    assert "a note" in capsys.readouterr().out


def test_only_the_columns_asked_for_are_read(swe_agents: Folders) -> None:
    table = read_table(swe_agents[0], "runs.parquet", ["agent", "resolved"])
    assert list(table.columns) == ["agent", "resolved"]
