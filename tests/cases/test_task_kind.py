"""The kind of a task is read off its expected answers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from rows import case, example

from tuneworthy.cases import guess_kind, labels_of
from tuneworthy.cases.task_kind import are_code, are_numbers
from tuneworthy.types import UNLABELLED


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["yes", "no", "yes", "no", None], "label"),
        ([True, False, True, True], "label"),
        (["card_arrival"] * 5 + ["lost_card"] * 5, "label"),
        ([1, 2, 3, 1, 2, 3, 5, 5], "label"),
        ([str(n % 40) for n in range(200)], "short_answer"),
        ([f"{1000 + n % 40:,}" for n in range(200)], "short_answer"),  # a number has a comma
        ([f"city {n}" for n in range(30)], "short_answer"),
        ([f"SELECT a FROM t WHERE id = {n};" for n in range(30)], "free_text"),
        ([["Paris", "paris"], ["Rome"], ["Oslo"]], "short_answer"),
        ([{"a": 1}, {}, {"b": 2}], "json"),
        (['{"a": 1}', '{"a": 2}', "{}"], "json"),
        (["a long answer that goes on and on for more than ten words, really", "b " * 30], "free_text"),
        (
            ["这是一个非常长的回答，没有空格，但是有很多很多很多的字，" * 4],
            "free_text",
        ),
        ([UNLABELLED, None], "free_text"),
        ([], "free_text"),
    ],
)
def test_the_kind_of_answers_is_guessed(values: list[Any], kind: str) -> None:
    guess = guess_kind(values)
    assert guess.name == kind
    assert guess.reason
    assert bool(guess.labels) == (kind == "label")


def test_labels_come_from_cases_and_examples() -> None:
    cases = [case("a", "x"), case("b", None), case("c"), case("d", ["y", "z"])]
    assert labels_of(cases, [example("e", " w ")]) == ("w", "x", "y", "z")


@pytest.mark.parametrize("seed", range(50))
def test_a_task_of_150_labels_stays_one_with_200_cases(seed: int) -> None:
    rng = random.Random(seed)
    assert guess_kind([f"label {rng.randrange(150)}" for _ in range(200)]).name == "label"


@pytest.mark.parametrize(
    ("answer", "is_number"),
    [
        ("18", True), ("-3.5", True), ("1,234,000", True), ("$ 4.20", True), ("12,5 %", True), ("1.5e-3", True),
        ("#### 18", True), ("6 * 3 = 18\nSo it is 18.\n#### 18", True), ("18 apples", False), ("2024-05-01", False),
        ("1.2.3", False), ("00412", False), ("12.05.2024", False), ("the answer is 18", False), ("", False),
    ],
)  # fmt: skip
def test_numbers_are_told_from_codes_and_texts(answer: str, is_number: bool) -> None:
    assert are_numbers([answer]) == is_number


@pytest.mark.parametrize(
    ("answer", "is_code"),
    [
        ("SELECT a FROM t WHERE (id = 4);", True), (r"\b(cat|dog)s?\b", True), ("ls | wc -l > n.txt", True),
        ("find . -name a.txt", True), ("Oslo (Norway)", False),
        ("Dear A,\n\n- it costs $5 [see](http://a.b)" + " and so on" * 30, False),
        ("Your order (number 5) is on its way to you, and should be there by Monday at the latest, we hope.", False),
    ],
)  # fmt: skip
def test_a_formal_language_is_told_from_prose_by_the_density_of_its_marks(answer: str, is_code: bool) -> None:
    assert are_code([answer] * 3) == is_code
    assert not are_code([answer, "text", "more text"])


def test_all_answers_must_be_numbers() -> None:
    assert are_numbers(["1"] * 9) and not are_numbers([*["1"] * 9, "many"]) and not are_numbers([])
