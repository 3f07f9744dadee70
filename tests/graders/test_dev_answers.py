"""Answers to dev cases in the record: masked, short, and only where they were scored."""

from __future__ import annotations

from tuneworthy.graders.dev_answers import MAX_CHARS, dev_answers, dev_cases
from tuneworthy.types import Case, Response, Score, Trace

MAIL = "ada@example.org"
CASE = Case(id="c1", input=f"question from {MAIL}", expected="refund")


def trace(text: str | None) -> Trace:
    response = None if text is None else Response(text=text)
    return Trace(case_id="c1", variant_id="v", repeat=0, messages=(), response=response)


def test_personal_data_is_masked_and_long_texts_are_cut() -> None:
    (shown,) = dev_cases([CASE])
    found = dev_answers([], [CASE], [trace(f"{MAIL} {'word ' * 400}")], [Score(reason="wrong")])["c1"]
    assert MAIL not in f"{shown}{found}" and "[EMAIL_1]" in shown.question and "[EMAIL_1]" in found.text
    assert len(found.text) <= MAX_CHARS + 1


def test_a_wrong_label_is_named_with_the_right_one_and_what_failed_is_no_answer() -> None:
    found = dev_answers(["refund", "agent"], [CASE], [trace("agent")], [Score(reason="wrong")])["c1"]
    assert (found.is_right, list(found.failures)) == (False, ["refund → agent"])
    assert dev_answers(["refund", "agent"], [CASE], [trace("refund")], [Score(num=1.0)])["c1"].is_right
    assert dev_answers([], [CASE], [trace(None)], [Score(reason="wrong")]) == {}
    assert dev_answers([], [CASE], [trace("x")], [Score.failed("no judge")]) == {}
