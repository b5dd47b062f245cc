"""The notebooks of the models run from top to bottom, and draw what they promise."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from tests.models.exam_folders import write_swe_agents
from tests.models.journals import months_of_work, write_journal

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def run_all(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[int]]:
    """Names that a notebook leaves, and the number of pictures of each figure it showed."""
    mpl.use("agg")
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    names: dict[str, Any] = {}
    for number, cell in enumerate(json.loads((NOTEBOOKS / name).read_text())["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102 - our own notebook
    plt.close("all")
    return names, shown


def test_the_notebook_trains_a_model_and_draws_how_good_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".pm-agent").mkdir()
    write_journal(tmp_path / ".pm-agent" / "main.journal.db", months_of_work())
    monkeypatch.chdir(tmp_path)
    names, shown = run_all("assignment_model.ipynb", monkeypatch)
    assert shown == [1, 1, 1, 1, 1]
    coverage = names["coverage"]
    assert coverage["learning, 1.6 times as long"] >= coverage["frozen, 1.6 times as long"]
    assert min(names["lift"].values()) > 0
    assert names["trained"].card.n_evaluated == len(names["held_out"])


def test_the_notebook_on_real_runs_compares_models_with_what_each_agent_did_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_swe_agents(tmp_path / "train", tmp_path / "test", n_tasks=60)
    monkeypatch.setenv("SWE_AGENTS", str(tmp_path))
    names, shown = run_all("real_runs.ipynb", monkeypatch)
    assert shown == [1, 1, 1]
    assert names["gain"].value > 0
    assert names["lift"]["model"] > 1
    losses = names["losses"].loc["api_calls"]
    assert (losses["model"] < losses["agent's quantile"]).all()
    assert 0.65 < names["coverage"]["api_calls"] < 0.95
