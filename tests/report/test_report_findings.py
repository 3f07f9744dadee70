"""What the report says: target, answer, warnings, tables and the paragraph, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import report_records as records

from tuneworthy.config.project import load
from tuneworthy.ladder.record import ComparisonCount
from tuneworthy.report import findings, tables
from tuneworthy.report.text import clean, markdown_code, markdown_text
from tuneworthy.stats.intervals import lower_bound, target_bounds, target_status, upper_bound

TODAY = date(2026, 11, 24)
# One-sided 95% bounds of 170 and of 160 of 200.
LOWER, UPPER = lower_bound(170, records.N), upper_bound(160, records.N)


@pytest.mark.parametrize(
    ("score", "floor", "target", "status"),
    [
        (0.96, 0.80, 0.85, "met"),
        (0.85, LOWER - 0.001, 0.85, "met"),
        (0.85, LOWER, 0.85, "unresolved"),  # the bound must be above target - margin, not at it
        (0.849, 0.70, 0.85, "unresolved"),  # the point is below
        (0.80, 0.75, UPPER + 0.001, "missed"),
        (0.80, 0.75, UPPER, "unresolved"),
    ],
)
def test_the_target_is_met_missed_or_open(score: float, floor: float, target: float, status: str) -> None:
    assert target_status(score, records.N, target, target - floor) == status


def test_of_several_options_and_after_added_cases_the_target_is_met_at_a_stricter_level() -> None:
    least = 0.85 - LOWER + 0.001
    assert target_status(0.85, records.N, 0.85, least) == "met"
    assert target_status(0.85, records.N, 0.85, least, options=2) == "unresolved"
    assert target_status(0.85, records.N, 0.85, least, additions=1) == "unresolved"


def test_the_target_is_judged_by_the_one_sided_bounds() -> None:
    met = findings.target_sentence(records.plain())
    assert "is met" in met
    assert "unresolved" in findings.target_sentence(records.classical_best())
    assert "is missed" in findings.target_sentence(replace(records.classical_best(), target=0.95))


def test_the_target_is_judged_at_the_level_of_the_plan() -> None:
    statuses = []
    for options in (5, 500):
        record = replace(records.plain(), target=0.91, margin=0.01, comparisons=ComparisonCount(5, 4, options))
        statuses.append(findings.status_of(record, record.rungs[3]))
    assert statuses == ["met", "unresolved"]


def test_the_scores_of_a_judge_that_is_not_validated_leave_the_target_open() -> None:
    record = records.plain()
    for target in (record.target, 0.99):
        judged = [replace(one, reason_code="judge") if one.rung == "prompt" else one for one in record.rungs]
        open_ = replace(record, target=target, rungs=judged)
        found = findings.target_sentence(open_)
        assert "is open" in found and "judge" in found and "is open" not in findings.target_sentence(record)
        assert findings.status_of(open_, open_.rungs[-1]) == "unresolved"


def test_the_bound_of_the_target_is_that_of_the_verdict_over_all_options() -> None:
    record = records.plain()
    best = findings.best_of(record)
    assert best and best.score and best.n_effective and record.options > 1
    lower, _ = target_bounds(best.score, best.n_effective, options=record.options)
    said = findings.target_sentence(record)
    assert f"{lower:.1%}" in said and f"corrected for {record.options} options" in said
    alone = replace(record, rungs=[best], comparisons=replace(record.comparisons, options=1))
    assert f"{target_bounds(best.score, best.n_effective)[0]:.1%}" in findings.target_sentence(alone)
    assert "corrected" not in findings.target_sentence(alone)


def test_the_answer_names_what_it_is_in_plain_words() -> None:
    assert findings.answer(records.plain()) == (
        "The model/strong answers 96.0% of the test cases correctly; today's setup (baseline/weak) reaches 34.5%."
    )
    assert findings.answer(records.classical_best()).startswith("The classical/linear answers 84.0% of the test cases")
    assert "scores 85.0% on the test set (json_fields)" in findings.answer(records.json_task())


def test_nothing_adopted_is_said_as_it_is() -> None:
    record = records.record(
        records.rung("baseline", "baseline/weak", 150),
        records.rung("prompt", "prompt/xml", 148, records.RungStatus.NO_GAIN, **records.gain(-0.01, "baseline")),
        best="baseline",
    )
    assert findings.answer(record) == (
        "Today's setup (baseline/weak) answers 75.0% of the test cases correctly. No other option was adopted."
    )


def test_unscored_answers_are_told() -> None:
    record = records.plain()
    record = replace(record, rungs=[replace(rung, unscored=9) if rung.n else rung for rung in record.rungs])
    assert "9 of 200 test cases could not be scored" in " ".join(findings.warnings(record))


def test_notes_of_the_record_stand_at_the_head_and_nobody_is_said_not_to_have_looked() -> None:
    told = "The answers to 3 test cases were shown (first on 2026-11-20)"
    record = replace(records.plain(), notes=[told])
    assert "The" + told[3:] in findings.warnings(record)
    assert [row for row in tables.data_table(record).rows if row[1] == told]


PROJECT = """
[task]
name = "t"
[[graders]]
type = "exact"
[models.strong]
provider = "openai"
model = "gpt-4.1"
[models.unused]
provider = "anthropic"
model = "claude-opus-4-5"
[ladder]
baseline = "strong"
[economics]
requests_per_month = 200000
"""


def test_models_that_retire_soon_are_told_if_they_were_used(tmp_path: Path) -> None:
    (tmp_path / "tuneworthy.toml").write_text(PROJECT)
    project = load(tmp_path)
    record = records.plain()
    told = [w for w in findings.warnings(record, project, TODAY) if "retire" in w]
    assert told == ["The provider will retire the model strong (gpt-4.1) on 2027-01-14."]
    assert not [w for w in findings.warnings(record, project, date(2026, 9, 1)) if "retire" in w]
    assert [w for w in findings.warnings(record, project, date(2027, 2, 1)) if "retired" in w]


def test_the_ladder_table_has_a_month_only_where_traffic_is_told() -> None:
    keys = [column.key for column in tables.ladder_table(records.plain()).columns]
    assert "month" not in keys
    table = tables.ladder_table(records.plain(), 200_000)
    assert [row[0] for row in table.only("month").rows][3] == "420"


def test_candidates_are_all_listed_with_what_became_of_them() -> None:
    table = tables.candidates_table(records.plain())
    assert len(table.rows) == sum(len(rung.candidates) for rung in records.plain().rungs)
    assert {row[-1] for row in table.only("fate").rows} == {
        "compared on the test set: reference",
        "compared on the test set: adopted",
        "compared on the test set: inconclusive",
        "dropped after 80 cases",
    }


def test_the_alpha_of_each_comparison_stands_beside_its_p_value_and_a_gain_that_is_not_tested_has_neither() -> None:
    record = records.plain()
    rungs = [replace(r, p_value=None, alpha=None) if r.rung == "model" else r for r in record.rungs]
    rows = tables.ladder_table(replace(record, rungs=rungs)).only("gain", "p", "alpha").rows
    assert [list(row[1:]) for row in rows[2:4]] == [["0.0012", "0.008"], ["–", "–"]]
    assert rows[3][0] != "–"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;https://evil\x1b\\link", "link"),
        ("a\x9b31mb", "ab"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("one\r\n\ttwo\u2028three", "one two three"),
        ("\U000e0041tag", "tag"),
        ("müßig 例 α", "müßig 例 α"),
    ],
)
def test_text_is_cleaned(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("*x* _y_ few_shot", "\\*x\\* \\_y\\_ few_shot"),
        ("# no heading", "\\# no heading"),
        ("1. no list", "1\\. no list"),
        ("a <b> & c", "a &lt;b&gt; &amp; c"),
        ("$1 and $2", "\\$1 and \\$2"),
    ],
)
def test_markdown_is_escaped(raw: str, escaped: str) -> None:
    assert markdown_text(raw) == escaped


def test_a_code_span_can_not_be_left() -> None:
    assert markdown_code("a`b|c") == "`a'b\\|c`"
    assert markdown_code("\x1b[0m") == ""


def test_a_long_name_is_cut() -> None:
    assert len(clean("x" * 10_000)) == 300


def test_a_score_that_leaves_out_what_could_not_be_scored_settles_no_target() -> None:
    record = records.plain()
    rungs = [replace(r, unscored=r.n // 10) if r.rung == "model" else r for r in record.rungs]
    found, before = findings.target_sentence(replace(record, rungs=rungs)), findings.target_sentence(record)
    assert "is met:" in before
    assert "unresolved" in found and "20 of 200 test cases could not be scored" in found
