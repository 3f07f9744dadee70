"""Who taught, in a row, in a set of rows, and for the gate `teacher_terms`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.dataset.check_rows import row
from tests.dataset.taught import FIRST, SECOND, answered, teacher
from tuneworthy.dataset import CheckContext, data_checks
from tuneworthy.dataset.checks.teachers import TeacherMix, teacher_drift
from tuneworthy.dataset.distill.teacher import describe_teacher, pin, teachers_of, terms_of
from tuneworthy.dataset.records import TeacherPin
from tuneworthy.types import Variant

VARIANT = Variant(name="v", model="m", model_identity={"provider": "openai", "model": "gpt-x"}, system="S", user="U")


def told(variant: Variant = VARIANT, **more: Any) -> TeacherPin:
    return describe_teacher(variant, hosted=True, allows_training=True, terms=None, **more)


def test_a_pin_changes_with_model_prompt_and_parameters_and_with_no_name_or_day() -> None:
    same = told(replace(VARIANT, name="other", notes=("n",)))
    assert pin(replace(told(), date=FIRST)) == pin(replace(same, date=SECOND))
    for other in (
        replace(VARIANT, system="S2"),
        replace(VARIANT, user="U2"),
        replace(VARIANT, model_identity={"provider": "openai", "model": "gpt-y"}),
        replace(VARIANT, decoding={"temperature": 1.0}),
        replace(VARIANT, max_tokens=9),
        replace(VARIANT, stop=("x",)),
    ):
        assert pin(told(other)) != pin(told())
    assert pin(replace(told(), served="gpt-x-2026-11")) != pin(told())
    assert (told().model, told().parameters) == ("gpt-x", {"max_tokens": 256})


def test_a_recipe_names_each_teacher_with_its_rows_and_days() -> None:
    rows = [*answered(0, 3), *answered(3, 2, day=SECOND), *answered(5, 1, model="big-2"), row("By a person?")]
    first, second = teachers_of(rows)
    assert (first.n_rows, first.first, first.last, first.model) == (5, FIRST, SECOND, "big-1")
    assert (second.n_rows, second.model) == (1, "big-2")
    assert first.pin != second.pin
    assert teachers_of(reversed(rows)) == teachers_of(rows)
    assert teachers_of([row("By a person?")]) == []


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ((True,), "pass"),
        ((True, False), "fail"),
        ((True, None), "unknown"),
        ((None, False), "fail"),
        ((), "not_applicable"),
    ],
)
def test_the_terms_of_all_teachers_decide(answers: tuple[bool | None, ...], status: str) -> None:
    rows = [one for n, allows in enumerate(answers) for one in answered(n, 1, model=f"m{n}", allows_training=allows)]
    found, words = terms_of(teachers_of(rows))
    assert found == status
    assert words
    if status == "pass":
        assert "contract of May" in words


@pytest.mark.parametrize(
    ("junk", "n"),
    [([1], 2), (7, 2), ("", 2), ({}, 2), ({"model": None, "parameters": [1]}, 3), ({"date": 5, "model": {}}, 3)],
)
def test_a_teacher_that_is_told_in_another_way_is_counted_or_none_and_breaks_nothing(junk: Any, n: int) -> None:
    rows = [row("Who was it?", teacher=junk), row("Was it you?", teacher="gpt-x"), *answered(0, 2)]
    (mixed,) = TeacherMix()(rows, CheckContext())
    assert mixed.message.startswith(f"The rows come from {n} teachers: big-1, prompt p1 (n = 2); ")
    assert [one.code for one in teacher_drift(rows, CheckContext())] == ["too_few_answers"]
    teachers = teachers_of(rows)
    assert sorted(one.n_rows for one in teachers) == [1] * (n - 1) + [2]
    assert terms_of(teachers)[0] == "unknown"


def test_a_mix_that_is_asked_for_is_told_and_fails_no_gate() -> None:
    rows = [*answered(0, 3), *answered(3, 3, model="big-2")]
    (finding,) = TeacherMix(allowed=True)(rows, CheckContext())
    assert finding.code == "teachers_mixed_as_asked"
    assert finding.code not in data_checks()["teacher_mix"].gate
    assert "big-1, prompt p1 (n = 3)" in finding.message
    assert teacher()["model"] == "big-1"
