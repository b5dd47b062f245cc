from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from simulation.charts import COLOURS
from simulation.comparison import FIGURES, compare
from simulation.experiment import run
from simulation.report import write, write_comparison
from simulation.scenario import Scenario
from tests.services.chromium import Chromium, Rect

RECTS = """[...document.querySelectorAll('svg')].map(svg => ({
  title: svg.parentElement.querySelector('h2').textContent, box: svg.getBoundingClientRect(),
  texts: [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect())}))"""


class Chart(msgspec.Struct):
    """A chart as the browser has laid it out."""

    title: str
    box: Rect
    texts: list[Rect]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write(run(Scenario.read("burst").changed(horizon_h=6), seed=4), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario = Scenario.read("burst").changed(horizon_h=2)
    compared = compare(scenario, ["priority", "factors"], replications=3)
    return write_comparison(compared, tmp_path_factory.mktemp("comparison"))


def charts_of(chromium: Chromium, page: Path) -> list[Chart]:
    return msgspec.convert(chromium.evaluate(page, RECTS), list[Chart])


def share(picture: NDArray[np.uint8], box: Rect, colour: str) -> float:
    """Share of the pixels in a part of the picture that have a colour."""
    part = picture[int(box.top) : int(box.bottom), int(box.left) : int(box.right)]
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(part.astype(int) - wanted) < 8).all(axis=2).mean())


def test_the_report_shows_its_charts(report: Path, tmp_path: Path) -> None:
    chromium = Chromium(tmp_path, (1400, 2400))
    picture = chromium.screenshot(report)
    found = {chart.title: share(picture, chart.box, COLOURS[0])
             for chart in charts_of(chromium, report)}  # fmt: skip
    assert len(found) == 6
    # An area or a bar fills a part of its chart, a line is at least there.
    filled = ("Lead time of done tasks", "Cumulative flow", "Agents: at work, waiting, away")
    assert all(found.pop(title) > 0.05 for title in filled), found
    assert all(there > 0.0005 for there in found.values()), found


def test_the_comparison_shows_an_interval_in_each_chart(comparison: Path, tmp_path: Path) -> None:
    chromium = Chromium(tmp_path, (1400, 3000))
    picture = chromium.screenshot(comparison)
    charts = charts_of(chromium, comparison)
    assert len(charts) == len(FIGURES)
    assert all(share(picture, chart.box, COLOURS[0]) > 0.0003 for chart in charts)


@pytest.mark.parametrize("width", [1400, 600])
@pytest.mark.parametrize("page", ["report", "comparison"])
def test_no_text_is_cut_off_or_covers_another(
    page: str, width: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(page)
    chromium = Chromium(tmp_path, (width, 3000))
    for chart in charts_of(chromium, path):
        assert all(chart.box.holds(text) for text in chart.texts), chart
        assert not any(one.meets(two) for one, two in combinations(chart.texts, 2)), chart
    assert chromium.evaluate(path, "document.documentElement.scrollWidth <= innerWidth")
