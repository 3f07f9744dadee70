"""Grader `tool_call`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from grade_samples import build, judge

from tuneworthy.graders.apply import grade_all, label_faults
from tuneworthy.types import Case, Response, Score, Trace

BOOK = {"name": "book", "arguments": {"people": 4, "name": "Ann"}}
MENU = {"name": "menu", "arguments": {}}


def call(name: str, arguments: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": text}}


def grade(expected: Any, *calls: dict[str, Any], text: str = "", **arguments: Any) -> Score:
    score = judge(build("tool_call", **arguments), text, expected, tool_calls=calls)
    assert isinstance(score, Score)
    return score


@pytest.mark.parametrize(
    ("expected", "calls", "reason"),
    [
        (BOOK, [call("book", {"name": "ann", "people": "4", "note": None})], ""),
        ([BOOK], [call("book", BOOK["arguments"])], ""),
        ([BOOK, MENU], [call("menu", ""), call("book", BOOK["arguments"])], ""),
        (BOOK, [call("book", {"people": 5, "name": "Ann"})], "wrong_arguments"),
        (BOOK, [call("book", {"people": 4})], "wrong_arguments"),
        (BOOK, [call("book", {**BOOK["arguments"], "day": "x"})], "wrong_arguments"),
        (BOOK, [call("menu", {})], "wrong_tool"),
        (BOOK, [call("book", BOOK["arguments"])] * 2, "wrong_tool"),
        ([BOOK, BOOK], [call("book", BOOK["arguments"]), call("book", {})], "wrong_arguments"),
        (BOOK, [call("book", '{"people": 4')], "format"),
        (BOOK, [], "no_call"),
        ([], [call("menu", {})], "wrong_tool"),
    ],
)  # fmt: skip
def test_calls_are_matched(expected: Any, calls: list[dict[str, Any]], reason: str) -> None:
    score = grade(expected, *calls, text="I do it.")
    assert score.reason == reason
    assert score.value == (reason == "")


def test_a_call_written_as_text_is_unreadable() -> None:
    for text in (json.dumps(BOOK), f"```json\n{json.dumps([BOOK])}\n```", f"<tool_call>{json.dumps(BOOK)}</tool_call>"):
        assert grade(BOOK, text=text).reason == "format"


def test_no_call_is_right_where_none_is_expected() -> None:
    assert grade([], text="Four people it is.").value == 1


def test_the_name_alone_may_count() -> None:
    assert grade(BOOK, call("book", {"people": 4, "name": "ANN"})).value == 1


def test_a_label_that_is_no_call_is_a_fault() -> None:
    fault = grade({"nome": "x"}).unscored
    assert fault.endswith('is neither a tool call with "name" and "arguments" nor a list of such calls')


PARAMETERS = {
    "type": "object",
    "$defs": {"Day": {"properties": {"hour": {"type": "number"}}}},
    "properties": {
        "people": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "code": {"type": "string"},
        "vegan": {"type": "boolean", "default": False},
        "day": {"$ref": "#/$defs/Day"},
        "seats": {"type": "array", "items": {"type": "integer"}},
        "extras": {"type": "array", "uniqueItems": True},
        "note": {"type": "string"},
        "self": {"$ref": "#"},
    },
}
TABLE = {"type": "function", "function": {"name": "book", "parameters": PARAMETERS}}


@pytest.mark.parametrize(
    ("expected", "called", "same"),
    [
        ({"people": 3}, {"people": "3"}, True),
        ({"people": 3}, {"people": "three"}, False),
        ({"code": "7"}, {"code": 7}, False),
        ({"code": "007"}, {"code": "7"}, False),
        ({"code": "W1"}, {"code": " w1 "}, True),
        ({}, {"vegan": False, "people": None}, True),
        ({"vegan": True}, {"vegan": "true"}, True),
        ({}, {"vegan": True}, False),
        ({"day": {"hour": 8}}, {"day": {"hour": "8.0"}}, True),
        ({"day": {"hour": 8}}, {"day": {"hour": "9"}}, False),
        ({"seats": [1, 2]}, {"seats": ["1", "2"]}, True),
        ({"seats": [1, 2]}, {"seats": [2, 1]}, False),
        ({"extras": ["a", "b"]}, {"extras": ["b", "a"]}, True),
        ({"people": 2**60}, {"people": 2**60 + 1}, False),
        ({"note": "By the window"}, {"note": "window"}, False),
        ({"self": {"self": {"people": 3}}}, {"self": {"self": {"people": "3"}}}, True),
        ({"other": "1"}, {"other": 1}, False),
    ],
)
def test_arguments_are_equal_by_the_schema_of_the_tool(expected: Any, called: Any, same: bool) -> None:
    score = judge(
        build("tool_call"),
        "",
        {"name": "book", "arguments": expected},
        tool_calls=(call("book", called),),
        tools=(TABLE,),
    )
    assert isinstance(score, Score) and score.reason == ("" if same else "wrong_arguments")


CALLS, WORDS = [BOOK], "Anything else?"


@pytest.mark.parametrize(
    ("grader", "expected", "text", "calls", "value"),
    [
        ("exact", CALLS, "", [call("book", BOOK["arguments"])], 1),
        ("exact", CALLS, "", [call("book", {"people": 5})], 0),
        ("exact", CALLS, json.dumps(CALLS), [], 0),
        ("exact", WORDS, WORDS, [], 1),
        ("exact", WORDS, WORDS, [call("menu", {})], 0),
        ("exact", WORDS, "Bye.", [], 0),
        ("json_fields", CALLS, "", [call("book", BOOK["arguments"])], 1),
        ("tool_call", WORDS, "Bye.", [], 1),
        ("tool_call", WORDS, "", [], 0),
        ("tool_call", WORDS, json.dumps(BOOK), [], 0),
        ("tool_call", WORDS, WORDS, [call("menu", {})], 0),
        ("abstention", WORDS, "", [call("menu", {})], 1),
    ],
)
def test_one_grader_judges_turns_in_words_and_turns_that_call(
    grader: str, expected: Any, text: str, calls: list[Any], value: float
) -> None:
    case = Case(id="c", input="?", expected=expected, tools=(TABLE,))
    trace = Trace(
        case_id="c", variant_id="", repeat=0, messages=(), response=Response(text=text, tool_calls=tuple(calls))
    )
    judged = build(grader)
    assert label_faults(judged, [case]) == {}
    (score,) = asyncio.run(grade_all(judged, [trace], [case]))
    assert score.value == value and (score.reason == "") is (value == 1) and score.den in {judged.unit, 1.0}


def test_words_are_a_fault_where_no_tool_could_be_called() -> None:
    case = Case(id="c", input="?", expected="Paris")
    assert "neither a tool call" in label_faults(build("tool_call"), [case])["c"]
