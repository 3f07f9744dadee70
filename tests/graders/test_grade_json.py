"""JSON: what is found in an answer, which pairs are equal, micro F1, schemas."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from grade_samples import build, judge, trace
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.real_data import REAL_DATA, needs_real_data

from tuneworthy.errors import UserError
from tuneworthy.graders.apply import aggregate, grade_all
from tuneworthy.graders.base import GradingContext
from tuneworthy.graders.json_fields import totals
from tuneworthy.graders.json_text import NOTHING, find_json, find_object
from tuneworthy.types import Case

RESTAURANT = REAL_DATA / "restaurant8k" / "test.json"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('Sure!\n```json\n{"a": 1}\n```\nDone {"b": 2}.', {"a": 1}),
        ('```\n{"a": 1}\n```', {"a": 1}),
        ('The set {x} gives {"a": {"b": "}"}} and {"c": 1}', {"a": {"b": "}"}}),
        ('<tool_call>{"a": 1}</tool_call>', {"a": 1}),
        ("Nothing: {}", {}),
        ("[1]", None),
        ("null", None),
        ("{'a': 1}", None),
        ('{"a": 1', None),
        ('{"a": NaN}', None),
        ('{"a": {"b": 1}, "c": Infinity}', None),
        ('{"a": {"b": 1}, "c": "cut o', None),
        ('{"a": {"b": 1}, "c"', None),
        ('{"a": {"b": 1}, \'c\': 2}', None),
        ('Like {"a": ..., so {"a": 1}', {"a": 1}),
        ('Like {"a": ...}, so {"a": 1}', {"a": 1}),
        ("", None),
    ],
)
def test_the_first_object_is_found(text: str, found: dict[str, Any] | None) -> None:
    assert find_object(text) == found


def test_strict_takes_only_json_as_a_whole() -> None:
    assert find_json('x {"a": 1}', strict=True) is NOTHING
    assert find_json(' {"a": 1}\n', strict=True) == {"a": 1}
    assert judge(build("json_fields", strict=True), '```\n{"a": 1}\n```', {"a": 1}).reason == "format"


@pytest.mark.parametrize(
    ("expected", "answered", "num", "den"),
    [
        ({"a": "x"}, {"a": "X  "}, 2, 2),
        ({"a": "8 pm"}, {"a": "8\npm"}, 2, 2),
        ({"a": "x", "b": "y"}, {"a": "x"}, 2, 3),
        ({"a": "x"}, {"a": "x", "b": "y"}, 2, 3),
        ({"a": "x"}, {"a": "y"}, 0, 2),
        ({"a": "x"}, {}, 0, 1),
        ({}, {"a": "x"}, 0, 1),
        ({}, {}, 2, 2),
        ({}, {"a": None}, 2, 2),
        ({"a": None}, {"b": []}, 2, 2),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, 2, 4),
        ({"a": [1, 2, 2]}, {"a": [2, 1, 2]}, 6, 6),
        ({"a": [1, 2, 2]}, {"a": [1, 2]}, 4, 5),
        ({"a": [1]}, {"a": [1, None]}, 2, 2),
        ({"a": ["x"]}, {"a": "x"}, 2, 2),
        ({"a": [{"n": "p", "q": 1}, {"n": "c", "q": 2}]}, {"a": [{"n": "c", "q": 2.0}, {"q": 1, "n": "P"}]}, 4, 4),
        ({"a": [{"n": "p", "q": 1}, {"n": "c", "q": 2}]}, {"a": [{"n": "p", "q": 2}, {"n": "c", "q": 1}]}, 0, 4),
        ({"a": 5}, {"a": "5"}, 2, 2),
        ({"a": "5.0"}, {"a": 5}, 2, 2),
        ({"a": "05"}, {"a": "5"}, 0, 2),
        ({"a": 5}, {"a": "five"}, 0, 2),
        ({"a": True}, {"a": 1}, 0, 2),
        ({"a": True}, {"a": "true"}, 0, 2),
        ({"a": "e\u0301"}, {"a": "\u00e9"}, 2, 2),
        ('{"a": "x"}', {"a": "x"}, 2, 2),
    ],
)  # fmt: skip
def test_pairs_are_counted(expected: Any, answered: Any, num: float, den: float) -> None:
    score = judge(build("json_fields"), json.dumps(answered), expected)
    assert (score.num, score.den) == (num, den)
    assert (score.reason == "") == (num == den)


def test_an_unreadable_answer_weighs_as_much_as_an_empty_one() -> None:
    grader = build("json_fields")
    for expected in ({"a": 1, "b": [1, 2]}, {}):
        unreadable, empty = judge(grader, "no json", expected), judge(grader, "{}", expected)
        assert (unreadable.num, unreadable.den, unreadable.reason) == (0, empty.den, "format")


def test_case_never_counts_and_fields_can_be_set() -> None:
    assert judge(build("json_fields"), '{"a": "X"}', {"a": "x"}).value == 1
    only = build("json_fields", fields=["a", "b.c"])
    assert judge(only, '{"a": 1, "b": {"c": 2, "d": 3}, "bc": 1}', {"a": 1, "b": {"c": 2}}).value == 1


def test_a_label_that_is_no_object_is_a_fault() -> None:
    assert judge(build("json_fields"), "{}", "text").unscored == "'text' is not a JSON object"


def test_fields_add_up() -> None:
    grader = build("json_fields")
    scores = [
        judge(grader, '{"time": "8", "people": 2}', {"time": "8", "people": 3}),
        judge(grader, '{"time": "9"}', {"time": "9", "people": 2}),
        judge(grader, "?", {"time": "9"}),
    ]
    fields = totals(scores)
    assert (fields["time"].precision, fields["time"].recall) == (1, 2 / 3)
    assert (fields["people"].tp, fields["people"].fp, fields["people"].fn, fields["people"].f1) == (0, 1, 2, 0)


leaf = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8)
json_values = st.recursive(
    leaf, lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=3), c, max_size=3)
)
objects = st.dictionaries(st.text(max_size=3), json_values, max_size=4)


@settings(max_examples=150, deadline=None)
@given(objects, objects)
def test_an_object_equals_itself_and_swapping_sides_changes_nothing(left: Any, right: Any) -> None:
    grader = build("json_fields")
    texts = json.dumps(left), json.dumps(right)
    if find_object(texts[0]) is None or find_object(texts[1]) is None:
        return  # lone surrogates are no strict JSON
    left, right = json.loads(texts[0]), json.loads(texts[1])
    assert judge(grader, texts[0], left).value == 1
    one, other = judge(grader, texts[0], right), judge(grader, texts[1], left)
    assert (one.num, one.den) == (other.num, other.den)
    assert 0 <= one.num <= one.den


@needs_real_data
def test_gold_against_gold_is_one_on_real_bookings() -> None:
    cases, traces = [], []
    for index, row in enumerate(json.loads(RESTAURANT.read_text())):
        text, slots = row["userInput"]["text"], {}
        for label in row.get("labels", ()):
            span = label["valueSpan"]
            slots[label["slot"]] = text[span.get("startIndex", 0) : span["endIndex"]]
        cases.append(Case(id=str(index), input=text, expected=slots))
        traces.append(trace(f"```json\n{json.dumps(slots)}\n```", case_id=str(index)))
    scores = asyncio.run(grade_all(build("json_fields"), traces, cases))
    num, den = aggregate(scores)
    assert len(scores) == 3731
    assert num.sum() / den.sum() == 1.0
    assert set(totals(scores)) == {"time", "date", "people", "first_name", "last_name"}


def test_a_schema_judges_form_alone(tmp_path: Path) -> None:
    context = GradingContext(root=tmp_path)
    (tmp_path / "schema.json").write_text(
        '{"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}'
    )
    grader = build("json_schema", context)
    assert judge(grader, 'So: {"n": 1}', None).value == 1
    assert judge(grader, '{"n": "1"}', None).reason == "schema"
    assert "$.n" in judge(grader, '{"n": "1"}', None).detail["error"]
    assert judge(grader, "none", None).reason == "format"
    assert judge(build("json_schema", context, strict=True), 'So: {"n": 1}', None).reason == "format"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "is not valid JSON:"),
        ('{"type": "objekt"}', "is not a valid JSON Schema"),
        ("3", "is not a valid JSON Schema"),
        ('{"$ref": "https://example.org/schema.json"}', "is outside the file"),
        ('{"properties": {"a": {"$ref": "other.json#/a"}}}', "is outside the file"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(schema)
    with pytest.raises(UserError, match=message):
        build("json_schema", GradingContext(root=tmp_path))


def test_a_reference_that_leads_nowhere_or_in_circles_leaves_the_trace_unscored(tmp_path: Path) -> None:
    for schema in ('{"$ref": "#/$defs/none"}', '{"$ref": "#"}'):
        (tmp_path / "schema.json").write_text(schema)
        assert "cannot be applied" in judge(build("json_schema", GradingContext(root=tmp_path)), "{}", None).unscored


def test_a_schema_outside_the_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="outside the project folder"):
        build("json_schema", GradingContext(root=tmp_path), path="../schema.json")
    with pytest.raises(UserError, match="does not exist"):
        build("json_schema", GradingContext(root=tmp_path))
