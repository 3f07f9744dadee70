"""The charts, against numbers worked out by hand; every number drawn is also read aloud, and labels keep apart."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from tests.report import report_records as records
from tests.report.report_projects import (
    EVIDENCE,
    FORECAST,
    card_project,
    confusion,
    record_of,
    report_project,
    with_fields,
    wrong,
)
from tests.verdict.planted import failures

from tuneworthy.config.ladder import Economics
from tuneworthy.money.bills import Bill
from tuneworthy.money.serving import RunningCost
from tuneworthy.report import card, charts, numbers
from tuneworthy.report.answers import prompt_diff, wrong_table
from tuneworthy.report.chart import LineChart
from tuneworthy.report.charts import MonthlyCosts, monthly_costs
from tuneworthy.report.document import Document
from tuneworthy.report.render import render_html, render_markdown
from tuneworthy.report.run_report import document
from tuneworthy.report.table import Bar, Bars, Table
from tuneworthy.verdict.options import Option

SHIP = record_of(EVIDENCE["ship"])


def costing(option: Option, usd: float) -> Option:
    return replace(option, usd_per_1k=usd, running=RunningCost(usd_per_1k=usd))


def costs_of(today: Option, best: Option, settings: Economics) -> MonthlyCosts | None:
    bills = {one.rung: Bill(name=one.option, usd_per_1k=one.usd_per_1k) for one in (today, best)}
    return monthly_costs(today, best, settings, bills)


PRICED = costing(Option(option="big", rung="model", kind="variant", score=0.7), 2.0)
TODAY = costing(Option(option="now", rung="baseline", kind="today", score=0.6), 0.5)


def drawn(page: Document) -> list[Table]:
    """Return the tables with bars, and those of the line charts."""
    blocks = [page.chart, *(block for section in page.sections for block in section.blocks)]
    tables = [block.table if isinstance(block, LineChart) else block for block in blocks]
    return [block for block in tables if isinstance(block, Table)]


@pytest.mark.parametrize("usd", [1e-6, 0.0049996, 0.0995, 0.9994, 0.9995, 0.9999, 0.99999, 1.0, 9.999, 99.999, 1e6])
def test_an_amount_is_shown_to_within_one_percent(usd: float) -> None:
    assert float(numbers.dollars(usd).lstrip("$").replace(",", "")) == pytest.approx(usd, rel=0.01)
    assert numbers.dollars(-usd) == f"-{numbers.dollars(usd)}"


def test_ends_of_an_axis_have_no_powers_of_ten() -> None:
    shown = [numbers.short(value) for value in (62.0, 999.6, 1e3, 999_999.0, 1e6, 1e9, 1e10, 1e13)]
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


def test_a_waterfall_starts_each_rung_at_the_score_of_the_best_before_it() -> None:
    chart = charts.rungs_chart(records.plain())
    assert chart is not None and chart.title == "2 of 3 rungs adopted: from 34.5% to 96.0%"
    assert [row[0] for row in chart.rows] == ["baseline", "prompt", "model", "few_shot", "classical"]
    assert chart.bars is not None
    baseline, prompt, model, *_ = bars = [bar for bar in chart.bars.rows if bar]
    assert (baseline.start, baseline.value) == (chart.bars.domain[0], 0.345)
    assert prompt.start == pytest.approx(0.345) and model.start == pytest.approx(0.58)
    assert [bar.kind for bar in bars] == ["today", "best", "best", "lost", "plain"]
    assert chart.rows[1][3:5] == ["+23.5", "[+16.5, +30.5]"]
    assert charts.rungs_chart(records.quick()) is None


def test_lines_of_cost_cross_where_training_breaks_even() -> None:
    settings = Economics(requests_per_month=1_000_000)
    costs = costs_of(TODAY, PRICED, settings)
    assert costs is not None and [name for name, _, _ in costs.untrained] == ["now", "big"]
    low, high = costs.break_even
    assert low < high
    for volume, monthly in ((low, costs.trained[0]), (high, costs.trained[2])):
        assert costs.untrained[1][2](volume) == pytest.approx(monthly(volume))
    chart = charts.cost_chart(costs, settings)
    assert chart.ticks[0] <= low and chart.ticks[-1] >= max(high, 1_000_000)
    assert [words for _, _, words in chart.marks][1] == "your traffic: 1,000,000"
    assert chart.table.rows[0][1] == f"${TODAY.usd_per_1k / 1000 * chart.ticks[0]:.2f}"  # type: ignore[operator]


def test_without_a_price_there_is_no_chart_of_cost_and_a_damaged_price_is_not_drawn() -> None:
    free, damaged, cheap = (costing(PRICED, usd) for usd in (0.0, 1e300, 0.0001))
    assert costs_of(free, free, Economics()) is None and costs_of(damaged, damaged, Economics()) is None
    costs = costs_of(cheap, cheap, Economics())
    assert costs is not None and costs.break_even == []
    assert charts.cost_chart(costs, Economics()).title == "Training does not break even at any traffic"


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


def test_wrong_answers_stand_beside_todays_and_those_of_today_alone() -> None:
    model = SHIP.rung("model")
    table = wrong_table(model)
    assert table is not None and len(table.rows) == 10
    assert [column.heading for column in table.columns] == ["case", "input", "expected", "today", "model/strong"]
    alone = wrong_table(SHIP.rung("baseline"))
    assert alone is not None and [column.key for column in alone.columns] == ["case", "question", "expected", "answer"]
    assert wrong_table(None) is None and wrong_table(replace(SHIP.rungs[0], wrong=())) is None
    assert wrong(1)[0].case and confusion()


def test_the_winning_prompt_is_a_diff_to_todays() -> None:
    diff = prompt_diff(SHIP, SHIP.rung("model"))
    assert diff is not None and diff.title == "Changes from baseline/small to model/strong"
    assert ("remove", "model: compact") in diff.lines and ("add", "model: strong") in diff.lines
    assert ("remove", "  Answer with one label.") in diff.lines
    assert ("add", "  Answer with exactly one label and nothing else.") in diff.lines
    shots = prompt_diff(SHIP, SHIP.rung("few_shot"))
    assert shots is not None and ("add", "few-shot examples: 4") in shots.lines
    assert prompt_diff(SHIP, SHIP.rung("baseline")) is None and prompt_diff(SHIP, SHIP.rung("classical")) is None


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


def test_costs_that_are_the_same_at_any_traffic_are_drawn() -> None:
    free = dict.fromkeys(("hours_data", "hours_engineering", "hours_retrain", "train_hours", "upkeep_usd_per_month"), 0)
    settings = Economics(serve_usd_per_month=100, serve_capacity_per_month=1e12, **free)
    bill = Bill(name="now", usd_per_1k=0.0, own_server=True)
    today = replace(TODAY, running=bill.running(settings))
    costs = monthly_costs(today, today, settings, {"baseline": bill})
    assert costs is not None
    assert "$100" in [text for _, text in charts.cost_chart(costs, settings).y_labels()]
