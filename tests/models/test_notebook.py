"""The notebook that trains and judges an assignment model runs from top to bottom."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from tests.models.journals import months_of_work, write_journal

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "assignment_model.ipynb"


def test_the_notebook_trains_a_model_and_draws_how_good_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".pm-agent").mkdir()
    write_journal(tmp_path / ".pm-agent" / "main.journal.db", months_of_work())
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gcf().axes)))
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)  # noqa: S102 - our own notebook
    plt.close("all")
    assert shown == [1, 1, 1, 1, 1]
    coverage = names["coverage"]
    assert coverage["learning, 1.6 times as long"] >= coverage["frozen, 1.6 times as long"]
    assert min(names["lift"].values()) > 0
    assert names["trained"].card.n_evaluated == len(names["held_out"])
