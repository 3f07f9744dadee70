"""A run as it goes: a line per rung, one live line on a terminal, plain lines elsewhere, and the time that is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.pseudo_terminal import ESCAPE, lines_of, on_terminal
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import progress
from tuneworthy.cli.progress import RunProgress
from tuneworthy.ladder.estimate import Work
from tuneworthy.ladder.record import RungRecord
from tuneworthy.types import RungStatus

RUNGS = ("classical", "baseline", "prompt", "retrieval", "model", "few_shot", "decoding", "fine_tune")
MODELS = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.95)"}


def takes(calls: float, seconds: float) -> Work:
    return Work(calls, seconds=seconds)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def halfway(shown: RunProgress, clock: Clock) -> None:
    """Let a run finish three rungs and half of a fourth."""
    shown.plan(RUNGS, {name: takes(300, 60.0) for name in RUNGS[1:]})
    for name, status, score in (
        ("classical", RungStatus.REFERENCE, 0.793),
        ("baseline", RungStatus.VIOLATES_CONSTRAINT, 1.0),
        ("prompt", RungStatus.NO_GAIN, 0.05),
    ):
        shown.start(name)
        shown.finish(RungRecord(rung=name, status=status, score=score, reason="why", cost_usd=1234.5))
    shown.finish(RungRecord(rung="retrieval", status=RungStatus.SKIPPED, reason="no documents"))
    shown.finish(RungRecord(rung="model", status=RungStatus.SKIPPED, reason="no models"))
    shown.start("few_shot")
    shown.begin("few_shot/per_case-4+choice", 300, 0, alone=False)
    for _ in range(150):
        clock.now += 0.4
        shown.advance(0.0)


def test_without_a_terminal_each_rung_and_now_and_then_the_whole_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    halfway(RunProgress(live=False), clock)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[0] == "classical (reference, 79.3%): why"
    assert lines[3] == "retrieval (skipped): no documents"
    assert lines[-1] == ("Answers: 129 of about 900, about 5 min left. Now: few_shot/per_case-4+choice, 2.5/s.")
    assert sum(line.startswith("Answers:") for line in lines) == 5  # of 60 seconds


def test_a_met_target_is_said_once_for_a_variant_with_the_bill_that_may_fall(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = RunProgress(live=False)
    for variant, bill in (("a", "$402 a month"), ("a", ""), ("b", "")):
        assert shown.target_met(variant, 0.95, 0.4, Work(10, 1.2, 5.0), bill)
    first, second = capsys.readouterr().err.splitlines()
    assert "about $1.20" in first and "5.0 points" in first and "$402 a month" in first and "bill" not in second
    assert not RunProgress(at_target="stop").target_met("a", 0.95, 0.4, Work(10, 1.2, 5.0), "")


@pytest.mark.parametrize(
    ("columns", "environment"),
    [
        (80, {}),
        pytest.param(100, {"NO_COLOR": "1"}, marks=pytest.mark.slow),
        pytest.param(160, {"TERM": "dumb"}, marks=pytest.mark.slow),
    ],
    ids=["80", "100", "160"],
)
def test_a_terminal_shows_every_rung_and_ends_with_the_next_command(
    columns: int, environment: dict[str, str], tmp_path: Path
) -> None:
    root = write_simulation(
        tmp_path, MODELS, n_cases=60, n_examples=210, rungs=["classical", "baseline", "prompt", "model"]
    )
    status, text = on_terminal("run", "--project", str(root), columns=columns, **environment)
    lines = lines_of(text)
    assert status == 0 and max(map(len, lines)) <= columns
    rows = [" ".join(line.removeprefix("*").split()) for line in lines]
    for row in ("classical reference", "baseline reference", "prompt inconclusive", "model adopted"):
        assert [line for line in rows if line.startswith(row)][-1]
    live = "TERM" not in environment
    assert live == bool(ESCAPE.search(text))
    assert ("\x1b[32m" in text or "\x1b[0;32m" in text) == (not environment)
    assert any(line.startswith("Next: tuneworthy decide") for line in lines)
