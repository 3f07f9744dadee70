"""Splits: honest, balanced, stored; and a later run sees what was edited."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import case, example

from tuneworthy.cases import Changes, Dataset, Split, changes, dataset, example_case, guess_kind, make_split
from tuneworthy.cases.splits import StoredSplit
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.shapes import parsed
from tuneworthy.types import Case, Example

LABELS = ("alpha", "beta", "gamma")


def some_cases(n: int, groups: int = 0) -> list[Case]:
    made = []
    for i in range(n):
        group = f"g{i % groups}" if groups else None
        made.append(case(f"question {i}", LABELS[i % 7 % 3], group=group))
    return made


def some_examples(n: int, groups: int = 0) -> list[Example]:
    return [
        example(f"row {i}", LABELS[i % 7 % 3], group=f"e{i % groups}" if groups else None, system="s") for i in range(n)
    ]


def test_with_200_examples_dev_is_a_slice_of_them_and_every_case_is_test() -> None:
    split = make_split(some_cases(60), some_examples(400), seed=7, dev_size=120)
    assert split.origin == "examples"
    assert len(split.test) == 60
    assert len(split.dev) == 120
    assert len(split.shots) == 280
    assert split.explore
    assert split.dev[0].input is not None
    assert {item.input for item in split.dev}.isdisjoint(row.question for row in split.shots)


def test_dev_is_at_most_30_percent_of_the_examples() -> None:
    assert len(make_split(some_cases(60), some_examples(200), seed=7, dev_size=120).dev) == 60


def test_with_199_examples_the_cases_are_split_in_halves() -> None:
    split = make_split(some_cases(201), some_examples(199), seed=7, dev_size=120)
    assert (split.origin, len(split.test), len(split.dev), len(split.shots)) == ("cases", 101, 100, 199)


def test_test_has_at_least_50_cases_and_a_small_dev_explores_nothing() -> None:
    split = make_split(some_cases(70), seed=7, dev_size=120)
    assert (len(split.test), len(split.dev), split.explore) == (50, 20, False)
    assert any("at least 50 needed" in reason for reason in split.reasons)
    assert make_split(some_cases(100), seed=7, dev_size=120).explore


def test_an_empty_side_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"50 labelled cases .* are too few"):
        make_split(some_cases(50), some_examples(100), seed=1, dev_size=10)
    with pytest.raises(UserError, match=r"No case is labelled \(n = 1\)"):
        make_split([case("a")], seed=1, dev_size=10)
    with pytest.raises(UserError, match="cases cannot be split"):
        make_split(some_cases(80, groups=1), seed=1, dev_size=10)
    with pytest.raises(UserError, match="No dev cases could be drawn from 300 examples"):
        make_split(some_cases(80), some_examples(300, groups=1), seed=1, dev_size=50)


def test_unlabelled_cases_are_left_out_and_counted() -> None:
    split = make_split([*some_cases(120), case("new")], seed=1, dev_size=10)
    assert split.counts["unlabelled_cases"] == 1
    assert all(item.labelled for item in (*split.dev, *split.test))


def test_rows_that_graders_cannot_score_do_not_count() -> None:
    objects = [case(f"q {i}", {"n": i}) for i in range(120)]
    rows = [example(f"r {i}", "{}" if i < 199 else "no JSON") for i in range(300)]
    assert make_split(objects, rows, seed=1, dev_size=50).origin == "cases"
    split = make_split(objects, [*rows, example("r", '{"n": 1}')], seed=1, dev_size=50)
    assert split.origin == "examples"
    assert all(isinstance(item.expected, dict) for item in split.dev)


def test_a_question_with_two_answers_is_never_dev() -> None:
    rows = [*some_examples(300), *(replace(row, id=row.id + "x") for row in [example("row 1", "gamma")])]
    for seed in range(5):
        split = make_split(some_cases(60), rows, seed=seed, dev_size=90)
        assert "row 1" not in {item.input for item in split.dev}
        assert len({item.id for item in split.dev}) == len(split.dev)


@st.composite
def inputs(draw: Any) -> tuple[list[Case], list[Example], int, int]:
    cases = some_cases(draw(st.integers(101, 160)), draw(st.sampled_from([0, 0, 30, 60])))
    examples = some_examples(draw(st.sampled_from([0, 50, 210, 300])), draw(st.sampled_from([0, 80])))
    return cases, examples, draw(st.integers(0, 2**31)), draw(st.integers(10, 150))


@settings(max_examples=60, deadline=None)
@given(inputs(), st.randoms())
def test_a_split_is_disjoint_grouped_and_independent_of_the_order_of_the_file(given_: Any, rng: random.Random) -> None:
    cases, examples, seed, dev_size = given_
    split = make_split(cases, examples, seed=seed, dev_size=dev_size)
    dev, test, shots = split.dev, split.test, split.shots
    assert {item.id for item in dev}.isdisjoint(item.id for item in test)
    assert {item.group for item in dev if item.group}.isdisjoint(item.group for item in test if item.group)
    assert {item.group for item in dev if item.group}.isdisjoint(row.group for row in shots if row.group)
    assert {item.input for item in dev}.isdisjoint(row.question for row in shots)
    if split.origin == "cases":
        assert len(dev) + len(test) == len(cases)
        assert len(test) >= 50
    else:
        assert len(dev) <= min(dev_size, 0.3 * len(examples))
    shuffled, mixed = list(cases), list(examples)
    rng.shuffle(shuffled)
    rng.shuffle(mixed)
    assert make_split(shuffled, mixed, seed=seed, dev_size=dev_size) == split


@settings(max_examples=60, deadline=None)
@given(st.integers(101, 300), st.sampled_from([0, 250]), st.integers(0, 1000))
def test_every_label_is_within_1_of_its_share(n: int, n_examples: int, seed: int) -> None:
    split = make_split(some_cases(n), some_examples(n_examples), seed=seed, dev_size=40)
    pool = [row.answer for row in some_examples(n_examples)] or [item.expected for item in some_cases(n)]
    share = len(split.dev) / len(pool)
    got = Counter(item.expected for item in split.dev)
    for label, total in Counter(pool).items():
        assert abs(got[label] - share * total) <= 1


def test_an_example_that_shares_a_question_or_a_group_with_the_cases_is_never_dev() -> None:
    rows = [*some_examples(210), *(example(f"QUESTION {i}!", "alpha") for i in range(60))]
    rows += [example(f"of a group {i}", "beta", group=f"g{i % 30}") for i in range(60)]
    split = make_split(some_cases(60, groups=30), rows, seed=1, dev_size=99)
    assert len(split.dev) == 99
    assert all(str(item.input).startswith("row ") for item in split.dev)


def test_another_seed_draws_another_split() -> None:
    drawn = {tuple(item.id for item in make_split(some_cases(120), seed=s, dev_size=9).test) for s in range(5)}
    assert len(drawn) == 5


def test_declining_is_balanced_too() -> None:
    cases = [case(f"question number {i}", None if i % 10 == 0 else f"answer {i}") for i in range(200)]
    split = make_split(cases, seed=3, dev_size=10)
    assert sum(item.expected is None for item in split.test) == 10


def test_a_question_asked_twice_stays_on_one_side() -> None:
    twice = [case(f"Question {i % 100}{'?' * (i // 100)}", f"answer {i}", id=str(i)) for i in range(200)]
    split = make_split(twice, seed=3, dev_size=10)
    dev = {int(item.id) % 100 for item in split.dev}
    assert dev.isdisjoint(int(item.id) % 100 for item in split.test)


def test_an_example_becomes_a_case_by_its_shape() -> None:
    plain = example_case(example("q", "a", system="s"))
    assert plain is not None
    assert (plain.input, plain.messages, plain.expected, plain.id) == ("q", (), "a", Case.make_id("q"))
    turns = [
        {"role": r, "content": c} for r, c in (("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"))
    ]
    long = example_case(Example(id="e", messages=tuple(turns)))
    assert long is not None
    assert (long.input, long.messages, long.expected) == (None, tuple(turns[:3]), "4")
    assert example_case(example("q", "text"), guess_kind([{"a": 1}])) is None
    assert example_case(example("q", " ")) is None


@pytest.mark.parametrize("n_examples", [0, 300])
def test_a_stored_split_comes_back_the_same(n_examples: int) -> None:
    cases, examples = some_cases(120), some_examples(n_examples)
    split = make_split(cases, examples, seed=7, dev_size=30)
    content = orjson.dumps(split.stored())
    stored = parsed(content, StoredSplit, "split.json")
    assert Split.restored(stored, cases[::-1], examples[::-1]) == split
    assert "question 1" not in content.decode()
    assert not changes(stored, cases, examples)


def test_edits_are_told_apart() -> None:
    cases = [replace(item, id=f"c{i}") for i, item in enumerate(some_cases(120))]
    stored = make_split(cases, seed=7, dev_size=30).stored()
    edited = [replace(cases[0], input="other"), replace(cases[1], expected="other"), *cases[3:], case("new", "alpha")]
    assert changes(stored, edited) == Changes((case("new").id,), ("c2",), ("c0",), ("c1",))
    with pytest.raises(UserError, match="stored split uses the case or example c2, which no longer exists"):
        Split.restored(stored, edited)
    kept = Split.restored(stored, [*edited, cases[2]])
    assert {item.expected for item in (*kept.dev, *kept.test) if item.id == "c1"} == {"other"}


def test_a_dev_example_that_is_gone_is_told() -> None:
    cases, examples = some_cases(60), some_examples(300)
    split = make_split(cases, examples, seed=7, dev_size=30)
    gone = split.dev[0]
    left = [row for row in examples if row.question != gone.input]
    assert changes(split.stored(), cases, left).removed == (gone.id,)


def test_overlaps_leave_the_examples_before_the_draw_and_dev_overlaps_after() -> None:
    cases, examples = some_cases(60), some_examples(300)
    words = "please tell me where the parcel that I ordered last week is now"
    planted = [example("QUESTION 3!!", "alpha"), example(f"{words} and why", "beta"), example(f"so {words}", "beta")]
    clean = Dataset(cases=cases, examples=[*examples, *planted], seed=2, dev_size=80)
    assert [overlap.case_id for overlap in clean.contamination.cases.dropped] == [case("question 3").id]
    assert clean.split.counts["overlaps_cases"] == 1
    without = replace(clean, with_shots=False).split
    assert (without.dev, without.test, [*without.shots]) == (clean.split.dev, clean.split.test, [])
    every = [item.input for item in clean.split.dev] + [row.question for row in clean.split.shots]
    assert "QUESTION 3!!" not in every
    near = {item.input for item in clean.split.dev} & {row.question for row in planted}
    if near:
        assert clean.split.counts["overlaps_dev"] == 1
        assert not {row.question for row in clean.split.shots} & {row.question for row in planted}


def test_decisions_about_rows_are_stored_with_the_split_and_made_again_only_for_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, examples = some_cases(60), some_examples(300)
    copy = example("QUESTION 3!!", "alpha")
    first = Dataset(cases=cases, examples=[*examples, copy], seed=2, dev_size=80)
    stored = parsed(orjson.dumps(first.settled()), StoredSplit, "split.json")
    (line,) = first.write_dropped(Folder(tmp_path)).read_text().splitlines()
    assert orjson.loads(line).items() >= {"row": "QUESTION 3!!", "question": "question 3", "reason": "exact"}.items()

    again = replace(first, stored=stored)
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "find_overlaps", None)  # nothing is searched
        assert again.contamination.cases.dropped == first.contamination.cases.dropped
        assert again.split.shots == first.split.shots and again.settled() == stored
    more = replace(again, examples=[*examples, copy, example("question 4", "beta")])
    assert [hit.case_id for hit in more.contamination.cases.dropped] == [case(f"question {i}").id for i in (3, 4)]
    drawn = stored.dev[0].id
    as_case = next(row for row in examples if row.question == next(c.input for c in first.split.dev if c.id == drawn))
    known = replace(again, cases=[*cases, case(as_case.question, "alpha")])
    assert drawn in {one.id for one in known.split.dev}  # a row that was drawn for dev stays there
