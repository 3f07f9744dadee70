"""Running graders over traces: the rules, the sums, the reasons."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from grade_samples import SECTIONS, build, failed, trace

import tuneworthy.graders
from tuneworthy.config.graders import Exact
from tuneworthy.errors import AuthError, BudgetSpent, ProviderError
from tuneworthy.graders.apply import aggregate, grade_all, label_faults, make_grader
from tuneworthy.graders.base import Grader
from tuneworthy.types import UNLABELLED, Case, Score, Trace


def run(grader: Any, traces: list[Trace], *cases: Case) -> list[Score]:
    return asyncio.run(grade_all(grader, traces, cases))


def case(expected: Any = "yes", case_id: str = "c") -> Case:
    return Case(id=case_id, input="?", expected=expected)


def test_scores_stand_in_the_order_of_the_traces() -> None:
    traces = [trace("no", case_id="b"), trace("yes", case_id="a"), failed("a"), trace("yes", case_id="b", repeat=1)]
    scores = run(make_grader(Exact(type="exact")), traces, case(case_id="a"), case(case_id="b"))
    assert [score.value for score in scores] == [0, 1, None, 1]


def test_a_trace_without_a_case_and_a_case_without_a_label_are_unscored() -> None:
    scores = run(build("exact"), [trace("x", case_id="?"), trace("x")], case(UNLABELLED))
    assert [bool(score.unscored) for score in scores] == [True, True]


def test_a_right_decline_weighs_as_much_as_a_right_answer() -> None:
    right, wrong = run(build("json_fields"), [trace("I don't know"), trace('{"a": 1}')], case(None))
    assert (right.num, right.den) == (2, 2)
    assert (wrong.num, wrong.den, wrong.reason) == (0, 2, "answered_unanswerable")


def test_a_refusal_keeps_the_weight_and_detail_of_the_score() -> None:
    (score,) = run(build("json_fields"), [trace("I cannot answer that.")], case({"a": 1, "b": 2}))
    assert (score.num, score.den, score.reason) == (0, 2, "refused")
    assert score.detail["fields"] == {"a": [0, 0, 1], "b": [0, 0, 1]}


def test_a_label_that_means_not_known_is_an_answer_like_any_other() -> None:
    scores = run(build("choice", labels=["unknown", "x"]), [trace("unknown"), trace("I don't know")], case("x"))
    assert [score.reason for score in scores] == ["wrong", "refused"]
    assert run(build("exact"), [trace("unknown")], case("unknown"))[0].reason == ""


def test_an_unreadable_answer_that_hit_the_limit_was_truncated() -> None:
    grader = build("json_fields")
    cut, whole = trace('{"a": 1', finish_reason="length"), trace('{"a": 2}', finish_reason="length")
    scores = run(grader, [cut, whole, trace('{"a": 1')], case({"a": 1}))
    assert [score.reason for score in scores] == ["truncated", "wrong", "format"]
    assert scores[0].den == 1
    assert run(build("numeric"), [trace("so", finish_reason="length")], case(3))[0].reason == "truncated"


class Judge(Grader):
    """A grader that asks someone else."""

    identity: Mapping[str, Any] = {"type": "judge"}

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.running = self.most = self.cancelled = 0

    async def __call__(self, trace: Trace, case: Case) -> Score:
        error = self.errors.pop(0) if self.errors else None
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.01 if error else 0.05)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if error:
            raise error
        self.running -= 1
        return Score(num=float(trace.text == case.expected), reason="" if trace.text == case.expected else "wrong")


def test_a_grader_that_waits_runs_all_its_traces_together_under_the_same_rules() -> None:
    judge = Judge()
    scores = run(judge, [trace("yes"), trace("I don't know"), failed(), trace("no")], case("yes"))
    assert [score.reason for score in scores] == ["", "refused", "", "wrong"]
    assert scores[2].unscored
    assert judge.most == 3


def test_one_failed_judgement_is_unscored_and_the_others_stand() -> None:
    errors = (ProviderError("busy", code="server", retryable=True), None)
    scores = run(Judge(*errors), [trace("yes")] * 2, case("yes"))
    assert [score.value for score in scores] == [None, 1]
    assert scores[0].unscored == "server: busy"


def test_a_spent_budget_ends_the_run_and_cancels_what_waits() -> None:
    judge = Judge(BudgetSpent("spent"))
    with pytest.raises(BudgetSpent):
        run(judge, [trace("yes")] * 3, case("yes"))
    assert judge.cancelled == 2


@pytest.mark.parametrize("error", [RuntimeError("boom"), AuthError("no key")])
def test_a_bug_in_a_grader_and_a_refused_key_end_the_run_as_they_are(error: Exception) -> None:
    class Crash(Grader):
        def __call__(self, trace: Trace, case: Case) -> Score:
            raise error

    with pytest.raises(type(error)) as caught:
        run(Crash(), [trace("a")], case())
    assert any(entry.name == "__call__" for entry in caught.traceback)
    with pytest.raises(type(error)):
        run(Judge(error), [trace("a")] * 3, case())


def test_label_faults_are_all_found_before_money_is_spent() -> None:
    cases = [case(1, "a"), case("x", "b"), case(None, "c"), case(UNLABELLED, "d"), case("y", "e")]
    assert list(label_faults(build("numeric"), cases)) == ["b", "e"]
    assert label_faults(Judge(), cases) == {}


def test_repeats_are_averaged_and_unscored_ones_left_out() -> None:
    scores = [Score(num=2, den=4), Score(num=0, den=2), Score.failed("x"), Score.failed("x"), Score(num=1)]
    num, den = aggregate(scores, ["a", "a", "a", "b", "c"])
    np.testing.assert_array_equal(num, [1, np.nan, 1])
    np.testing.assert_array_equal(den, [3, np.nan, 1])


def test_sums_follow_the_order_that_is_asked_for() -> None:
    num, den = aggregate([Score(num=1), Score()], ["a", "b"], order=["b", "z", "a"])
    np.testing.assert_array_equal(num, [0, np.nan, 1])
    np.testing.assert_array_equal(den, [1, np.nan, 1])
    assert aggregate([])[0].shape == (0,)
    assert np.isnan(aggregate([], [], order=["a"])[0]).all()
    with pytest.raises(ValueError, match="longer"):
        aggregate([Score()], [])


@pytest.mark.parametrize("module", [name for _, name, _ in pkgutil.iter_modules(tuneworthy.graders.__path__)])
def test_examples_in_docstrings_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"tuneworthy.graders.{module}")).failed == 0


def test_every_section_says_what_it_judges() -> None:
    assert all(section.__doc__ for section in SECTIONS.values())
