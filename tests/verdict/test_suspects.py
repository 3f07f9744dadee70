"""Suspected labels decide nothing before people labelled a draw of them again."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.ladder.simulations import write_simulation

from tuneworthy.cases import read_cases
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.ladder.session import read_data
from tuneworthy.verdict.error_analysis import ErrorAnalysis
from tuneworthy.verdict.suspects import RELABELLED, drawn, label_errors, n_to_label, suspects_path


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
        answers=dict.fromkeys(names, "blue"),
    )


@pytest.mark.parametrize(
    ("failures", "n_wrong", "n_labelled", "found"),
    [
        ((20, 24), 15, 15, True),
        ((20, 24), 9, 15, None),  # the interval of what was confirmed contains one half
        ((20, 24), 3, 15, False),
        ((20, 24), 14, 14, None),  # the draw is not labelled
        ((20, 24), 0, 0, None),
        ((7, 7), 6, 7, True),
        ((0, 21), 12, 15, True),  # what no model suspects counts as well
    ],
)
def test_people_confirm_or_refute_what_is_suspected(
    failures: tuple[int, int], n_wrong: int, n_labelled: int, found: bool | None, tmp_path: Path
) -> None:
    project = load(write_simulation(tmp_path / "world", {"weak": "'red'"}, n_cases=3, n_examples=0))
    analysis = report(*failures)
    rows = [
        {"case": name, "labeller": "ada", "label": "Blue" if n < n_wrong else "red", "time": "now"}
        for n, name in enumerate(drawn(analysis)[:n_labelled])
    ]
    suspects_path(project).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert label_errors(project, analysis) is found
    assert n_to_label(project, analysis) == min(RELABELLED, failures[1] - n_labelled) or n_labelled == 14


def test_a_third_label_is_no_error_that_relabelling_repairs(tmp_path: Path) -> None:
    project = load(write_simulation(tmp_path / "world", {"weak": "'red'"}, n_cases=3, n_examples=0))
    rows = [{"case": case, "labeller": "ada", "label": "green", "time": "now"} for case in drawn(report(20, 24))]
    suspects_path(project).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert label_errors(project, report(20, 24)) is False


def test_about_fifteen_are_drawn_always_the_same_and_then_fifteen_more() -> None:
    analysis = report(40, 60)
    first = drawn(analysis)
    assert len(first) == RELABELLED and first == drawn(analysis)
    assert first == drawn(analysis, first[:5]) and len(drawn(report(7, 7))) == 7
    second = drawn(analysis, first)
    assert len(second) == 2 * RELABELLED and set(first) < set(second)


def test_the_labels_of_suspects_are_written_into_the_cases_and_those_of_examples_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n_examples in (0, 420):  # without examples dev is drawn from the cases
        root = write_simulation(tmp_path / str(n_examples), {"weak": "'red'"}, n_cases=120, n_examples=n_examples)
        project = load(root)
        case = next(case for case in read_data(project).split.dev if case.expected == "red")
        row = {"case": case.id, "labeller": "ada", "label": "blue", "time": "now"}
        suspects_path(project).write_bytes(orjson.dumps(row) + b"\n")
        assert invoke(["cases", "label", "--suspects", "--apply", "--project", str(root)]) == 0
        written = [one.expected for one in read_cases(root / "cases.jsonl").cases if one.id == case.id]
        assert written == (["blue"] if n_examples == 0 else [])
        assert (f"Correct this example: {case.text}" in capsys.readouterr().out) is bool(n_examples)
