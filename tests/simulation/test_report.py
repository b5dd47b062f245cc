import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulation import charts
from simulation.charts import Bound, Series
from simulation.comparison import FIGURES, compare
from simulation.experiment import Result, run
from simulation.report import comparison_page, write
from simulation.scenario import Scenario


@pytest.fixture(scope="module")
def result() -> Result:
    return run(Scenario.read("burst").changed(horizon_h=3, title="Bursts & <more>"), seed=4)


def test_tables_hold_every_task_and_attempt(result: Result, tmp_path: Path) -> None:
    write(result, tmp_path)
    tasks = pq.read_table(tmp_path / "tasks.parquet")
    attempts = pq.read_table(tmp_path / "attempts.parquet")
    assert tasks.num_rows == result.figures.tasks_created
    assert attempts.num_rows == result.figures.attempts
    assert tasks.schema.metadata[b"scenario_hash"].decode() == result.scenario_hash
    never = [end for end, state in zip(tasks["ended_h"], tasks["state"], strict=True)
             if state.as_py() == "open"]  # fmt: skip
    assert all(end.as_py() is None for end in never)


def test_the_page_needs_nothing_else_and_says_what_it_shows(result: Result, tmp_path: Path) -> None:
    write(result, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Bursts &amp; &lt;more&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == page.count("<figcaption>") == 6
    about = f"seed 4 · scenario {result.scenario_hash} · policy factors-1"
    assert page.count(f"<figcaption>{about}</figcaption>") == 6
    for part in page.split("<svg")[1:]:
        ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>")  # noqa: S314 - ours


def test_a_comparison_shows_every_difference() -> None:
    scenario = Scenario.read("burst").changed(horizon_h=2)
    page = comparison_page(compare(scenario, ["priority", "factors"], replications=2))
    assert page.count("<svg") == len(FIGURES)
    assert "factors - priority" in page


def test_values_lie_where_the_axes_say() -> None:
    drawn = charts.lines([0, 10], [Series("a", [0, 100])], x_name="x", y_name="y")
    low, high = (
        (charts.LEFT, charts.HEIGHT - charts.BOTTOM),
        (charts.WIDTH - charts.RIGHT, charts.TOP),
    )
    points = "{:.1f},{:.1f} {:.1f},{:.1f}".format(*low, *high)
    assert f'points="{points}"' in drawn
    assert charts.ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert charts.ticks(0, 0) == [0]
    assert "± inf" in charts.intervals([Bound("a", 1, float("inf"))], x_name="x")
