"""`export router`: the classifier where it is sure; proven on test once, or nothing is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.ladder.commands.export_router import choose_threshold
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.store import Folder

PRICED = "input_usd_per_mtok = 1000.0\noutput_usd_per_mtok = 1000.0\n"


def project(root: Path, strong: str) -> Path:
    """Half of the questions name their colour; of the others only a model that knows the number can tell."""
    models = {"weak": "'red'", "strong": strong}
    root = write_simulation(root, models, n_cases=240, rungs=["classical", "baseline", "model"], learnable=True)
    for name in ("cases.jsonl", "examples.jsonl"):
        lines = (root / name).read_text().splitlines()
        for at in range(0, len(lines), 2):
            for hint in ("crimson apple", "leafy meadow", "deep ocean"):
                lines[at] = lines[at].replace(hint, "thing")
        if name == "examples.jsonl":  # wrong labels, which the nearest example repeats and a linear classifier does not
            lines = [line.replace('"green"', '"blue"') if at % 10 in {1, 3} else line for at, line in enumerate(lines)]
        (root / name).write_text("\n".join(lines) + "\n")
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('"world.py:strong"\n', f'"world.py:strong"\n{PRICED}'))
    return root


def export(root: Path, capsys: pytest.CaptureFixture[str], which: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert invoke(["export", "router", which, "--project", str(root), "--out", str(root / "out"), "--json"]) == status
    document = json.loads(capsys.readouterr().out)
    return document["error"]["message"] if status else document


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("walked") / "world", "answer(request, 0.97)")
    assert invoke(["run", "--project", str(root), "--yes"]) == 0
    return root


def test_what_the_classifier_is_sure_of_is_not_sent_and_the_comparison_is_charged_once(
    walked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = len(read_comparisons(Folder(walked)).spent)
    document = export(walked, capsys, "model")
    assert export(walked, capsys, "model") == document
    assert len(read_comparisons(Folder(walked)).spent) == made + 1
    assert 0.3 < document["sent"] < 0.7
    assert document["usd_per_1k"] == pytest.approx(document["sent"] * document["large_usd_per_1k"], rel=0.1)
    assert document["paired"]["b"] >= document["paired"]["a"] - 0.05 <= document["paired"]["a"] + document["lower"]
    code = (
        "import router\n"
        "print(router.answer('item 5 leafy meadow 9', lambda text: 'asked'))\n"
        "print(router.answer('qwz', lambda text: 'asked'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=walked / "out", capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["green", "asked"]


def test_a_router_that_loses_on_test_is_not_written(
    walked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneworthy.ladder.commands.export_router.choose_threshold", lambda *_: 0.0)
    shutil.rmtree(walked / "out", ignore_errors=True)
    assert "not shown to be non-inferior" in export(walked, capsys, "model", status=3)
    assert not (walked / "out").exists()


def test_the_classical_winner_cannot_be_its_own_large_model(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs a variant that calls a model" in export(walked, capsys, "classical", status=2)


def test_the_lowest_threshold_that_keeps_the_score_is_chosen() -> None:
    sure, own = np.array([0.99, 0.9, 0.8, 0.4, 0.2]), np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    assert choose_threshold(sure, own, np.array([1.0, 1.0, 1.0, 1.0, 0.0])) == 0.85
    assert choose_threshold(sure, own, np.zeros(5)) == 0.0
    assert choose_threshold(sure, np.zeros(5), np.ones(5)) == float("inf")
    assert choose_threshold(sure, np.full(5, np.nan), np.ones(5)) == 0.0
