"""The notebook's cells, run in order on the processor with the small model and rows of the task's format."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).parents[2] / "benchmarks" / "proof"
sys.path.insert(0, str(PROOF))

import run  # noqa: E402
import task_project  # noqa: E402
from registry import open_tasks, read_tasks  # noqa: E402

from tests.proof.test_registry import table  # noqa: E402
from tuneworthy.providers import models  # noqa: E402

CELLS = json.loads((PROOF / "notebook.ipynb").read_text())["cells"]
TOOLS = {"weather": "will it rain in {}", "stocks": "what is the share price of {}", "maps": "how do I get to {}",
         "music": "play a song by {}", "recipes": "how do I cook {}", "news": "what happened in {}"}  # fmt: skip
ENDINGS = ("today", "please", "this week", "for my sister", "if you can", "again", "as soon as possible", "by noon")


def test_the_text_is_short_and_the_task_is_open() -> None:
    words = sum(len("".join(cell["source"]).split()) for cell in CELLS if cell["cell_type"] == "markdown")
    assert words <= 600
    assert "tool-choice" in open_tasks(read_tasks()) and '["tool-choice"]' in str(CELLS)


@pytest.mark.slow
def test_all_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "trl", "peft", "xllamacpp"):
        pytest.importorskip(package)
    if models.find(task_project.MODEL, tmp_path) is None:
        pytest.skip(f"{task_project.MODEL} is not on this machine (tuneworthy models pull {task_project.MODEL})")
    task = read_tasks()["tool-choice"]
    path = tmp_path / "data" / task.repository.replace("/", "+") / task.train[0]
    path.parent.mkdir(parents=True)
    draw = random.Random(3)
    names = [
        f"{a}{b}{c}" for a in ("mo", "li", "ka", "ter", "su") for b in ("ra", "ven", "do") for c in ("n", "lis", "m")
    ]
    rows = [{"Query": f"{text.format(f'{name} {draw.choice(names)}')} {draw.choice(ENDINGS)}", "Tool": tool}
            for name in names for tool, text in TOOLS.items()]  # fmt: skip
    table(path, rows)
    monkeypatch.setenv("TUNEWORTHY_CLONE", str(PROOF.parents[1]))
    monkeypatch.setenv("PROOF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PROOF_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("PROOF_MODEL", task_project.MODEL)
    lighter = task_project.PROJECT.replace("epochs = 2", "epochs = 1\nrehearsal = 0").replace(
        "{rungs}", '"baseline", "fine_tune"'
    )
    monkeypatch.setattr(task_project, "PROJECT", lighter)
    monkeypatch.setattr(run, "check_data", lambda *_: None)  # the rows are ours
    names_of_cells: dict[str, object] = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "cell", "exec"), names_of_cells)
    printed = capsys.readouterr().out
    assert "tuned less baseline" in printed and "Training was worth it: " in printed and "parity" in printed.lower()
