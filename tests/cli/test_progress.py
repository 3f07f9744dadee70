"""The progress of answers: plain lines without a terminal, a rate of the last seconds, one live line on a terminal."""

from __future__ import annotations

import pytest

from tests.cli.test_screen import Screen
from tuneworthy.cli import progress
from tuneworthy.cli.progress import RunProgress


def test_without_a_terminal_a_line_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = RunProgress(live=False)
    shown.begin("baseline", 100, 40)
    clock[0] += 60.0  # a cold start, which is no part of the rate
    for _ in range(30):
        clock[0] += 1.0
        shown.advance(0.01)
    shown.end()
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[0].startswith("Answers: 41 of about 100, $0.0100")
    assert lines[-1] == "Answers: 61 of about 100, $0.2100, about 40 s left. Now: baseline, 1.0/s."


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Screen())
    for name, live in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", name)
        assert RunProgress()._live == live


def test_a_live_line_is_one_line_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", screen := Screen())
    shown = RunProgress(live=True)
    shown.begin("a variant of a long name", 1_000, 0)
    shown.advance(0.01)
    shown._screen.refresh()
    assert "Answers: " in screen.getvalue() and "…" in screen.getvalue()
    shown.end()


def test_a_classifier_that_is_fitted_is_named_before_its_first_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = RunProgress(live=False)
    for rung, label, n_stored in (
        ("classical", "classical/linear", 9), ("prompt", "prompt/xml", 0),
        ("classical", "classical/embedding", 0), ("classical", "classical/nearest", 5),
    ):  # fmt: skip
        shown.start(rung)
        shown.begin(label, 9, n_stored)
        said = capsys.readouterr().err.count("Fitting the classifiers")
        assert said == (label == "classical/embedding")  # the first that is not stored
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", screen := Screen())
    shown = RunProgress(live=True)
    shown.begin("prompt", 9, 0)
    assert "Answers: 0 of about 9" in screen.getvalue()
    shown.end()


def test_answers_outside_a_count_are_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    RunProgress(live=False).advance(1.0)
    assert capsys.readouterr().err == ""
