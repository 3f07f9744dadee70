"""Regression sets: the general one judges what it should, and "no worse" is shown or said to be unknown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.graders.apply import grade_all
from tuneworthy.regressions.compare import RegressionResult, regression_result
from tuneworthy.regressions.sets import general_set, regression_sets
from tuneworthy.types import Response, Trace

DECLINED = ["I'm sorry, but I can't help with that.", "I don't know.", "I do not have access to that."]
RIGHT = [
    "The capital of France is Paris.", "Tokyo", "It is Mars.", "The symbol is Au.", "H2O", "William Shakespeare did.",
    "The Atlantic Ocean", "There are 7 days.", "seven", "Jupiter is the largest.", "Egypt", "Carbon dioxide (CO2)",
    "Cold.", "Green", "Ice", "Eight legs", "Portuguese", "The Sun", "The heart", "chien", "A kitten", "Africa",
    "2 + 3 = 5.", "15", "10 - 4 is 6", "42", "6 × 7 = 42", "81.", "25", "7", "15", "144", "You have 7 apples.",
    "30 eggs", "50", "125.", "Banana.", "CAT", "Yes.", "No", "1 2 3 4 5", "The door is open.", "Apple", "horse",
    "Saturday", '```json\n{"name": "Ada"}\n```', "red, green, blue", "Positive", "negative", "Wednesday",
    *DECLINED * 4, *DECLINED[:2],
]  # fmt: skip
WRONG = [
    "London", "Kyoto", "Venus", "Ag", "CO2", "Dickens", "Pacific", "8", "6", "Saturn", "Peru", "oxygen", "warm",
    "purple", "steam", "6", "Spanish", "moon", "lung", "gato", "puppy", "Asia", "4", "16", "7.6", "420", "43", "18",
    "250", "8", "150", "1440", "17", "300", "501", "12.5", "I like bananas a lot.", "cat", "Yes, it is", "maybe",
    "1,2,3,4,5", "The door is closed.", "chair", "paper", "Monday", '{"name": "Bob"}', "red", "negative", "positive",
    "Thursday", *["Sure, first you take the parts."] * 14,
]  # fmt: skip


def scores(answers: list[str]) -> list[float | None]:
    general = general_set()
    traces = [
        Trace(case_id=case.id, variant_id="v", repeat=0, messages=(), response=Response(text=text))
        for case, text in zip(general.cases, answers, strict=True)
    ]
    return [one.value for one in asyncio.run(grade_all(general.grader, traces, general.cases))]


def test_the_general_set_takes_right_answers_and_no_wrong_ones() -> None:
    assert scores(RIGHT) == [1.0] * 64
    assert scores(WRONG) == [0.0] * 64


def test_the_general_set_has_four_kinds_of_questions_and_none_twice() -> None:
    cases = general_set().cases
    assert {tag for case in cases for tag in case.tags} == {"knowledge", "arithmetic", "instruction", "refusal"}
    assert len({case.text for case in cases}) == len(cases) == 64


def compared(base: list[float], tuned: list[float], margin: float = 0.1) -> RegressionResult:
    ones = np.ones(len(base))
    return regression_result("set", "hash", (np.array(base), ones), (np.array(tuned), ones), margin)


def test_no_worse_must_be_shown() -> None:
    same = [1.0] * 40 + [0.0] * 24
    found = compared(same, same)
    assert (found.status, found.delta, found.needs) == ("pass", 0.0, None) and found.lower > -0.1  # type: ignore[operator]
    assert compared(same, same, margin=0.01).status == "unknown"
    assert compared(same[:10], same[:10]).status == "unknown"


def test_a_set_that_is_too_small_says_how_many_cases_it_needs_and_so_many_show_it() -> None:
    base, tuned = [1.0, 1.0, 1.0, 0.0] * 8, [1.0, 1.0, 0.0, 1.0] * 8
    found = compared(base, tuned)
    assert found.status == "unknown" and found.needs is not None and found.needs > 32
    more = -(-found.needs // 4) * 2
    assert compared(base[:4] * more, tuned[:4] * more).status == "pass"


def test_a_loss_that_is_shown_fails() -> None:
    found = compared([1.0] * 64, [1.0] * 40 + [0.0] * 24)
    assert (found.status, found.needs) == ("fail", None) and "worse" in found.detail


def test_a_loss_that_points_down_without_being_shown_is_not_promised_a_number_of_cases() -> None:
    found = compared([1.0] * 64, [1.0] * 62 + [0.0] * 2, margin=0.05)
    assert found.status == "unknown" and ("cases would be needed" in found.detail) == ((found.needs or 0) > 64)


def test_a_set_with_holes_shows_nothing() -> None:
    holes = [float("nan")] * 2 + [1.0] * 62
    found = compared(holes, [1.0] * 64)
    assert (found.status, found.unscored) == ("unknown", 2)


def test_a_set_that_is_too_small_shows_nothing_even_if_every_case_is_scored() -> None:
    found = compared([1.0] * 5, [1.0] * 5)
    assert (found.status, found.unscored) == ("unknown", 0) and "too few cases" in found.detail


GUARD = '[[regressions]]\nname = "{name}"\npath = "{path}"\n[[regressions.graders]]\ntype = "exact"\n'


@pytest.mark.parametrize(
    ("extra", "rows", "words"),
    [
        ({"name": "general", "path": "g.jsonl"}, '{"input": "a", "expected": "b"}\n', "two sets have the name"),
        ({"name": "own", "path": "g.jsonl"}, '{"input": "a"}\n', "Cases without an expected answer in g.jsonl: 1"),
        ({"name": "own", "path": "none.jsonl"}, "", "none.jsonl"),
    ],
)
def test_a_regression_set_that_cannot_be_used_is_told(
    tmp_path: Path, extra: dict[str, Any], rows: str, words: str
) -> None:
    root = write_simulation(tmp_path / "world", {"weak": '"red"'}, extra=GUARD.format(**extra))
    (root / "g.jsonl").write_text(rows)
    with pytest.raises(UserError, match=words):
        regression_sets(load(root))


def test_a_changed_case_changes_the_hash_of_a_set(tmp_path: Path) -> None:
    root = write_simulation(tmp_path / "world", {"weak": '"red"'}, extra=GUARD.format(name="own", path="g.jsonl"))
    (root / "g.jsonl").write_text('{"input": "a", "expected": "b"}\n')
    before = regression_sets(load(root))[0].hash
    (root / "g.jsonl").write_text('{"input": "a", "expected": "c"}\n')
    assert regression_sets(load(root))[0].hash != before
