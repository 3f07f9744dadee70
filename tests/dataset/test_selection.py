"""Which answer of a teacher is kept, and why none is."""

from __future__ import annotations

import pytest

from tuneworthy.dataset.distill.selection import ending, select
from tuneworthy.dataset.messages import TEACHER_REASONS
from tuneworthy.types import Failure, Response, Score, Trace

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def trace(text: str = "yes", finish_reason: str = "stop", n: int = 0, **more: object) -> Trace:
    response = Response(text=text, finish_reason=finish_reason, **more)  # type: ignore[arg-type]
    return Trace(case_id="c", variant_id="v", repeat=n, messages=(), response=response)


def failed() -> Trace:
    error = Failure(code="bad_request", message="no")
    return Trace(case_id="c", variant_id="v", repeat=0, messages=(), response=None, error=error)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (trace(), ""),
        (trace(finish_reason="end_turn"), ""),
        (trace("", "tool_calls", tool_calls=(CALL,)), ""),
        (trace(finish_reason="length"), "truncated"),
        (trace(finish_reason="max_tokens"), "truncated"),
        (trace(finish_reason="refusal"), "teacher_refused"),
        (trace("As an AI language model, I cannot help with that."), "teacher_refused"),
        (trace(finish_reason="content_filter"), "content_filter"),
        (trace(finish_reason="SAFETY"), "content_filter"),
        (trace(finish_reason="error"), "unnatural_end"),
        (trace(" \u200b"), "empty_answer"),
        (failed(), "teacher_error"),
    ],
)
def test_only_an_answer_that_came_to_its_end_is_one(given: Trace, reason: str) -> None:
    assert ending(given)[0] == reason
    assert reason in {"", *TEACHER_REASONS}
    selection = select([given], None, accept=1.0)
    assert (selection.trace is given, selection.reason) == (not reason, reason)


def test_the_first_answer_that_ended_is_kept_if_nothing_else_decides() -> None:
    answers = [trace("cut", "length"), trace("one", n=1), trace("two", n=2)]
    selection = select(answers, None, accept=1.0)
    assert (selection.trace, selection.how) == (answers[1], "first")
    assert selection.endings == {"truncated": 1}


def test_the_grader_chooses_the_best_and_drops_what_is_not_good_enough() -> None:
    answers = [trace("a", n=0), trace("b", n=1), trace("c", "length", n=2)]
    scores = [Score(num=0.4), Score(num=0.8), Score(num=1.0)]
    selection = select(answers, scores, accept=0.7)
    assert (selection.trace, selection.how) == (answers[1], "grader")  # the third was cut off
    assert selection.worst is answers[0] and select(answers[1:], scores[1:], accept=0.7).worst is None
    dropped = select(answers, scores, accept=0.9)
    assert (dropped.trace, dropped.reason) == (None, "wrong")
    assert "the best answer scores 0.800, below the threshold of 0.9 " in dropped.detail
    unscored = select(answers[:1], [Score.failed("timeout")], accept=0.5)
    assert (unscored.trace, unscored.reason, unscored.detail) == (None, "unscored", "timeout")


def test_of_equally_good_answers_the_one_that_most_samples_gave_is_kept() -> None:
    answers = [trace("a", n=0), trace("b", n=1), trace("B.", n=2)]
    assert select(answers, [Score(num=1.0)] * 3, accept=1.0).trace == answers[1]


def test_the_majority_is_kept_with_its_share_and_below_the_threshold_nothing_is() -> None:
    answers = [trace("Blue", n=0), trace("red", n=1), trace("blue.", n=2), trace("blue", "length", n=3)]
    selection = select(answers, None, accept=1.0, agree=0.5)
    assert (selection.trace, selection.how, selection.share) == (
        answers[0],
        "majority",
        0.5,
    )  # of all 4: the cut one counts
    dropped = select(answers, None, accept=1.0, agree=0.6)
    assert (dropped.trace, dropped.reason, dropped.detail) == (
        None,
        "disagreement",
        "the most frequent answer occurs in 2 of 4 samples",
    )
    tied = [trace("a"), trace("b"), trace("a"), trace("b")]
    assert select(tied, None, accept=1.0, agree=0.4).reason == "disagreement"


def test_json_says_the_same_in_any_order_of_keys_and_calls_are_compared_without_their_ids() -> None:
    said = [trace('{"a": 1, "b": 2}'), trace('{"b":2,"a":1}'), trace('{"a": 1}')]
    assert select(said, None, accept=1.0, agree=0.6).share == pytest.approx(2 / 3)
    calls = [trace("", "tool_calls", tool_calls=({**CALL, "id": str(i)},)) for i in range(3)]
    assert select(calls, None, accept=1.0, agree=0.9).share == 1.0
