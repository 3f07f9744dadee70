"""`check` runs the decoding lints on the settings of the project file, with what a probe stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladder.worlds import write_world
from tuneworthy.config import load
from tuneworthy.ladder.check import all_checks
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.providers.probe import Finding, ProbeReport, store_probe
from tuneworthy.store import Folder

CHECK = all_checks()["decoding_settings"]


def told(root: Path, decoding: str) -> list[tuple[str, str]]:
    """Level and message of what the check finds with a section `[decoding]`."""
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text() + f"\n[decoding]\n{decoding}\n")
    return [(one.level, one.message) for one in CHECK.findings(Facts(load(root), contact=False))]


def test_each_setting_is_told_with_its_number_and_the_lint(tmp_path: Path) -> None:
    root = write_world(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    grid = "grid = [{temperature = 0.0}, {temperature = 0.0, repetition_penalty = 1.3}]"
    found = told(root, grid)
    assert {message.partition(":")[0] for _, message in found} == {"decoding.grid[1]"}
    assert any("(repetition_penalty_high)" in message for _, message in found)
    assert any("(penalty_when_greedy)" in message for _, message in found)


def test_good_settings_are_silent(tmp_path: Path) -> None:
    root = write_world(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    assert told(root, "grid = [{temperature = 0.0}, {temperature = 0.7, min_p = 0.1}]") == []


@pytest.mark.parametrize(("outcome", "n"), [("no", 1), ("yes", 0)])
def test_a_parameter_that_a_probe_found_idle_is_an_error(tmp_path: Path, outcome: str, n: int) -> None:
    root = write_world(tmp_path, {"weak": "answer(request, 0.4)"}, rungs=["baseline", "decoding"])
    facts = Facts(load(root), contact=False)
    model = facts.opened[facts.project.ladder.baseline][0]
    assert model is not None
    report = ProbeReport(identity=model.provider.identity, findings={"min_p": Finding(outcome=outcome)})  # type: ignore[arg-type]
    store_probe(Folder(root), facts.project.ladder.baseline, report)
    found = told(root, "grid = [{temperature = 0.7, min_p = 0.1}]")
    assert [level for level, _ in found] == ["error"] * n
