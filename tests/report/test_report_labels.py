"""Beside a share of right answers: recall of each label, what is confused, who answers the same to every case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.report.report_projects import with_long_labels
from tests.report.report_records import record, rung
from tests.verdict.planted import failures

from tuneworthy.cli.tables import closing_lines
from tuneworthy.ladder.record import LabelBalance, RunRecord
from tuneworthy.report.charts import causes_table
from tuneworthy.report.first_screen import _few
from tuneworthy.report.render import render_html
from tuneworthy.report.run_report import _recall_row, document
from tuneworthy.report.tables import data_table, ladder_table, recall_table

CONSTANT = "gives every case the same answer"


def labelled() -> RunRecord:
    """A run whose classical baseline always answers `ok`, the label of 93% of dev."""
    always = rung("classical", "classical/linear", 186, constant=True, recall={"ok": 1.0, "fraud": 0.0})
    today = rung("baseline", "baseline/today", 190, recall={"ok": 0.97, "fraud": 0.9})
    balance = LabelBalance(label="ok", share=0.93, n=80, score=0.93, rarest=0.07)
    return replace(record(always, today, best="baseline"), balance=balance)


FEW = labelled()


def test_the_recall_of_each_label_stands_beside_the_score_of_every_rung() -> None:
    table = recall_table(FEW)
    assert table is not None and [list(row) for row in table.rows] == [
        ["fraud", "0.000", "0.900"],
        ["ok", "1.000", "0.970"],
    ]


def test_a_label_without_a_place_to_break_may_break_anywhere() -> None:
    page = render_html(document(with_long_labels(FEW, 12)))
    assert page.count('class="name long"') == 12
    assert 'class="name long"' not in render_html(document(FEW))
    assert ".long { min-width: 12em; overflow-wrap: anywhere; }" in page


def test_a_constant_answer_is_marked_wherever_its_score_is_shown() -> None:
    assert ladder_table(FEW).rows[0][3].endswith("(constant)") and "constant" not in ladder_table(FEW).rows[1][3]
    assert any(CONSTANT in line for line in closing_lines(FEW))
    assert closing_lines(FEW)[-1] == "Next: tuneworthy decide"
    partial = closing_lines(replace(FEW, partial="stopped at the rung prompt: the budget is spent"))
    assert not any("Next:" in line or "budget" in line for line in partial)  # the error that follows says both
    assert any(CONSTANT in line for line in document(FEW).warnings)


def test_the_majority_share_is_always_shown() -> None:
    assert FEW.balance is not None
    even = replace(FEW, balance=replace(FEW.balance, share=0.4))
    assert ["majority class", "ok (40.0% of dev)"] in [list(row) for row in data_table(even).rows]
    assert any("40.0% of 80 dev cases" in line for line in closing_lines(even))


def test_a_run_without_labels_has_none_of_these() -> None:
    plain = record(rung("baseline", "baseline/today", 150), best="baseline")
    assert recall_table(plain) is None and causes_table(()) is None


def test_the_error_analysis_says_how_a_class_is_found_and_what_is_not_measured() -> None:
    row = replace(
        failures("unexplained", 40), probe="No probe finds a cause.", limits=("Wrong labels are not measured.",)
    )
    table = causes_table((row, failures("format", 20)))
    assert table is not None and [cells[3] for cells in table.rows] == ["40", "20"]
    assert table.rows[0][-1] == "No probe finds a cause. Wrong labels are not measured."


def test_a_rare_label_is_shown_with_its_cases_and_not_with_the_independent_ones() -> None:
    row = replace(FEW.rungs[0], recall={"x": 13 / 17}, recall_n={"x": 11.0}, recall_cases={"x": 17})
    assert _recall_row("x", row)[:3] == ["label x", "17", "76.5%"]
    assert _recall_row("x", replace(row, recall_cases={}))[1] == "11"


@pytest.mark.parametrize(
    ("name", "few"),
    [
        ("embedding classifier; mail-large where it is unsure", "embedding classifier; mail-large where it is unsure"),
        ("small model, 4 examples per question, contract", "small model, 4 examples per question"),
        (" ".join(["word"] * 20), " ".join(["word"] * 6)),
    ],
)
def test_a_name_to_paste_is_cut_only_between_its_parts(name: str, few: str) -> None:
    assert _few(name) == few
