"""The charts, against numbers worked out by hand; every number drawn is also read aloud, and labels keep apart."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from tests.report import report_records as records
from tests.report.report_projects import (
    DEV,
    EVIDENCE,
    FORECAST,
    answers,
    card_project,
    record_of,
    report_project,
    with_fields,
)
from tests.verdict.planted import failures

from tuneworthy.dataset.curve import DatasetCurve, SizePoint
from tuneworthy.dataset.records import Difference
from tuneworthy.graders.dev_answers import DevAnswer
from tuneworthy.money.serving import RunningCost
from tuneworthy.report import card, charts, text
from tuneworthy.report.answers import MAX_LINES, cases_table, failed_table, failures_table, fixes_table, prompt_diff
from tuneworthy.report.charts import LineChart
from tuneworthy.report.render import Document, render_html, render_markdown
from tuneworthy.report.run_report import document
from tuneworthy.report.text import Bar, Bars, Table
from tuneworthy.types import Cascade, Shots
from tuneworthy.verdict.answer import StoredVerdict
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.options import Option

SHIP = record_of(EVIDENCE["ship"])


PRICED = Option(option="big", rung="model", kind="variant", score=0.7, running=RunningCost(usd_per_1k=2.0))


def drawn(page: Document) -> list[Table]:
    """Return the tables with bars, and those of the line charts."""
    blocks = [page.chart, *(block for section in page.sections for block in section.blocks)]
    tables = [block.table if isinstance(block, LineChart) else block for block in blocks]
    return [block for block in tables if isinstance(block, Table)]


@pytest.mark.parametrize("usd", [1e-6, 0.0049996, 0.0995, 0.9994, 0.9995, 0.9999, 0.99999, 1.0, 9.999, 99.999, 1e6])
def test_an_amount_is_shown_to_within_one_percent(usd: float) -> None:
    assert float(text.dollars(usd).lstrip("$").replace(",", "")) == pytest.approx(usd, rel=0.01)
    assert text.dollars(-usd) == f"-{text.dollars(usd)}"


def test_ends_of_an_axis_have_no_powers_of_ten() -> None:
    shown = [text.short(value) for value in (62.0, 999.6, 1e3, 999_999.0, 1e6, 1e9, 1e10, 1e13)]
    assert shown == ["62", "1k", "1k", "1M", "1M", "1B", "10B", "10,000B"]


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_number_of_a_drawing_is_in_the_page_and_in_markdown(name: str, tmp_path: Path) -> None:
    made = report_project(name, tmp_path)
    page = document(with_fields(made.record) if name == "ship" else made.record, made.project, verdict=made.verdict)
    assert len(drawn(page)) >= 4
    written = render_markdown(page).replace("\\", "")
    html = unescape(render_html(page)).replace("\u00a0", " ").replace("<wbr>", "")
    for table in drawn(page):
        assert table.bars is None or len(table.bars.rows) == len(table.rows)
        for row in table.rows:
            assert all(cell in written and cell in html for cell in row if re.search(r"\d", cell)), row


def test_causes_stand_with_what_fixes_them_and_the_most_frequent_is_the_title() -> None:
    chart = charts.causes_table([failures("format", 10), failures("knowledge", 40), failures("refusal", 0)])
    assert chart is not None and [row[1] for row in chart.rows] == ["66.7%", "16.7%"]
    assert chart.title == "66.7% of the wrong dev answers: the prompt lacks a document that contains the answer"
    assert chart.rows[0][4] == "Add the documents to the prompt"
    assert charts.causes_table(()) is None


def test_the_learning_curve_ends_at_the_lower_bound_of_the_forecast() -> None:
    chart = charts.pilot_chart(FORECAST, replace(PRICED, score=0.7), 0.9)
    assert chart is not None
    mean, least = chart.lines
    assert mean.points[0] == (94.0, pytest.approx(0.623)) and len(mean.dots) == 8
    assert least.points[-1] == (1500.0, pytest.approx(0.76)) and least.label == "at least 76.0%"
    assert "1,500" in [row[0] for row in chart.table.rows]
    assert charts.pilot_chart(replace(FORECAST, points=()), PRICED, 0.9) is None


def test_the_learning_curves_show_each_kind_of_rows_on_one_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, less = Difference(0.05, (0.02, 0.08), 90), Difference(-0.05, (-0.08, -0.02), 90)
    arms = {
        "built": [SizePoint(20, 0.6, (0.5, 0.7)), SizePoint(40, 0.7, (0.6, 0.8))],
        "reviewed": [SizePoint(20, 0.65, (0.6, 0.7), more)],
        "hard": [SizePoint(20, 0.55, (0.5, 0.6), less)],
    }
    curve = DatasetCurve(
        version="v", n_built=60, n_raw=60, baseline="linear", metric="accuracy", n=200, n_dev=90, margin=0.05,
        points=arms["built"], arms=arms, cleaning=None, size=40, least=40, doubling=more,
    )  # fmt: skip
    chart = charts.curve_chart(curve)
    assert chart is not None and [len(line.points) for line in chart.lines] == [2, 1, 1]
    assert "more from reviewed rows (+5.0 points" in chart.note and "less from most difficult rows" in chart.note
    assert charts.curve_chart(replace(curve, arms={})) is charts.curve_chart(None) is None
    made = report_project("ship", tmp_path)

    def titles() -> list[str]:
        page = document(made.record, made.project, verdict=made.verdict)
        return [table.title for table in drawn(page)]

    assert not any(chart.title in title for title in titles())
    monkeypatch.setattr("tuneworthy.report.run_report.stored_curve", lambda store: curve)
    assert any(chart.title in title for title in titles())


def test_five_dev_cases_show_right_and_wrong_answers_of_today_and_the_recommended_option() -> None:
    table = cases_table(SHIP, "model", {"model": "strong model"})
    assert table is not None and len(table.rows) == 5
    assert [column.heading for column in table.columns] == ["question", "expected", "baseline", "strong model"]
    marks = {(row[2][0], row[3][0]) for row in table.rows}
    assert marks == {("✗", "✓"), ("✗", "✗"), ("✓", "✓")}
    alone = cases_table(SHIP, "baseline", {})
    assert alone is not None and len(alone.columns) == 3 and {row[2][0] for row in alone.rows} == {"✓", "✗"}
    assert cases_table(replace(SHIP, dev_cases=()), "model", {}) is None


def test_failures_of_today_are_grouped_with_what_each_option_fixes_and_breaks() -> None:
    table = failures_table(SHIP, "model", {"model": "strong model"})
    assert table is not None and list(table.rows[0]) == ["billing → shipping", "3", "2"]
    assert sum(int(row[1]) for row in table.rows) == 12 and sum(int(row[2]) for row in table.rows) == 8
    broken = [
        replace(row, dev_answers=row.dev_answers | {DEV[19].case: DevAnswer(text="x", score=0.5)})
        if row.rung == "model"
        else row
        for row in SHIP.rungs
    ]
    fixes = fixes_table(replace(SHIP, rungs=broken), {row.rung: row.rung for row in SHIP.rungs})
    assert fixes is not None and "baseline" not in [row[0] for row in fixes.rows]
    assert next(list(row[1:]) for row in fixes.rows if row[0] == "model") == ["8", "1", "4", "20"]
    right = [replace(row, dev_answers=answers(0)) for row in SHIP.rungs]
    assert failures_table(replace(SHIP, rungs=right), "model", {}) is None
    failed = failed_table(SHIP)
    assert failed is not None and len(failed.rows) == 3 and {row[2][0] for row in failed.rows} == {"✗"}
    assert failed_table(replace(SHIP, rungs=right)) is None
    assert fixes_table(replace(SHIP, rungs=SHIP.rungs[1:2]), {}) is None


def test_failures_without_labels_are_shown_and_the_probe_says_whose_it_explains() -> None:
    def shown(kind: str) -> str:
        record = replace(SHIP, kind=kind)
        verdict = StoredVerdict(verdict=replace(decide(EVIDENCE["ship"]), errors=()), changed=[])
        sections = document(record, verdict=verdict).sections
        [section] = [one for one in sections if one.name == "failures"]
        return " ".join(one if isinstance(one, str) else getattr(one, "title", "") for one in section.blocks if one)

    for words in ("3 of 12 failures", "causes of the errors of"):
        assert words in shown("free_text") and words not in shown("label")


def test_the_best_prompt_is_a_diff_to_todays() -> None:
    today, model, few_shot = (SHIP.variants[f"id-{name}"] for name in ("baseline", "model", "few_shot"))
    diff = prompt_diff(today, model, "From today")
    assert diff is not None
    assert ("remove", "model: compact") in diff.lines and ("add", "model: strong") in diff.lines
    assert ("remove", "  Answer with one label.") in diff.lines
    assert ("add", "  Answer with exactly one label and nothing else.") in diff.lines
    shots = prompt_diff(today, few_shot, "")
    assert shots is not None and ("add", "few-shot examples: 4, the same in each question") in shots.lines
    nearest = replace(few_shot, shots=Shots(mode="by_meaning", k=8, pool_hash=""))
    assert "few-shot examples: 8, picked per question" in prompt_diff(today, nearest, "").whole  # type: ignore[union-attr]
    cascade = replace(today, cascade=Cascade(first=replace(today, name="classical/linear"), threshold=0.625))
    front = prompt_diff(today, cascade, "")
    assert front is not None and any("linear classifier" in line and "0.62" in line for _, line in front.lines)
    assert prompt_diff(today, today, "") is None
    listed = replace(today, system="Answer with these labels only:\n" + "\n".join(map(str, range(9))))
    kept = prompt_diff(listed, replace(listed, model="other"), "")
    assert kept is not None and "  8" in kept.whole and "  8" not in [line for _, line in kept.lines]
    long = prompt_diff(today, replace(today, system="\n".join(map(str, range(200)))), "")
    assert long is not None and len(long.lines) == MAX_LINES and "more lines" in long.note


def test_a_fence_in_a_prompt_cannot_leave_the_diff() -> None:
    record = records.hostile()
    winner = record.rungs[3]
    variants = dict(record.variants)
    variants[winner.variant or ""] = replace(
        variants[winner.variant or ""], system="```\n<script>alert(1)</script>\n# x"
    )
    page = document(replace(record, variants=variants))
    assert render_markdown(page).count("\n```\n") == 1
    assert "<script" not in render_html(page)


def test_a_bar_lies_inside_its_scale() -> None:
    bars = Bars.of_scores([Bar(value=0.5)], (0.4, 0.9), 0.95)
    assert (bars.x(0.1), bars.x(0.4), bars.x(0.9), bars.x(2.0)) == (1.0, 1.0, 99.0, 99.0)
    assert bars.labels == ["40%", "90%"]


def test_the_card_says_what_stays_and_what_to_do_next() -> None:
    steps = {name: card.document(*card_project(name)) for name in ("pilot_worthwhile", "ship", "undecided")}
    commands = [page.next_step.command for page in steps.values() if page.next_step]
    assert commands == ["tuneworthy label review", "tuneworthy train", "tuneworthy data build"]
    page = steps["undecided"]
    assert page.answer == "1,771 of 2,000 rows are in this version" and page.outcome == "do_not_ship"
    assert page.sentence.startswith("The checks dropped 209 of 1980 rows (most: exact_duplicate 130,")
    assert page.sentence.endswith(" on dev. 1 of 3 gates failed when the version was frozen.")
    assert [one.value for one in page.cards] == ["1,771", "2 of 3 passed", "none"]
    assert isinstance(page.chart, Table) and page.chart.rows[1] == ["exact_duplicate", "1,850", "130"]
    text = render_markdown(page)
    assert "210 rows have masked personal data" in text and "contamination: 12 rows overlap" in text
    assert "<script" not in render_html(page)
