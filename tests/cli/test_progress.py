"""The progress of answers: plain lines without a terminal, a rate of the last seconds, one live line on a terminal."""

from __future__ import annotations

import pytest

from tests.cli.test_screen import Screen
from tuneworthy.cli import progress
from tuneworthy.cli.progress import AnswerProgress
from tuneworthy.cli.run_progress import LadderProgress


def test_without_a_terminal_a_line_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = AnswerProgress(live=False)
    shown._bar.get_time = lambda: clock[0]
    shown.begin("baseline", 100, 40)
    for _ in range(30):
        clock[0] += 1.0
        shown.advance(0.01)
    shown.end()
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        "baseline: 50 of 100, 1.0/s, $0.1000, 50 s left",
        "baseline: 60 of 100, 1.0/s, $0.2000, 40 s left",
        "baseline: 70 of 100, 1.0/s, $0.3000, 30 s left",
    ]


def test_the_rate_is_that_of_the_last_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = AnswerProgress(live=False)
    shown._bar.get_time = lambda: clock[0]
    shown.begin("baseline", 1000, 0)
    clock[0] += 60.0  # a cold start
    for _ in range(100):
        clock[0] += 0.5
        shown.advance(0.0)
    lines = capsys.readouterr().err.splitlines()
    assert "1 of 1000" in lines[0] and "left" not in lines[0]
    assert "2.0/s" in lines[-1]


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Screen())
    for name, live in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", name)
        assert (AnswerProgress()._live, LadderProgress()._live) == (live, live)


def test_answers_outside_a_count_are_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    AnswerProgress(live=False).advance(1.0)
    assert capsys.readouterr().err == ""
