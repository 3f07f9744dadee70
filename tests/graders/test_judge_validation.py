"""Validation: every canary is caught with a judge that it fools, people's verdicts tell the rest."""

from __future__ import annotations

import asyncio
from importlib.resources import files

import orjson
import pytest
from judge_scripts import Rule, ScriptedAsker, always_good, fooled_by, noisy, same_as_reference

from tuneworthy.config.graders import Judge
from tuneworthy.graders.base import GradingContext
from tuneworthy.graders.judge import JudgeGrader
from tuneworthy.graders.validate import JudgedAnswer, JudgeValidation, canaries, validate_judge
from tuneworthy.types import Case

CASES = [Case(id=str(i), input=f"What is {i} times two?", expected=str(2 * i)) for i in range(1, 9)]
PLANTED = canaries(CASES)


def validated(rule: Rule, examined: list[JudgedAnswer] | None = None, **section: object) -> JudgeValidation:
    config = Judge.model_validate({"type": "judge", "model": "judge", "rubric": "It is right.", **section})
    judge = JudgeGrader(config, GradingContext(asker=ScriptedAsker(rule)))
    return asyncio.run(validate_judge(judge, CASES, examined or []))


def people(n: int, base_rate: float = 0.7) -> list[JudgedAnswer]:
    """Right answers for `base_rate` of `n`, wrong ones for the rest, each judged as it is."""
    answers = []
    for i in range(n):
        good = i < round(n * base_rate)
        case = Case(id=f"p{i}", input=f"What is {i} plus one?", expected=str(i + 1))
        answers.append(JudgedAnswer(case=case, answer=str(i + 1) if good else f"wrong {i}", good=good))
    return answers


def test_there_are_thirty_canaries_of_every_kind() -> None:
    rows = orjson.loads(files("tuneworthy.graders").joinpath("canaries.json").read_bytes())["canaries"]
    assert len(rows) == len(PLANTED) == len({one.name for one in PLANTED}) == 30
    assert len({one.answer for one in PLANTED}) == 30
    assert {one.kind for one in PLANTED} == {"nothing", "opener", "injection", "refusal", "fluent"}
    assert {"", ":", "Thought process:"} <= {one.answer for one in PLANTED}


@pytest.mark.parametrize("canary", PLANTED, ids=lambda one: one.name)
def test_a_judge_that_one_canary_fools_fails_and_the_canary_is_named(canary: object) -> None:
    found = validated(fooled_by(canary.answer), people(60))  # type: ignore[attr-defined]
    assert found.status == "fail"
    assert list(found.fooled) == [canary.name]  # type: ignore[attr-defined]
    assert canary.name in found.reasons[0]  # type: ignore[attr-defined]


def test_a_sound_judge_passes() -> None:
    found = validated(same_as_reference, people(60))
    assert found.status == "pass"
    assert (found.fooled, found.reasons, found.warnings, found.n_unread) == ((), (), (), 0)
    assert found.confusion.kappa == 1
    assert "30 of 30 worthless answers caught" in str(found)
    orjson.dumps(found.to_dict())


def test_a_sound_judge_without_fifty_verdicts_of_people_is_unknown() -> None:
    assert validated(same_as_reference).status == "unknown"
    found = validated(same_as_reference, people(49))
    assert found.status == "unknown"
    assert "rated 49 answers, but at least 50" in found.reasons[0]
    assert validated(same_as_reference, people(50)).status == "pass"


def test_always_saying_good_agrees_with_the_base_rate_and_fails() -> None:
    found = validated(always_good, people(100, 0.9))
    assert found.status == "fail"
    assert len(found.fooled) == 30
    assert found.confusion.agreement == pytest.approx(0.9)
    assert found.confusion.kappa == 0


def test_a_judge_that_calls_wrong_answers_good_fails_though_no_canary_fools_it() -> None:
    found = validated(noisy(sensitivity=0.2, specificity=0.1), people(200, 0.5))
    assert found.fooled == ()
    assert found.status == "fail"
    assert "at least as often as good answers" in found.reasons[0]


def test_a_judge_that_is_not_shown_to_tell_good_from_bad_is_warned_of() -> None:
    found = validated(same_as_reference, people(60, 1.0))
    assert found.status == "pass"
    assert "(60 good, 0 bad) do not show that the judge can tell good answers from bad ones" in found.warnings[0]


def test_sensitivity_and_specificity_of_a_known_judge_lie_in_their_intervals() -> None:
    found = validated(noisy(sensitivity=0.9, specificity=0.75), people(400, 0.6))
    low, high = found.confusion.sensitivity_interval()
    assert low < 0.9 < high
    low, high = found.confusion.specificity_interval()
    assert low < 0.75 < high
    assert found.confusion.n == 400


def test_missing_verdicts_are_counted_and_too_many_fail() -> None:
    found = validated(lambda data: "?" if "wrong" in data["answer"] else same_as_reference(data), people(100, 0.9))
    assert (found.status, found.n_unread, found.n_asked) == ("fail", 10, 130)
    assert "10 of 130 ratings are missing" in found.reasons[0]


def test_a_judge_of_form_is_shown_only_what_is_bad_in_form() -> None:
    shown = canaries(CASES, needs_expected=False)
    assert len(shown) == 25
    assert {one.kind for one in shown} == {"nothing", "opener", "injection"}


def test_a_canary_is_never_the_right_answer() -> None:
    echo = [Case(id="1", input="good", expected="Good"), Case(id="2", input="null", expected=["null", "none"])]
    for one in canaries(echo):
        assert one.answer.casefold() not in {"good"} or one.case.expected != "Good"
        assert not (one.answer == "null" and "null" in one.case.expected)


def test_canaries_have_questions_of_their_own_where_the_project_has_none() -> None:
    assert len(canaries()) == 30
    one_answer = [Case(id=str(i), input=f"{i}?", expected="yes") for i in range(5)]
    assert "yes" not in {one.answer for one in canaries(one_answer)}
