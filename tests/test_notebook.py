"""The notebook of the docs was executed from top to bottom, its page shows that, and its cells run."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tuneworthy
from tests.ladder.simulations import write_simulation

ROOT = Path(__file__).parents[1]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tuneworthy_notebook", ROOT / "scripts" / "notebook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
CELLS = [one for one in json.loads(script.NOTEBOOK.read_text())["cells"] if one["cell_type"] == "code"]


def test_the_page_is_the_notebook() -> None:
    assert script.main(["--check"]) == 0, "docs/tutorials/notebook.md is stale: run `python scripts/notebook.py`"


def test_another_notebook_makes_the_page_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = script.NOTEBOOK.read_text().replace("The options", "Other options")
    monkeypatch.setattr(script, "NOTEBOOK", tmp_path / "notebook.ipynb")
    script.NOTEBOOK.write_text(content)
    assert script.main(["--check"]) == 1


def test_all_cells_were_executed_in_order_without_an_error() -> None:
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    assert all(cell["outputs"] for cell in CELLS)
    assert {output["output_type"] for cell in CELLS for output in cell["outputs"]} <= {"stream", "execute_result"}
    assert str(Path.home()) not in script.NOTEBOOK.read_text() and "/tmp/" not in script.NOTEBOOK.read_text()


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body[-1]
    value = ast.Expression(tree.body.pop().value) if isinstance(last, ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(value, "cell", "eval"), names) if value else None


def test_each_cell_gives_the_same_kind_of_output_on_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    models = {"small": "answer(request, 0.95 if has_shots(request) else 0.3)"}
    root = write_simulation(tmp_path / "my-demo", models, n_cases=120, rungs=["baseline", "few_shot"])
    tuneworthy.open(root).run()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in CELLS:
        capsys.readouterr()
        value = run_cell("".join(cell["source"]), names)
        output = cell["outputs"][0]
        assert bool(capsys.readouterr().out) == (output["output_type"] == "stream")
        assert hasattr(value, "_repr_html_") == ("text/html" in output.get("data", {}))


def test_a_cell_that_no_longer_runs_is_noticed() -> None:
    with pytest.raises(AttributeError):
        run_cell("import tuneworthy\ntuneworthy.opened('my-demo')", {})
