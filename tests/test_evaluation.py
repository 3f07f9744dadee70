"""`evaluate`, `compare` and `create`: rows of any kind, models that fail, hostile inputs, results that are shown."""

from __future__ import annotations

import asyncio
import datetime
import doctest
import json
import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuneworthy
from tuneworthy import UserError, errors, evaluation
from tuneworthy.evaluation import Evaluation
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare as compare_sums

ROWS = [{"input": f"question {i}", "expected": "ab"[i % 2]} for i in range(40)]


def always_a(text: str) -> str:
    return "a"


def test_the_score_and_its_interval_are_those_of_the_statistics() -> None:
    result = tuneworthy.evaluate(ROWS, always_a, "exact")
    expected = score_interval([1, 0] * 20, [1] * 40)
    assert (result.score, result.interval) == (expected.value, (expected.lo, expected.hi))
    assert (result.n, result.unscored, result.cost_usd, result.model, result.grader) == (
        40,
        0,
        0.0,
        "always_a",
        "exact",
    )
    assert [row["score"] for row in result.rows] == [1.0, 0.0] * 20


@pytest.mark.parametrize("column", ["group", "source"])
def test_rows_that_share_a_group_widen_the_interval(column: str) -> None:
    rows = [row | {column: i // 8} for i, row in enumerate(sorted(ROWS, key=lambda row: row["expected"]))]
    result = tuneworthy.evaluate(rows, always_a, "exact", group=None if column == "group" else column)
    plain = tuneworthy.evaluate(ROWS, always_a, "exact")
    assert result.interval[1] - result.interval[0] > 1.5 * (plain.interval[1] - plain.interval[0])


def test_equal_inputs_count_as_one_source_and_are_asked_once() -> None:
    asked: list[str] = []
    rows = [{"input": f"question {i % 10}", "expected": "ab"[i % 2]} for i in range(40)]
    result = tuneworthy.evaluate(rows, lambda text: asked.append(text) or "a", "exact")
    assert len(asked) == 10 and result.n == 40
    plain = score_interval([1, 0] * 20, [1] * 40)
    assert result.interval[1] - result.interval[0] > 1.5 * (plain.hi - plain.lo)


def test_a_data_frame_keeps_its_index() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS, index=[f"r{i}" for i in range(40)]).rename(columns={"input": "q", "expected": "a"})
    shown = tuneworthy.evaluate(frame, always_a, "exact", input="q", expected="a").to_pandas()
    assert list(shown.index) == list(frame.index) and shown["score"].mean() == 0.5
    assert list(shown.columns) == ["input", "expected", "answer", "score", "reason", "seconds", "cost_usd"]


def test_a_dataset_is_read_as_rows() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list(ROWS)
    assert tuneworthy.evaluate(dataset, always_a, "exact").score == 0.5
    with pytest.raises(UserError, match="one split"):
        tuneworthy.evaluate(datasets.DatasetDict({"train": dataset}), always_a, "exact")


def test_a_class_label_is_read_as_its_name_and_minus_one_as_missing() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(input=datasets.Value("string"), expected=datasets.ClassLabel(names=["no", "yes"]))
    table = {"input": ["p", "q", "r"], "expected": [1, 0, -1]}
    labelled = datasets.Dataset.from_dict(table, features=features)
    assert tuneworthy.evaluate(labelled.select([0, 1]), {"p": "yes", "q": "no"}.get, "exact").score == 1.0
    with pytest.raises(UserError, match="row 2 is None"):
        tuneworthy.evaluate(labelled, str, "exact")
    with pytest.warns(UserWarning, match="2 answers"):
        assert tuneworthy.evaluate(labelled.select([0, 1]), {"p": 1, "q": 0}.get, "exact").score == 0


def fails_on_some(text: str) -> Any:
    number = int(text.split()[1])
    if number == 3:
        raise KeyError("no such thing")
    if number == 4:
        raise SystemExit(1)
    return {5: None, 6: float("nan")}.get(number, "a")


async def fails_later_on_some(text: str) -> Any:
    await asyncio.sleep(0)
    return fails_on_some(text)


def test_integral_floats_count_as_integers() -> None:
    rows = [{"input": f"q{i}", "expected": float(i % 3)} for i in range(12)]
    for answer in (lambda text: str(int(text[1:]) % 3), lambda text: float(int(text[1:]) % 3)):
        assert tuneworthy.evaluate(rows, answer, "exact").score == 1.0
    assert evaluation.read_rows([{"input": "q", "expected": 0.5}], "input", "expected", None)[1][0].expected == 0.5


def test_a_comparison_of_text_with_numbers_is_a_warning() -> None:
    rows = [{"input": str(i), "expected": i} for i in range(8)]
    with pytest.warns(UserWarning, match=r"8 answers .* 0 \(int\) .*json\.loads\(answer\) == expected"):
        result = tuneworthy.evaluate(rows, str, lambda answer, expected: answer == expected)
    assert result.warning in repr(result) and "json.loads" in result._repr_html_()
    assert not tuneworthy.evaluate(rows, str, lambda answer, expected: json.loads(answer) == expected).warning
    assert not tuneworthy.evaluate(rows, lambda text: "x", lambda answer, expected: answer == expected).warning
    mixed = [*rows, *({"input": "a", "expected": "a"} for _ in range(3))]  # a right row silences nothing
    with pytest.warns(UserWarning, match="8 answers"):
        assert tuneworthy.evaluate(mixed, str, lambda answer, expected: answer == expected).score > 0


DAY = datetime.date(2026, 1, 31)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (250, np.float32(250)), (2.5, np.float32(2.5)), (np.float32(1.1), 1.1),
        (1.1, Decimal("1.10")), (True, np.bool_(True)),
        (np.array(["a", "b"]), "b"), (DAY, "2026-01-31"), (DAY, DAY), ("a", b"a"), ({"a": np.int64(1)}, {"a": 1}),
        (250, 250.0), (43, Decimal("43.00")),
    ],
)  # fmt: skip
def test_values_of_other_types_are_read_as_the_json_that_they_mean(expected: Any, answer: Any) -> None:
    rows = [{"input": "q", "expected": expected}] * 8
    assert tuneworthy.evaluate(rows, lambda text: answer, "exact").score == 1.0


