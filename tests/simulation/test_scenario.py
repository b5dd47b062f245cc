from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simulation.__main__ import app
from simulation.capacity import utilisation, warnings_of
from simulation.scenario import Scenario, ScenarioError

TEAM: list[dict[str, Any]] = [{"name": "all", "count": 2, "skills": {"python": 2}}]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"horizon": 24}, "horizon: unknown key"),
        ({"load": {"tasks_per_day": -5}}, r"load\.tasks_per_day: .*greater than 0; it is -5"),
        ({"load": {"tasks_per_dya": 5}}, r"load\.tasks_per_dya: unknown key"),
        ({"faults": {"crash": 1.5}}, r"faults\.crash"),
        ({"scorer": "best"}, "no policy 'best'; there are priority, factors, learned"),
        ({"policy": {"reserves": 1}}, "no number reserves"),
        ({"warm_up_h": 30}, "warm_up_h must be shorter"),
        (
            {"tasks": {"skills": [{"name": "rust", "level": 1, "share": 0.1}]}},
            "nobody in the team has rust at level 1",
        ),
        (
            {"tasks": {"skills": [{"name": "python", "level": 3, "share": 0.1}]}},
            "nobody in the team has python at level 3",
        ),
        ({"team": [{"name": "all", "count": 2, "model": "gpt-9"}]}, "no model 'gpt-9'"),
        ({"team": []}, "team"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_said(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        Scenario.of({"team": TEAM} | values)


def test_a_scenario_that_is_missing_or_no_toml_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"There is no scenario 'dya'; there are .*day"):
        Scenario.read("dya")
    with pytest.raises(ScenarioError, match="There is no file"):
        Scenario.read(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("load = [")
    with pytest.raises(ScenarioError, match="is no TOML"):
        Scenario.read(tmp_path / "broken.toml")


def test_the_command_line_names_the_wrong_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('horizont_h = 1\n[[team]]\nname = "a"\ncount = 1\n')
    answer = CliRunner().invoke(app, ["run", str(path)])
    assert answer.exit_code == 2
    assert "horizont_h: unknown key" in answer.stderr


def test_more_work_than_can_be_done_is_warned_of_before() -> None:
    values = {"duration": "fixed", "mean_min": 30, "success": 1}
    busy = {"team": TEAM, "behaviour": values, "load": {"tasks_per_day": 144}}
    auto = {"projects": [{"completion": "auto"}]}
    scenario = Scenario.of(busy | auto)
    assert utilisation(scenario)["the team"] == pytest.approx(1.5)
    assert "utilisation 150%" in warnings_of(scenario)[0]
    assert warnings_of(scenario.changed(load={"tasks_per_day": 50})) == []


def test_the_hash_follows_the_values_alone() -> None:
    one = Scenario.of({"team": TEAM})
    assert one.hash == Scenario.of({"team": TEAM, "horizon_h": 24.0}).hash
    assert one.hash != one.changed(horizon_h=25).hash
