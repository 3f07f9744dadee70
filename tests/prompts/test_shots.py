"""Which examples stand in a prompt."""

from __future__ import annotations

import pytest

from tuneworthy.errors import UserError
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.types import Case, Example, content_hash


def example(question: str, answer: str) -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(id=content_hash(list(messages)), messages=messages)


ROWS = [
    example(f"where is my {thing} now", "ab"[n % 2])
    for n, thing in enumerate(["card", "cash", "pin", "loan", "code", "key"])
]


def test_fixed_shots_hold_every_answer_and_depend_on_the_seed_alone() -> None:
    pool, turned = ShotPool(ROWS), ShotPool(ROWS[::-1])
    shots = pool.fixed(4, seed=3)
    assert shots == turned.fixed(4, seed=3)
    assert {pool.examples[pool.places[one]].answer for one in shots.ids} == {"a", "b"}
    assert len(pool.fixed(99, seed=3).ids) == len(ROWS)


def test_the_nearest_example_stands_last() -> None:
    pool = ShotPool(ROWS)
    case = Case(id="c", input="my loan please")
    assert pool.select(pool.per_case(3), [case])["c"][-1].question == "where is my loan now"


def test_shots_of_examples_that_are_gone_are_refused() -> None:
    pool = ShotPool(ROWS)
    with pytest.raises(UserError, match="no longer in the project's examples"):
        ShotPool(ROWS[:1]).select(pool.fixed(3, seed=1), [])
    with pytest.raises(UserError, match="few-shot examples, have changed"):
        ShotPool(ROWS[:1]).select(pool.per_case(3), [])
