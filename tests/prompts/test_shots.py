"""Which examples stand in a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tuneworthy.errors import UserError
from tuneworthy.prompts import shots
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


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of the topic of a question: its last word."""
    topics = {"lend": (1.0, 0.0), "borrow": (1.0, 0.0), "card": (0.0, 1.0), "plastic": (0.0, 1.0)}
    return np.array([topics[text.split()[-1]] for text in texts], dtype=np.float32)


TOPICS = [
    example(f"{verb} {n} {topic}", answer)
    for n, verb in enumerate(["please show", "how does it", "can you", "tell me about"])
    for topic, answer in (("lend", "loan"), ("borrow", "loan"), ("card", "card"), ("plastic", "card"))
]


def test_the_nearest_by_meaning_are_shown_where_words_find_the_same_answer_less_often() -> None:
    pool, case = ShotPool(TOPICS, vectors, "e"), Case(id="c", input="please show 0 borrow")
    chosen = pool.per_case(6)
    assert chosen.mode == "by_meaning"
    assert {row.answer for row in pool.select(chosen, [case])["c"]} == {"loan"}
    by_words = ShotPool(TOPICS).per_case(6)
    assert by_words.mode == "per_case" and by_words.pool_hash != chosen.pool_hash
    assert {row.answer for row in pool.select(by_words, [case])["c"]} == {"loan", "card"}


def test_words_stay_where_meaning_finds_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    worded = [example(f"question {n} of {word}", word) for n in range(4) for word in ("lend", "card")]
    assert ShotPool(worded, vectors, "e").per_case(6).mode == "per_case"
    monkeypatch.setattr(shots, "MAX_ENCODED", 100)
    assert ShotPool(TOPICS, vectors, "e").per_case(6).mode == "per_case"


def test_a_choice_by_meaning_needs_its_encoder() -> None:
    chosen = ShotPool(TOPICS, vectors, "e").per_case(2)
    with pytest.raises(UserError, match="not on this machine"):
        ShotPool(TOPICS).select(chosen, [])
    with pytest.raises(UserError, match="have changed"):
        ShotPool(TOPICS, vectors, "another").select(chosen, [])


def test_an_example_of_its_own_source_says_nothing_of_the_choice() -> None:
    rows = [replace(example(f"question {n}", "ab"[n % 2]), group="ab"[n % 2]) for n in range(2 * shots.SPARE + 4)]
    by_source = np.eye(2, dtype=np.float32)
    pool = ShotPool(rows, lambda texts: by_source[[int(text.split()[-1]) % 2 for text in texts]], "e")
    assert pool.per_case(2).mode == "per_case"


def test_questions_without_words_are_shown_in_their_order() -> None:
    rows = [example(sign, sign) for sign in "+-*"]
    pool = ShotPool(rows, lambda texts: np.eye(3, dtype=np.float32)[["+-*".index(text) for text in texts]], "e")
    assert len(pool.select(pool.per_case(2), [Case(id="c", input="?")])["c"]) == 2


def test_a_case_gets_all_its_shots_from_other_sources() -> None:
    rows = [replace(row, group="s" if n < 3 else str(n)) for n, row in enumerate(ROWS)]
    chosen = ShotPool(rows).select(ShotPool(rows).per_case(2), [Case(id="c", input="where is my card", group="s")])["c"]
    assert len(chosen) == 2 and "s" not in {row.group for row in chosen}
