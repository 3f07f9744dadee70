"""The proof's runner: resumes where it was killed, with the same record, and counts what it says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROOF = Path(__file__).parents[2] / "benchmarks" / "proof"
sys.path.insert(0, str(PROOF))

import run  # noqa: E402
from registry import read_tasks  # noqa: E402

from tests.proof.test_registry import write_data  # noqa: E402
from tuneworthy.graders.judging import ScoredAnswers  # noqa: E402

TASK = read_tasks()["basque-intents"]


class Killed(BaseException):
    pass


class Tool:
    """Stands in for the commands: counts them, and is killed during those it is told."""

    def __init__(self, *kill_at: int) -> None:
        self.calls: list[str] = []
        self.kill_at = list(kill_at)

    def __call__(self, folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
        self.calls.append(" ".join(step))
        if self.kill_at and len(self.calls) == self.kill_at[0]:
            self.kill_at.pop(0)
            raise Killed
        options = [
            {"option": "baseline", "kind": "today", "score": 0.4},
            {"option": "few_shot", "kind": "variant", "score": None},
            {"option": "fine_tune", "kind": "fine_tune", "score": 0.95},
        ]  # of the pilot
        verdict = {"outcome": "fine_tune", "reason_code": "g", "recommendation": "baseline", "training": None,
                   "forecast": {}, "options": options}  # fmt: skip
        return (0, json.dumps(verdict if step[0] == "decide" else {}))


def answers(share: float, unscored: int = 0) -> ScoredAnswers:
    num = (np.arange(200) < 200 * share).astype(float)
    num[:unscored] = np.nan
    return ScoredAnswers(traces=(), num=num, den=np.ones(200))


def finish(tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch, **shares: float) -> dict[str, Any]:
    class Opened:
        def score(self, path: Path, *names: str) -> dict[str, ScoredAnswers]:
            return {name: answers({"baseline": 0.4, "fine_tune": 0.9, **shares}[name]) for name in names}

    monkeypatch.setattr(run, "command", tool)
    monkeypatch.setattr(run.tuneworthy, "open", lambda _: Opened())
    data = tmp_path / "data"
    if not data.exists():
        write_data(TASK, data)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return run.prove(TASK, data, work, run.MODEL)


def same(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "seconds"}


def test_a_run_killed_three_times_ends_with_the_same_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = finish(tmp_path / "whole", Tool(), monkeypatch)
    tool = Tool(1, 5, 10)
    for _ in range(3):
        with pytest.raises(Killed):
            finish(tmp_path / "killed", tool, monkeypatch)
    assert same(finish(tmp_path / "killed", tool, monkeypatch)) == same(whole)
    steps = [step for step in run.steps_of(TASK) if step[0] != "method"]
    assert len(tool.calls) == len(steps) + 3  # only the steps that were killed were taken twice
    for _ in range(2):
        finish(tmp_path / "killed", tool, monkeypatch)
    lines = (tmp_path / "killed" / "work" / "records.jsonl").read_text().splitlines()
    assert len(lines) == 1 and len(tool.calls) == len(steps) + 3


def test_a_run_leaves_the_environment_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    finish(tmp_path, Tool(), monkeypatch)
    assert dict(os.environ) == before


def test_a_step_that_fails_stops_the_run_and_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
        return (2, "")

    monkeypatch.setattr(run, "command", failing)
    (tmp_path / "work").mkdir()
    with pytest.raises(SystemExit, match="ended with status 2"):
        run.prove(TASK, write_data(TASK, tmp_path / "data"), tmp_path / "work", run.MODEL)
    assert finish(tmp_path, Tool(), monkeypatch)["verdict"] == "fine_tune"


def test_the_second_training_has_the_other_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = []

    class Watching(Tool):
        def __call__(self, folder: Path, step: tuple[str, ...]) -> tuple[int, str]:
            if step == ("train",):
                methods.append((folder / "tuneworthy.toml").read_text().count('method = "classifier"'))
            return super().__call__(folder, step)

    finish(tmp_path, Watching(), monkeypatch)
    assert methods == [0, 1]


@pytest.mark.parametrize(
    ("baseline", "tuned", "worth"),
    [(0.4, 0.9, "yes"), (0.4, 0.6, "yes"), (0.9, 0.9, "no"), (0.4, 0.4, "no"), (0.4, 0.3, "no"), (0.95, 0.9, "no")],
)
def test_what_was_worth_training_is_counted_as_the_protocol_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, baseline: float, tuned: float, worth: str
) -> None:
    record = finish(tmp_path, Tool(), monkeypatch, baseline=baseline, fine_tune=tuned)
    second = record["second"]
    assert second["worth_training"] == worth and second["difference"] == pytest.approx(tuned - baseline)
    assert second["n"] == 200 and set(second["scores"]) == {"baseline", "fine_tune"}


def test_cases_that_could_not_be_scored_are_counted_and_left_out() -> None:
    found = run.level(TASK, answers(0.5, unscored=50))
    assert found["unscored"] == 50 and found["score"] == pytest.approx(50 / 150)
