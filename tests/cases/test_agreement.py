"""Whether a row gives the answer that a case expects, however it is written."""

from __future__ import annotations

from typing import Any

import pytest
from rows import case, example

from tuneworthy.cases import find_overlaps
from tuneworthy.cases.agreement import ExpectedAnswer, padded_words
from tuneworthy.cases.dataset import search

LABELS = {padded_words(label) for label in ("withdraw_limit", "card", "card lost")}


@pytest.mark.parametrize(
    ("expected", "answer", "agreement"),
    [
        ({"a": 1}, '```json\n{"a": 1}\n```', "same"),
        ({"a": 1}, '{"a": 1.0}', "same"),
        ({"a": 1}, 'Here it is: {"a": 1}. Anything else?', "same"),
        ('{"a": [1, 2]}', 'It is {"a": [1.0, 2]}', "same"),
        ([{"a": 1}], 'All of them: [{"a": 1}]', "same"),
        ({"a": 1}, '```json\n{"a": 2}\n```', "other"),
        ({"a": 1}, '{"a": 1.5}', "other"),
        ({"a": 1}, '{"a": 1} or {"a": 2}', "other"),
        ({"a": 1}, "no JSON", "other"),
        ("withdraw_limit", "Label: withdraw_limit (sure)", "same"),
        ("card lost", "The label is card lost.", "same"),
        ("card", "The label is card lost.", "other"),
        ("card", "withdraw_limit or card", "other"),
        ("withdraw_limit", "Label: card", "other"),
        ("58", "-58", "other"),
        ("1.5", "15", "other"),
        ("C", "C#", "other"),
        ("5", "that is, after the whole sum is done, a total of 1.5", "unknown"),
        ("-58", "that is, after the whole sum is done, a total of -58", "same"),
    ],
)
def test_an_answer_agrees_however_it_is_formatted(expected: Any, answer: str, agreement: str) -> None:
    assert ExpectedAnswer(expected, LABELS).agreement(example("?", answer)) == agreement


def test_a_near_copy_with_the_answer_in_other_words_overlaps() -> None:
    questions = ("how much cash can I take out", "where did my new card go", "is there a fee for this")
    cases = [case(f"{text} {word}", label) for text, label in zip(questions, ("limit", "card", "fee"), strict=True)
             for word in ("today", "please", "then", "now")]  # fmt: skip
    near = example("how much cash could I take out today", "Label: limit (sure)")
    other = example("how much cash could I take out today", "Label: fee (sure)")
    rest = [example(f"question {i} of others", "card") for i in range(40)]
    assert [leak.row for leak in find_overlaps([near, other, *rest], cases).dropped] == [0]


ADVICE = "Let the {} cool down, take out the grates and soak them for {} minutes in warm water with a little soap."
TOLD = "Let the {} cool down first, then take the grates out and soak them for {} minutes in warm soap water."


@pytest.mark.parametrize(
    ("question", "answer", "drops"),
    [
        ("what gets the grease off my Maple grill", ADVICE.format("Maple", 20), False),
        ("What gets the grease off my maple grill", TOLD.format("Maple", 15), True),  # no name in capitals
        ("what gets the grease off my Maple grill", ADVICE.format("Hazel", 15), False),  # another name
        ("what gets the grease off a Hazel grill", ADVICE.format("Hazel", 20), True),  # no name is another one
        ("what takes the grease off my Hazel grill", TOLD.format("Hazel", 15), True),
        ("what gets the Grease off my grill", TOLD.format("grill", 15), True),  # it leaves a name out
    ],
)
def test_questions_with_other_names_are_other_questions(question: str, answer: str, drops: bool) -> None:
    cases = [case("what gets the grease off my Hazel grill", ADVICE.format("Hazel", 15))]
    rest = [
        example(f"question {i} of others", f"{i} has an answer of its own, longer than ten words are")
        for i in range(40)
    ]
    (near,) = search([example(question, answer), *rest], cases)
    assert near.certain is drops


def test_long_answers_with_the_numbers_of_their_question_are_of_another_question() -> None:
    asked = "Tom keeps {} cards in each of {} boxes. How many cards are there in all the boxes?"
    solved = "Each of the {1} boxes holds {0} cards, so Tom has {2} cards in all. The total is {2}."
    cases = [case(asked.format(12, 7), solved.format(12, 7, 84))]
    other = example(asked.format(31, 5), solved.format(31, 5, 155))
    copy = example(asked.format(12, 7).replace("there", "now"), solved.format(12, 7, 84))
    assert [hit.certain for hit in search([other, copy], cases)] == [False, True]
