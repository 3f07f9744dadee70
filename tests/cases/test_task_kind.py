"""The kind of a task is read off its expected answers."""

from __future__ import annotations

from typing import Any

import pytest
from rows import case, example

from tuneworthy.cases import guess_kind, labels_of
from tuneworthy.types import UNLABELLED


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["yes", "no", "yes", "no", None], "label"),
        ([True, False, True, True], "label"),
        (["card_arrival"] * 5 + ["lost_card"] * 5, "label"),
        ([1, 2, 3, 1, 2, 3, 5, 5], "label"),
        ([str(n % 40) for n in range(200)], "short_answer"),
        ([f"city {n}" for n in range(30)], "short_answer"),
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
