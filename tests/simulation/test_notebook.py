import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "simulation.ipynb"


def test_the_notebook_runs_from_top_to_bottom() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 2
    for number, source in enumerate(code):
        exec(compile(source, f"cell {number}", "exec"), names)  # noqa: S102 - our own notebook
    assert names["fewer"].figures.wait_s.mean > names["result"].figures.wait_s.mean
    assert names["comparison"].violations == 0