@pytest.mark.parametrize(
    ("expected", "answer", "is_alike"),
    [
        (250, "250.0", True), ("250.0", 250, True), ("43", "43,0", True), (True, "True", True), (True, 1, True),
        (5, [5], True), (datetime.datetime(2026, 1, 31), "2026-01-31", True), (["5"], "5.0", True),
        (250, "251", False), ("a", "b", False), (True, "False", False), (True, 0, False), ("5", "five", False),
    ],
)  # fmt: skip
def test_a_wrong_answer_with_the_right_value_in_another_form_is_a_warning(
    expected: Any, answer: Any, is_alike: bool
) -> None:
    rows = [{"input": "q", "expected": expected}] * 8
    with warnings.catch_warnings(record=True) as caught:
        result = tuneworthy.evaluate(rows, lambda text: answer, "exact")
    assert result.score == 0 and bool(result.warning) == bool(caught) == is_alike


@pytest.mark.parametrize("answer", [(one for one in "a"), print, object()])
def test_an_answer_that_is_no_json_leaves_its_row_unscored(answer: Any) -> None:
    with pytest.warns(UserWarning, match="excludes 20 rows"):
        result = tuneworthy.evaluate(ROWS, lambda text: "a" if int(text.split()[1]) % 2 else answer, "exact")
    assert result.unscored == 20 and "not text or JSON" in result.rows[0]["reason"]


def test_the_fix_of_a_numeric_grader_is_not_the_grader_numeric() -> None:
    rows = [{"input": "q", "expected": 2491}] * 8
    with pytest.warns(UserWarning, match="decimal_comma"):
        tuneworthy.evaluate(rows, lambda text: "2491,0", "numeric")


