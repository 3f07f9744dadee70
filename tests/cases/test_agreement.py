"""Whether a row gives the answer that a case expects, however it is written."""

from __future__ import annotations

from typing import Any

import pytest
from rows import case, example

from tuneworthy.cases import find_overlaps
from tuneworthy.cases.agreement import ExpectedAnswer, padded_words

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
    assert [leak.row for leak in find_overlaps([near, other, *rest], cases).dropped] == [near]
