"""Grader `tool_call`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grade_samples import build, judge

from tuneworthy.types import Score

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