def test_a_failed_assertion_of_a_grader_is_a_wrong_answer() -> None:
    def strict(answer: str, expected: str) -> bool:
        assert answer == expected
        return True

    result = tuneworthy.evaluate(ROWS, always_a, strict)
    assert (result.score, result.unscored) == (0.5, 0)


class Client:
    def __call__(self, text: str) -> Any:
        return fails_later_on_some(text)


@pytest.mark.parametrize("model", [fails_on_some, fails_later_on_some, Client()])
def test_a_row_that_fails_is_unscored_with_its_reason_and_stops_no_other(model: Callable[[str], Any]) -> None:
    result = tuneworthy.evaluate(ROWS[1:], model, "exact")
    assert (result.n, result.unscored) == (35, 4)
    reasons = {row["row"] + 1: row["reason"] for row in result.rows if row["score"] is None}
    assert reasons[3] == "KeyError: 'no such thing'" and "returned None" in reasons[5] and "returned nan" in reasons[6]
    assert set(reasons) == {3, 4, 5, 6}
    assert result.score == pytest.approx(np.mean([row["score"] for row in result.rows if row["score"] is not None]))


def test_many_failures_in_a_row_do_not_end_the_evaluation() -> None:
    def late(text: str) -> str:
        if int(text.split()[1]) < 30:
            raise ConnectionError("down")
        return "a"

    assert tuneworthy.evaluate(ROWS, late, "exact", concurrency=1).n == 10


def test_a_call_that_hangs_is_given_up() -> None:
    result = tuneworthy.evaluate(
        ROWS, lambda text: time.sleep(5) if text == "question 7" else "a", "exact", timeout_s=2
    )
    assert (result.unscored, result.rows[7]["answer"]) == (1, None) and "timeout_s" in result.rows[7]["reason"]


@pytest.mark.parametrize("model", [lambda text: None, lambda text: 1 / 0])
def test_a_model_that_answers_no_row_is_refused(model: Callable[[str], Any]) -> None:
    with pytest.raises(
        UserError, match=r"No row has a score\. Row 0: (The model returned None|ZeroDivisionError)"
    ) as raised:
        tuneworthy.evaluate(ROWS, model, "exact")
    assert ".." not in str(raised.value)


def test_a_provider_that_is_down_is_named_without_options_of_the_command_line() -> None:
    model = {"provider": "http", "url": "http://127.0.0.1:9/", "retries": 0}
    with pytest.raises(UserError, match=r"No row has a score\. Row 0: .*not responding") as caught:
        tuneworthy.evaluate(ROWS[:2], model, "exact")
    assert "max_usd" in str(caught.value.hint) and "--" not in str(caught.value.hint)


def test_a_function_grades_and_its_faults_leave_a_row_unscored() -> None:
    def half(answer: str, expected: str) -> float:
        return {"a": 0.5}[expected]

    result = tuneworthy.evaluate(ROWS, always_a, half)
    assert (result.score, result.n, result.unscored, result.grader) == (0.5, 20, 20, "half")
    assert "KeyError: 'b' (test_evaluation.py" in result.rows[1]["reason"]


