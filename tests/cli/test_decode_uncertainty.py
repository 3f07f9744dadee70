"""`decode uncertainty` through the real command line, on scripted models that give log-probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_verbs import refused, told
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke

MODEL = """
import math

from tuneworthy.types import Response


def watched(request):
    text, right = question(request), truth(question(request))
    said = answer(request, 0.5)
    doubt = (number(text, "doubt") + TELLS * (said != right)) / 3
    if request.decoding.get("temperature") and number(text, request.repeat) < doubt:
        said = LABELS[request.repeat % 3]
    top = [[said, math.log(1 - doubt)], ["mauve", math.log(max(doubt, 1e-9))]]
    return Response(text=said, logprobs=({"token": said, "logprob": math.log(1 - doubt), "top": top},))
"""
"""Half of the answers are wrong, and these are less sure if `TELLS` is 1."""


def write(root: Path, tells: int) -> Path:
    write_simulation(root, {"watched": "None"}, n_cases=150, n_examples=60)
    (root / "world.py").write_text((root / "world.py").read_text() + MODEL.replace("TELLS", str(tells)))
    return root


def test_a_model_whose_doubts_tell_gets_areas_a_threshold_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, page = write(tmp_path / "world", 1), tmp_path / "page.html"
    words = ["decode", "uncertainty", "--project", root, "--samples", 3, "--out", page]
    found = told(capsys, *words)
    calibration, dev = found["calibration"], len(found["answers"])
    area = calibration["areas"]["mean_surprise"]
    assert 0.5 < area["lo"] <= area["area"] <= area["hi"] <= 1 and area["n_yes"] + area["n_no"] == dev
    assert calibration["threshold"]["signal"] == "mean_surprise" and calibration["refused"] == ""
    assert sum(n for *_, n in calibration["reliability"]) == dev
    assert calibration["areas"]["disagreement"]["area"] > 0.5
    assert found["spots"][0]["cases"] and found["spots"][0]["instead"] == ["mauve"]
    assert json.loads((root / ".tuneworthy" / "uncertainty.json").read_text())["answers"] == found["answers"]
    assert "Withhold answers with mean_surprise" in page.read_text() and "mauve" in page.read_text()
    assert invoke([*map(str, words)]) == 0
    out = capsys.readouterr().out
    assert "AUROC" in out and "Most uncertain tokens" in out and "Reliability" in out and "Withhold answers" in out


def test_a_model_whose_doubts_are_random_gets_no_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path, 0)
    found = told(capsys, "decode", "uncertainty", "--project", root)
    calibration = found["calibration"]
    assert calibration["threshold"] is None
    assert calibration["refused"].startswith(
        "the signal mean_surprise does not separate wrong answers from correct ones (AUROC"
    )
    assert invoke(["decode", "uncertainty", "--project", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"No threshold: {calibration['refused']}." in lines


@pytest.mark.parametrize(
    ("words", "told_of"),
    [
        (("--samples", "1"), "--samples must be 0 or at least 2, because a single sample cannot show disagreement."),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    words: tuple[str, ...], told_of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path, 1)
    assert told_of in refused(capsys, "decode", "uncertainty", "--project", root, *words)
    assert not (root / ".tuneworthy").exists()
