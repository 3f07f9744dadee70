"""Wrong dev answers that the record keeps for the report: side by side with today's, short, and masked."""

from __future__ import annotations

from tuneworthy.ladder.measurement import MOST_SHOWN, MOST_WRONG, wrong_answers
from tuneworthy.types import Case, Response, Score, Trace

MAIL = "ada@example.org"


def trace(case: Case, text: str | None) -> Trace:
    response = None if text is None else Response(text=text)
    return Trace(case_id=case.id, variant_id="v", repeat=0, messages=(), response=response)


CASES = [Case(id=f"c{i}", input=f"question {i} from {MAIL}", expected=["right", "correct"]) for i in range(30)]


def test_only_wrong_answers_are_kept_beside_those_of_today_and_at_most_ten() -> None:
    scores = [Score(num=1.0) if i % 2 else Score(reason="wrong") for i in range(30)]
    traces = [trace(case, "right" if i % 2 else f"wrong {i}") for i, case in enumerate(CASES)]
    found = wrong_answers(CASES, traces, scores, [trace(CASES[0], "today's"), trace(CASES[1], "right")])
    assert [row.case for row in found] == [f"c{i}" for i in range(0, 2 * MOST_WRONG, 2)]
    assert (found[0].answer, found[0].today, found[0].expected, found[0].reason) == (
        "wrong 0",
        "today's",
        "right, correct",
        "wrong",
    )
    assert found[1].today == ""


def test_personal_data_is_masked_and_long_texts_are_cut() -> None:
    long = f"{MAIL} " + "word " * 400
    found = wrong_answers(CASES[:1], [trace(CASES[0], long)], [Score(reason="wrong")], [trace(CASES[0], MAIL)])
    assert MAIL not in str(found) and found[0].question == "question 0 from [EMAIL_1]" and found[0].today == "[EMAIL_1]"
    assert len(found[0].answer) == MOST_SHOWN + 1 and found[0].answer.endswith("…")


def test_what_failed_or_was_not_scored_is_no_wrong_answer() -> None:
    traces = [trace(CASES[0], None), trace(CASES[1], "x")]
    assert wrong_answers(CASES[:2], traces, [Score.failed("timeout"), Score.failed("judge")], []) == []