def test_graders_take_options_and_labels() -> None:
    numbers = [{"input": f"q{i}", "expected": str(i)} for i in range(10)]
    near = {"type": "numeric", "tolerance": 1.0}
    assert tuneworthy.evaluate(numbers, lambda text: int(text[1:]) + 1, near).score == 1.0
    assert tuneworthy.evaluate(ROWS, lambda text: "It is A or rather (a).", "choice").score == 0.5
    rare = [*ROWS[::2] * 2, *ROWS[1:3:2]]
    assert tuneworthy.evaluate(rare, always_a, "balanced_accuracy").score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": []}, "empty"),
        ({"rows": "a.csv"}, "type str"),
        ({"rows": [*ROWS, "b"]}, "Row 40 is of type str, not a dict"),
        ({"rows": {"input": ["a"], "expected": ["b"]}}, "type dict"),
        ({"rows": [{"text": "a", "label": "b"}]}, "no column 'input'. The columns are: text, label"),
        ({"expected": "label"}, "no column 'label'. The columns are: input, expected"),
        ({"group": "user"}, "no column 'user'"),
        ({"rows": [*ROWS, {"input": 3, "expected": "a"}]}, r"'input' of row 40 is 3 \(int\), not text"),
        ({"rows": [*ROWS, {"input": float("nan"), "expected": "a"}]}, r"'input' of row 40 is nan"),
        ({"rows": [*ROWS, {"input": "\ud800", "expected": "a"}]}, "'input' of row 40"),
        ({"rows": [*ROWS, {"input": "q", "expected": float("nan")}, {"input": "r"}]}, "'expected' of row 40.*1 more"),
        ({"model": 3}, "model cannot be used"),
        ({"model": "gpt"}, "names no provider"),
        ({"model": "opnai:gpt"}, "Did you mean 'openai'"),
        ({"model": {"provider": "openai"}}, "model cannot be used"),
        ({"grader": "exakt"}, "Did you mean 'exact'"),
        ({"grader": {"type": "numeric", "tolerance": -1}}, "grader cannot be used"),
        ({"grader": "judge"}, "needs a project"),
        ({"max_usd": float("nan")}, "max_usd"),
        ({"concurrency": -1}, "concurrency must be a whole number above 0"),
        ({"concurrency": "8"}, "concurrency must be a whole number above 0"),
        ({"max_tokens": 2.5}, "max_tokens must be a whole number above 0"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"grader": "json_schema"}, "path"),
        ({"prompt": "{{ input"}, "template"),
        ({"prompt": "Rate this."}, "every row would ask the same"),
    ],
)
def test_a_hostile_input_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    calls: list[str] = []
    arguments = {"rows": ROWS, "model": calls.append, "grader": "exact"} | change
    with pytest.raises(UserError, match=message):
        tuneworthy.evaluate(**arguments)
    assert not calls


def test_an_index_may_repeat_and_a_frame_with_a_missing_value_is_refused() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS)
    assert tuneworthy.evaluate(pd.concat([frame, frame]), always_a, "exact").n == 80
    frame.loc[5, "expected"] = pd.NA
    with pytest.raises(UserError, match=r"'expected' of row 5 .*dropna\(subset=\['expected'\]\)"):
        tuneworthy.evaluate(frame, always_a, "exact")
    with pytest.raises(UserError, match=r"'n' of row 0 .*\['n'\]\.astype\(str\)"):
        tuneworthy.evaluate(frame.assign(n=range(40))[:5], always_a, "exact", input="n")
    with pytest.raises(UserError, match="empty"):
        tuneworthy.evaluate(frame[:0], always_a, "exact")


def test_an_evaluation_runs_inside_an_event_loop() -> None:
    async def cell() -> Evaluation:
        return tuneworthy.evaluate(ROWS, always_a, "exact")

    assert asyncio.run(cell()).n == 40


def test_two_evaluations_are_compared_by_row() -> None:
    right = {row["input"]: row["expected"] for row in ROWS}
    a, b = (tuneworthy.evaluate(ROWS, model, "exact") for model in (always_a, right.__getitem__))
    result = tuneworthy.compare(a, b)
    reference = compare_sums([1, 0] * 20, [1] * 40, [1] * 40, [1] * 40, alpha=0.025)
    assert result.outcome == "better" and result.paired == reference
    assert tuneworthy.compare(b, a).outcome == "worse"
    for rows in (ROWS[::-1], [{**row, "expected": "c"} for row in ROWS]):
        with pytest.raises(UserError, match="not scores of the same rows"):
            tuneworthy.compare(a, tuneworthy.evaluate(rows, always_a, "exact"))
    with pytest.raises(UserError, match="two graders: exact, includes"):
        tuneworthy.compare(a, tuneworthy.evaluate(ROWS, always_a, "includes"))
    assert f"one-sided p = {result.paired.p_value:.4f}" in repr(result) or "one-sided p < " in repr(result)
    assert "p = 1.0" not in repr(tuneworthy.compare(b, a))


