import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.report import Case, Report, add_ratio, as_json, middle, number, percentile, show

CASES: list[Case] = [{"case": "lifecycle_1000", "lifecycles_per_s": 15_000.0, "claim_p99_ms": 12.5}]
PEERS: list[Case] = [
    {"case": "postgres_lifecycle_1000", "lifecycles_per_s": 1_000.0, "peer": "postgres"}
]


def test_json_is_one_object_of_the_agreed_shape() -> None:
    report = Report(benchmark="kernel", cases=CASES, peers=PEERS)
    add_ratio(report, "kernel_vs_postgres", 15_000.0, 1_000.0)
    assert json.loads(as_json(report)) == {
        "benchmark": "kernel",
        "cases": CASES,
        "peers": PEERS,
        "ratios": {"kernel_vs_postgres": 15.0},
    }
    assert "\n" not in as_json(report)


def test_table_shows_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    wide: Case = {"case": "closed_1", **{f"figure_{i}_ms": float(i) for i in range(12)}}
    missing: Case = {"case": "hermes", "peer": "hermes", "note": "not installed"}
    show(Report(benchmark="claim", cases=[*CASES, wide], peers=[missing], ratios={"a": 0.5}))
    printed = capsys.readouterr().out
    for text in ("15,000", "12.5", "figure_11_ms", "not installed", "0.5"):
        assert text in printed


def test_ratio_needs_both_figures() -> None:
    report = Report(benchmark="kernel")
    add_ratio(report, "a", 1.0, None)
    add_ratio(report, "b", None, 1.0)
    add_ratio(report, "c", 1.0, 0.0)
    assert report.ratios == {}


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(i) for i in range(100, 0, -1)]
    assert percentile(values, 0.50) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


def test_middle_takes_the_median_of_each_figure() -> None:
    figures = ((1, 9), (3, 7), (2, 8))
    runs: list[Case] = [{"case": "a", "p50_ms": p50, "p99_ms": p99} for p50, p99 in figures]
    assert middle(runs) == {"case": "a", "p50_ms": 2.0, "p99_ms": 8.0, "runs": 3}


def test_number_finds_a_figure_of_a_case() -> None:
    assert number(CASES, "lifecycle_1000", "claim_p99_ms") == 12.5
    assert number(CASES, "lifecycle_1000", "p50_ms") is None
    assert number(CASES, "closed_1", "claim_p99_ms") is None


def test_without_a_name_the_benchmarks_are_listed() -> None:
    listed = CliRunner().invoke(app, [])
    assert listed.exit_code == 0
    for name in ("kernel", "claim", "footprint"):
        assert name in listed.output
