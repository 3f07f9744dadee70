"""Rewordings of one source become one group; other questions of one intent do not."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.real_data import REAL_DATA, needs_real_data

from tuneworthy.cases.near_duplicates import group_near_duplicates
from tuneworthy.cases.normalize import normalise, words
from tuneworthy.stats.ratios import effective_groups
from tuneworthy.types import Case

DATA = REAL_DATA / "banking77" / "train.csv"
WRAPPERS = ("hi there, {} thanks in advance", "could you please tell me this: {}", "I have a question. {}", "{} please")
REWORD: dict[str, Callable[[list[str], random.Random], str]] = {
    "wrapped": lambda text, rng: rng.choice(WRAPPERS).format(" ".join(text)),
    "turned": lambda text, rng: " ".join([*text[len(text) // 2 :], *text[: len(text) // 2]]),
    "shuffled": lambda text, rng: " ".join(rng.sample(text, len(text))),
    "shortened": lambda text, rng: " ".join(text[:1] + text[2:]),
}


def cases(*rows: tuple[str, str], group: str | None = None) -> list[Case]:
    return [Case(id=f"c{i:03d}", input=text, expected=answer, group=group) for i, (text, answer) in enumerate(rows)]


def sources(found: list[Case] | tuple[Case, ...]) -> list[str]:
    return [case.source for case in found]


def bank(n: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return questions of real customers, each once, with their intents."""
    with DATA.open(encoding="utf-8") as file:
        rows = {normalise(row["text"]): (row["text"], row["category"]) for row in csv.DictReader(file)}
    return random.Random(seed).sample([*rows.values()], n)


@needs_real_data
@pytest.mark.parametrize("how", [*REWORD])
def test_forty_sources_reworded_count_as_forty(how: str) -> None:
    rng = random.Random(2)
    rows = [row for row in bank(400) if len(words(row[0])) >= 6][:40]
    reworded = [(REWORD[how](text.split(), rng), label) for text, label in rows for _ in range(4)]
    found, n_near = group_near_duplicates(cases(*rows, *reworded))
    assert effective_groups(sources(found)) == pytest.approx(40, abs=3)
    assert n_near >= 190


@needs_real_data
def test_questions_of_one_intent_stay_apart() -> None:
    found, _ = group_near_duplicates(cases(*bank(200)))
    assert effective_groups(sources(found)) > 0.85 * 200
    intent = [(text, "card_arrival") for text, label in bank(3000) if label == "card_arrival"]
    apart, _ = group_near_duplicates(cases(*intent))
    assert len(set(sources(apart))) > 0.5 * len(intent)


def test_what_every_case_shares_joins_none() -> None:
    template = "Classify the following message of a customer into one of the categories and answer with its name only: "
    names = ["card", "refund", "transfer", "pin", "rate", "limit", "fee", "app", "cheque", "account"]
    found, n_near = group_near_duplicates(cases(*((f"{template}{one} lost{one} new{one}", "x") for one in names)))
    assert n_near == 0 and len(set(sources(found))) == 10


def test_numbers_are_what_tells_sums_apart() -> None:
    sums = [(f"What is {a} plus {a * 7 + 3}?", str(8 * a + 3)) for a in range(11, 71)]
    found, n_near = group_near_duplicates(cases(*sums))
    assert n_near == 0 and effective_groups(sources(found)) == 60


def test_declared_groups_and_rewordings_are_united() -> None:
    rows = [(f"{word} one two three {word}x {word}y", "a") for word in ("amber", "bacon", "coral", "daisy")]
    some = cases(*rows, ("three two amber one ambery amberx", "a"))
    some[0] = replace(some[0], group="first")
    some[1] = replace(some[1], group="first")
    found, n_near = group_near_duplicates(some)
    assert sources(found) == ["first", "first", "#c002", "#c003", "first"]
    assert n_near == 3


def test_names_of_groups_do_not_hang_on_the_order_of_the_file() -> None:
    rows = [("how do I activate my new card today", "a"), ("today how do I activate my new card", "a"), ("other", "b")]
    some = cases(*rows)
    one, other = group_near_duplicates(some)[0], group_near_duplicates(some[::-1])[0]
    assert {case.id: case.group for case in one} == {case.id: case.group for case in other}


def test_groups_that_were_judged_earlier_are_joined_with_declared_groups_and_no_copy_is_searched() -> None:
    text = "how do I activate my new card today"
    some = cases((text, "a"), (f"{text} please", "a"), ("other", "b"), ("another", "b"))
    first, n_first = group_near_duplicates(some)
    judged = {case.id: case.group for case in first if case.group}
    assert n_first == len(judged) == 2 and group_near_duplicates(some, {}) == (tuple(some), 0)
    assert group_near_duplicates([replace(case, expected=case.id) for case in some], judged)[1] == 2
    found, _ = group_near_duplicates(
        [replace(case, group=group) for case, group in zip(some, "gyg", strict=False)], judged
    )
    assert [case.group for case in found] == ["g", "g", "g"]


@pytest.mark.parametrize("texts", [[], ["one"], ["", ""], ["?!", "?!"]])
def test_few_and_empty_texts_are_no_fault(texts: list[str]) -> None:
    assert len(group_near_duplicates(cases(*((text, "a") for text in texts)))[0]) == len(texts)