def test_scores_are_compared_with_a_margin_and_groups() -> None:
    same = [1, 0, 1, 1] * 100
    other = [*same[:-1], 0]
    assert tuneworthy.compare(same, other).outcome == "no_worse"
    assert tuneworthy.compare(same, other, margin=0.0001).outcome == "unresolved"
    a, b = [0] * 40, [1] * 8 + [0] * 32
    assert tuneworthy.compare(a, b).outcome == "better"
    assert tuneworthy.compare(a, b, groups=[i // 8 for i in range(40)]).outcome == "unresolved"
    missing = tuneworthy.compare(a, [*b[:-2], np.nan, np.nan])
    assert missing.outcome == "unresolved" and "over 2%" in repr(missing)  # 5% unscored
    assert "over 2%" not in repr(tuneworthy.compare(a * 3, [*b * 3][:-2] + [np.nan] * 2))  # 1.7%
    assert tuneworthy.compare([0.2, 0.5] * 20, [0.4, 0.6] * 20).outcome == "better"


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [([1, 0], [1], {}), ([], [], {}), ([2, 0], [1, 0], {}), (["x"], ["y"], {}), ([[1]], [[1]], {}),
     ([1, 0], [1, 0], {"groups": [1]}), ([1, 0], [1, 0], {"margin": 2}), ([np.nan], [1], {}), (None, [1], {})],
)  # fmt: skip
def test_scores_that_do_not_fit_are_refused(a: Any, b: Any, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="cannot be compared"):
        tuneworthy.compare(a, b, **options)


def test_results_are_shown_in_ten_lines_and_as_html() -> None:
    a = tuneworthy.evaluate([*ROWS, {"input": "<b>\n\x1b[31m", "expected": "x" * 999}], fails_on_some_or_bold, "exact")
    for result in (a, tuneworthy.compare(a, a)):
        assert len(repr(result).splitlines()) <= 10 and max(map(len, repr(result).splitlines())) < 200
        html = result._repr_html_()
        assert "<b>" not in html and "\x1b" not in html and result.summary()[0][0].split(",")[0] in html
        assert html.startswith("<p>") and "<caption>" not in html
    assert "36 more" not in repr(a) and "without a score" in repr(a)


def fails_on_some_or_bold(text: str) -> Any:
    return fails_on_some(text) if text.startswith("question") else "y"


def test_rows_become_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"q": f"colour of {i}", "label": ("red", "blue")[i % 2], "user": i // 2} for i in range(200)]
    project = tuneworthy.create(tmp_path / "new", rows, input="q", expected="label", group="user", n_cases=60)
    cases = (tmp_path / "new" / "cases.jsonl").read_text().splitlines()
    assert len(cases) == 60 and '"group":' in cases[0] and project.project.graders[0].type == "choice"
    assert "Detected task type" in capsys.readouterr().err
    other = tuneworthy.create(tmp_path / "other", rows, input="q", expected="label", target=0.8, grader="exact")
    assert (other.project.task.target, other.project.graders[0].type) == (0.8, "exact")
    with pytest.raises(UserError, match="already contains a project"):
        tuneworthy.create(tmp_path / "new", rows, input="q", expected="label")
    for wrong, message in (
        ({"grader": "exakt"}, "'exact'"), ({"task": "integer"}, "integer"), ({"model": str}, "type"),
        ({"grader": len}, "builtin"), ({"target": 90}, "between 0 and 1"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            tuneworthy.create(tmp_path / "wrong", rows, input="q", expected="label", **wrong)
        assert not (tmp_path / "wrong").exists()  # so that it can be created after the repair


def test_the_exceptions_are_those_of_the_package() -> None:
    for name in ("TuneworthyError", "UserError", "BudgetSpent", "Undecided", "OutsideFault", "GateFailed"):
        assert getattr(tuneworthy, name) is getattr(errors, name)
    assert {"evaluate", "compare", "stats", "UserError"} <= set(dir(tuneworthy))
    with pytest.raises(AttributeError):
        tuneworthy.evaluated  # type: ignore[attr-defined]


def test_the_examples_run() -> None:
    assert doctest.testmod(evaluation).failed == 0
