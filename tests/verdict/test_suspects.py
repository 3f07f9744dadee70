"""Suspected labels decide nothing before people labelled a draw of them again."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.ladder.simulations import write_simulation

from tuneworthy.config import load
from tuneworthy.verdict.error_analysis import ErrorAnalysis
from tuneworthy.verdict.suspects import RELABELLED, drawn, relabelled, suspects_path


def report(n_suspected: int, n_failed: int) -> ErrorAnalysis:
    """An error analysis that suspects the label `red` of the first failures."""
    names = [f"case {n}" for n in range(n_failed)]
    return ErrorAnalysis(
        of={},
        variant_name="today",
        n_dev=80,
        n_failed=n_failed,
        n_probed=n_failed,
        classes=dict.fromkeys(names[:n_suspected], "label_or_grader")
        | dict.fromkeys(names[n_suspected:], "unexplained"),
        suspects=dict.fromkeys(names[:n_suspected], "blue"),
        expected=dict.fromkeys(names[:n_suspected], "red"),
    )


@pytest.mark.parametrize(
    ("n_wrong", "n_labelled", "found"), [(12, 15, True), (3, 15, False), (14, 14, None), (0, 0, None)]
)
def test_people_confirm_or_refute_what_is_suspected(
    n_wrong: int, n_labelled: int, found: bool | None, tmp_path: Path
) -> None:
    project = load(write_simulation(tmp_path / "world", {"weak": "'red'"}, n_cases=3, n_examples=0))
    analysis = report(20, 24)
    rows = [
        {"case": name, "labeller": "ada", "label": "blue" if n < n_wrong else "Red", "time": "now"}
        for n, name in enumerate(drawn(analysis)[:n_labelled])
    ]
    suspects_path(project).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert relabelled(project, analysis) is found


def test_about_fifteen_are_drawn_and_always_the_same() -> None:
    assert len(drawn(report(40, 60))) == RELABELLED and drawn(report(40, 60)) == drawn(report(40, 60))
    assert len(drawn(report(7, 7))) == 7
