"""`label review`: the claim holds over rebuilds, attempts and early stops, and no verdict is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.killing import killed_at
from tuneworthy.errors import DataError, UserError
from tuneworthy.people import review as module
from tuneworthy.people.review import Review, chance_to_pass, draw, plant, sample_size
from tuneworthy.people.review_log import Ledger, ReviewPlan, content_of, rows_found_bad, state_of
from tuneworthy.stats.acceptance import is_accepted, is_rejected, most_allowed
from tuneworthy.types import Example, content_hash


def row(text: str, **meta: Any) -> Example:
    messages = ({"role": "user", "content": text}, {"role": "assistant", "content": "a"})
    return Example(id="not its content", messages=messages, source="x:1", meta=meta)


def rows_of(texts: Sequence[str]) -> list[Example]:
    return [row(text) for text in texts]


ROWS = rows_of([f"q{i}" for i in range(400)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reviews.jsonl"


@pytest.fixture
def review(path: Path) -> Review:
    return Review(path, "v1", ROWS)


def judge(review: Review, plan: ReviewPlan, bad: Callable[[Example], bool], who: str = "ada", most: int = 10**9) -> int:
    """Give verdicts until nothing waits; return how many."""
    way, n = review.reviewing(who, plan), 0
    while n < most and (item := way.next()) is not None:
        way.give(item.id, good=not bad(item), reason="wrong" if bad(item) else "")
        n += 1
    return n


def none(_: Example) -> bool:
    return False


# --- the claim, over 10,000 datasets ---------------------------------------------------------------------------------

N_DATASETS = 100_000  # so that chance alone does not carry 4.8 % above 5 %


def simulate(
    rng: np.random.Generator,
    n_rows: int,
    max_bad: int,
    *,
    impatient: bool = False,
    attempts: int = 6,
    n_datasets: int = N_DATASETS,
) -> float:
    """Return how many of the lineages ever pass with an error just above the bound, as a share of all.

    Each lineage is reviewed and, when rejected, built again: what was found bad leaves, other bad rows come in, so that
    the version stays just bad enough to be refused; rows that were found good stay. Some people are impatient: they
    give up at the first bad row and build again. Plans and their outcome come from the code under test.
    """
    total_bad = most_allowed(n_rows, 0.95) + 1
    known_good = np.zeros(n_datasets, int)
    passed = np.zeros(n_datasets, bool)
    for attempt in range(1, attempts + 1):
        values, inverse = np.unique(known_good, return_inverse=True)
        sizes = [sample_size(n_rows, int(k), 0, attempt, bound=0.95, max_bad=max_bad) for k in values]
        n = np.array([size or 0 for size in sizes])[inverse]
        left, bad_left = n_rows - known_good, np.minimum(total_bad, n_rows - known_good)
        good, bad = np.zeros(n_datasets, int), np.zeros(n_datasets, int)
        open_ = (n > 0) & ~passed
        for _ in range(n.max()):
            is_bad = rng.random(n_datasets) * left < bad_left
            bad, good = bad + (open_ & is_bad), good + (open_ & ~is_bad)
            left, bad_left = left - 1, bad_left - is_bad
            won = open_ & is_accepted(good, n, max_bad)
            passed |= won
            open_ &= ~(won | is_rejected(bad, max_bad) | (impatient & (bad > 0)))
            if not open_.any():
                break
        known_good = known_good + good
    return float(passed.mean())


@pytest.mark.parametrize(
    ("n_rows", "max_bad", "impatient"),
    [(300, 0, False), (300, 0, True)]
    + [
        pytest.param(n_rows, max_bad, impatient, marks=pytest.mark.slow)
        for n_rows, max_bad in [(300, 2), (2000, 1), (50_000, 0), (50_000, 3)]
        for impatient in (False, True)
    ],
)
def test_a_version_above_the_claimed_error_passes_at_most_5_percent_of_the_time(
    n_rows: int, max_bad: int, impatient: bool
) -> None:
    share = simulate(np.random.default_rng(7), n_rows, max_bad, impatient=impatient)
    assert share <= 0.05
    if not impatient:
        assert share > 0.025  # the bound is used, not missed by far


def test_attempts_that_are_not_counted_break_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "attempt_alpha", lambda attempt, alpha: alpha)
    assert simulate(np.random.default_rng(7), 2000, 0, n_datasets=10_000) > 0.15


def test_stopping_outside_the_plan_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "is_accepted", lambda good, n, max_bad: good >= n // 2)
    assert simulate(np.random.default_rng(7), 2000, 0, n_datasets=10_000) > 0.15


def judge_at_once(review: Review, plan: ReviewPlan, is_bad: Callable[[str], bool]) -> None:
    """Write the verdicts on the whole sample in one go: all that it can find is found."""
    verdict = {"kind": "verdict", "sample": plan.id, "reviewer": "ada", "reason": "x", "time": ""}
    with review.path.open("a") as file:
        file.writelines(json.dumps({**verdict, "row": one, "good": not is_bad(one)}) + "\n" for one in plan.rows)


def lineages(tmp_path: Path, n: int) -> float:
    """Return the share of lineages that pass although more than 5 % of each version is bad, with real files."""
    passed = 0
    tmp_path.mkdir(exist_ok=True)
    for number in range(n):
        path = tmp_path / f"{number}.jsonl"
        texts = [("bad" if i < 51 else "good") + f" {i}" for i in range(1000)]
        for build in range(6):
            rows = rows_of(texts)
            review = Review(path, f"v{build}", rows)
            plan = review.plan(max_bad=0, seed=number)
            bad = {content_of(one) for one in rows if str(one.messages[0]["content"]).startswith("bad")}
            judge_at_once(review, plan, bad.__contains__)
            if review.state().status == "accepted":
                passed += 1
                break
            found = rows_found_bad(path)
            texts = [text for text, one in zip(texts, rows, strict=True) if content_of(one) not in found]
            texts += [f"bad {build} {i}" for i in range(1000 - len(texts))]
    return passed / n


@pytest.mark.slow
def test_rebuilt_versions_that_stay_bad_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    assert lineages(tmp_path, 60) <= 0.1  # at most 5 % expected: more than 6 of 60 would be seen once in 30


def test_rows_that_count_again_break_the_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: the first sample is looked at again, its bad rows are gone from the rebuilt version."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    known = Ledger.judged
    monkeypatch.setattr(Ledger, "judged", lambda _: {})
    monkeypatch.setattr(
        sys.modules[__name__],
        "rows_found_bad",
        lambda path: {one for one, good in known(Ledger.read(path)).items() if not good},
    )
    monkeypatch.setattr(module, "draw", lambda rows, n, key: draw(rows, n, key="the same each time"))
    assert lineages(tmp_path, 12) > 0.9


# --- the plan --------------------------------------------------------------------------------------------------------


def test_the_plan_is_on_disk_with_seed_and_rows_before_a_row_is_shown(review: Review, path: Path) -> None:
    plan = review.plan(max_bad=0, seed=3)
    (stored,) = Ledger.read(path).plans
    assert stored == plan and (plan.seed, plan.attempt, plan.alpha, plan.n_rows) == (3, 1, 0.025, 400)
    assert plan.n == sample_size(400, 0, 0, 1, bound=0.95, max_bad=0) == 63
    assert set(plan.rows) <= {content_of(one) for one in ROWS} and len(set(plan.rows)) == plan.n


def test_a_fixed_plan_stays(review: Review, path: Path) -> None:
    looked = review.plan(max_bad=0, seed=1, fix=False)
    assert not path.exists()
    plan = review.plan(max_bad=0, seed=1)
    assert replace(plan, time="") == replace(looked, time="")
    assert review.plan() == review.plan(max_bad=3) == plan and len(Ledger.read(path).plans) == 1


def test_the_plan_is_the_smallest_that_a_version_with_few_bad_rows_passes(path: Path) -> None:
    plans = [
        Review(path.with_name(str(n)), "v1", rows_of([f"q{i}" for i in range(n)])).plan() for n in (100, 400, 1000)
    ]
    assert [(plan.n, plan.max_bad) for plan in plans] == [(63, 1), (120, 2), (133, 2)]
    assert all(chance_to_pass(plan.n, plan.max_bad) >= 0.8 for plan in plans)
    assert chance_to_pass(sample_size(1000, 0, 0, 1, bound=0.95, max_bad=1) or 0, 1) < 0.8


def test_the_same_seed_draws_the_same_rows_and_another_others(tmp_path: Path) -> None:
    plans = [Review(tmp_path / f"{i}", "v1", ROWS).plan(seed=seed).rows for i, seed in enumerate((1, 1, 2))]
    assert plans[0] == plans[1] != plans[2]
    assert Review(tmp_path / "other", "v2", ROWS).plan(seed=1).rows != plans[0]


def test_each_row_has_the_same_chance_also_in_a_second_attempt() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        first = draw(map(str, range(10)), 5, key=f"{seed}:v1:1")
        # the rebuilt version holds what was not drawn, and new rows
        left = [str(i) for i in range(10) if str(i) not in first]
        new = [str(i) for i in range(10, 15)]
        for one in draw([*left, *new], 5, key=f"{seed}:v2:2"):
            counts[int(one)] += 1 if int(one) >= 10 else 2  # an old row is left in half of the cases
    assert abs(counts[:15] / 1000 - 1).max() < 0.12


def test_copies_of_a_row_are_drawn_each_for_itself() -> None:
    assert draw(["a", "a", "b"], 3, key="") in {("a", "a", "b"), ("a", "b", "a"), ("b", "a", "a")}


def test_a_copy_is_shown_once_and_counts_twice(path: Path) -> None:
    review = Review(path, "v1", rows_of(["q"] * 2 + [f"q{i}" for i in range(10)]))
    plan = review.plan(max_bad=0)
    assert plan.n == 12  # one bad row is found for certain only in all of them
    assert judge(review, plan, none) == 11
    assert review.state().n_judged == 12 and review.state().status == "accepted"


def test_what_no_plan_can_show_is_refused_with_the_reason(path: Path) -> None:
    with pytest.raises(UserError, match="No sample of the 19 rows"):
        Review(path, "v", rows_of([f"{i}" for i in range(19)])).plan(max_bad=1)
    small = Review(path, "v", rows_of(["a", "b"]))
    judge(small, small.plan(max_bad=0), none)
    with pytest.raises(UserError, match=r"No sample of the 2 rows .* covered 2 rows"):
        Review(path, "w", rows_of(["a", "b"])).plan(max_bad=0)
    assert len(Ledger.read(path).plans) == 1


# --- inside the plan -------------------------------------------------------------------------------------------------


def test_it_is_rejected_at_the_first_bad_row_too_many_and_accepted_when_that_is_certain(
    tmp_path: Path,
) -> None:
    for max_bad in (0, 2):
        review = Review(tmp_path / f"a{max_bad}", "v1", ROWS)
        plan = review.plan(max_bad=max_bad)
        assert judge(review, plan, lambda _: True) == max_bad + 1
        assert review.state().status == "rejected"
        other = Review(tmp_path / f"b{max_bad}", "v1", ROWS)
        assert judge(other, other.plan(max_bad=max_bad), none) == plan.n - max_bad
        state = other.state()
        assert state.status == "accepted" and "at least 95.0% of the 400 rows are good" in state.summary


def test_curtailing_never_changes_what_the_whole_plan_would_say() -> None:
    rng = np.random.default_rng(1)
    for n, max_bad in [(20, 0), (30, 2), (59, 5)]:
        flags = rng.random((500, n)) < 0.1
        for one in flags:
            bad, good = np.cumsum(one), np.cumsum(~one)
            decided = [
                (bool(is_accepted(g, n, max_bad)), bool(is_rejected(b, max_bad)))
                for g, b in zip(good, bad, strict=True)
            ]
            first = next(outcome for outcome in decided if any(outcome))
            assert first == decided[-1] == (one.sum() <= max_bad, one.sum() > max_bad)


def test_a_verdict_needs_a_reason_if_bad_and_is_given_once(review: Review) -> None:
    way = review.reviewing("ada", plan := review.plan(max_bad=1))
    first, second = plan.rows[:2]
    with pytest.raises(UserError, match="Give a reason"):
        way.give(first, good=False, reason=" ")
    with pytest.raises(UserError, match="is not in the review sample"):
        way.give("elsewhere", good=True)
    way.give(first, good=False, reason="a slip")
    with pytest.raises(UserError, match="has already rated"):
        way.give(first, good=True)
    way.give(second, good=False, reason="wrong label")
    state = review.state()
    assert state.status == "rejected" and [one.reason for one in state.bad] == ["a slip", "wrong label"]


def test_ratings_are_taken_back_one_after_another_bad_ones_too(review: Review, path: Path) -> None:
    way = review.reviewing("ada", plan := review.plan(max_bad=1))
    first, second = plan.rows[:2]
    way.give(first, good=False, reason="a slip")
    way.give(second, good=False, reason="another")
    assert review.state().status == "rejected"
    way.undo()
    assert review.state().status == "open" and way.waiting()[0] == second
    way.undo()
    assert review.state().n_bad == 0 and way.waiting()[0] == first
    with pytest.raises(UserError, match="no rating of yours"):
        way.undo()
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()].count("undo") == 2


def test_a_decided_plan_is_not_reopened_by_a_later_session(review: Review) -> None:
    plan = review.plan(max_bad=0)
    review.reviewing("ada", plan).give(plan.rows[0], good=False, reason="wrong")
    with pytest.raises(UserError, match="no rating of yours"):
        review.reviewing("ada", plan).undo()
    open_ = Review(review.path, "v2", ROWS)
    plan = open_.plan(max_bad=1)
    open_.reviewing("ada", plan).give(plan.rows[0], good=False, reason="wrong")
    open_.reviewing("ada", plan).undo()
    assert open_.state().n_judged == 0


def test_an_accepted_version_is_no_longer_if_a_row_turns_out_bad(review: Review) -> None:
    plan = review.plan(max_bad=0)
    judge(review, plan, none)
    review.reviewing("bob", plan).give(plan.rows[0], good=False, reason="no")
    assert review.state().status == "rejected"


def test_a_row_is_shown_without_its_provenance(path: Path) -> None:
    review = Review(path, "v1", [row(f"q{i}", judge="said good", tools=[{"t": 1}]) for i in range(80)])
    item = review.reviewing("ada", review.plan()).next()
    assert item is not None and item.source == "" and item.meta == {"tools": [{"t": 1}]}
    assert item.id == content_hash(list(item.messages))


def test_rows_put_off_come_last_in_order(review: Review) -> None:
    plan = review.plan()
    way = review.reviewing("ada", plan)
    way.skip(plan.rows[0])
    way.skip(plan.rows[1])
    assert way.waiting() == [*plan.rows[2:], *plan.rows[:2]]


def test_a_version_that_lost_rows_of_the_sample_is_refused(review: Review, path: Path) -> None:
    plan = review.plan()
    with pytest.raises(UserError, match="A frozen version must not change"):
        Review(path, "v1", ROWS[:100]).reviewing("ada", plan)


# --- planted rows ----------------------------------------------------------------------------------------------------


def answered(text: str, answer: str) -> Example:
    return Example(id="x", messages=({"role": "user", "content": text}, {"role": "assistant", "content": answer}))


@pytest.fixture
def labels(path: Path) -> Review:
    """A version whose rows are right: question i has label i modulo 5."""
    return Review(path, "v1", [answered(f"q{i}", f"label {i % 5}") for i in range(400)])


def is_wrong(row: Example) -> bool:
    return int(row.messages[0]["content"][1:]) % 5 != int(row.messages[1]["content"][-1])


def test_planted_rows_are_wrong_and_come_from_outside_the_sample_and_are_shown_unmarked(labels: Review) -> None:
    plan = labels.plan(max_bad=0, seed=1)
    way = labels.reviewing("ada", plan)
    rows = {row.id: row for row in map(way._rows.__getitem__, way.waiting())}
    assert len(plan.planted_rows) == 8 and len(rows) == plan.n + 8 == len(way.assigned)
    assert {name for name, row in rows.items() if is_wrong(row)} == set(plan.planted_rows)
    assert not {pair.split()[0] for pair in plan.planted} & set(plan.rows)
    places = [i for i, name in enumerate(plan.shown) if name in plan.planted_rows]
    assert places[0] < plan.n / 2 < places[-1] and not plan.planted_rows.keys() & set(plan.rows)


def test_who_rates_everything_good_is_caught_and_the_rows_wait_for_others(labels: Review) -> None:
    plan = labels.plan(max_bad=0, seed=1)
    judge(labels, plan, none)
    state = labels.state()
    assert state.status == "open" and state.distrusted == ("ada",) and (state.n_judged, state.n_bad) == (0, 0)
    assert "The good ratings of ada do not count" in state.summary and labels.reviewing("ada", plan).next() is None
    assert judge(labels, plan, is_wrong, "bob") == plan.n + 8
    state = labels.state()
    assert state.status == "accepted" and "caught 8 of 11 planted bad rows" in state.summary


def test_bad_verdicts_count_whoever_gives_them(labels: Review) -> None:
    plan = labels.plan(max_bad=0, seed=1)
    judge(labels, plan, none)
    name = next(row for row in plan.rows if row not in labels.reviewing("ada", plan)._own(Ledger.read(labels.path)))
    labels.reviewing("ada", plan).give(name, good=False, reason="wrong")
    assert labels.state().status == "rejected"


def test_who_was_caught_cannot_take_a_rating_back(labels: Review) -> None:
    way = labels.reviewing("ada", plan := labels.plan(max_bad=0, seed=1))
    first, second, third = [*plan.planted_rows][:3]
    for name in (first, second):
        way.give(name, good=True)
    way.undo()
    for name in (second, third):
        way.give(name, good=True)
    assert labels.state().distrusted == ("ada",)
    with pytest.raises(UserError, match="no rating of yours"):
        way.undo()


def test_a_planted_answer_is_that_of_a_similar_question_and_no_rival(path: Path) -> None:
    topics = {"card": ("arrival", "loss"), "transfer": ("fee", "limit"), "pin": ("change", "block")}
    rows = [
        answered(f"my {topic} and its {part}, ticket {part}{n}", f"{topic}_{part}")
        for topic, parts in topics.items()
        for part in parts
        for n in range(30)
    ]
    by_name = {content_of(row): row for row in rows}
    pairs = [[by_name[name] for name in pair.split()] for pair in plant(rows, 8, seed=1, sample=frozenset())]
    assert len(pairs) == 8
    for row, other in pairs:
        assert row.answer != other.answer and row.answer.split("_")[0] == other.answer.split("_")[0]
    twins = [answered(f"{word} my card", f"label {n}") for n, word in enumerate(("block", "lock", "stop", "freeze"))]
    assert len(plant(twins, 4, seed=1, sample=frozenset())) == 4  # where all are alike, the least alike


def test_without_labels_the_answer_to_a_reworded_question_is_not_planted(path: Path) -> None:
    words = [f"{letter}{letter}{letter}" for letter in "abcdefghij"]
    rows = [answered(f"where is {word} sold", f"in hall {n} near {word}") for n, word in enumerate(words)]
    rows += [answered(f"where is {word} sold today", f"{word} is in hall {n}") for n, word in enumerate(words)]
    by_name = {content_of(row): row for row in rows}
    for pair in plant(rows, 8, seed=1, sample=frozenset()):
        row, other = (by_name[name].question.split()[2] for name in pair.split())
        assert row != other


def test_nothing_is_accepted_before_the_planted_rows_are_judged(labels: Review) -> None:
    plan = labels.plan(max_bad=0, seed=1)
    way = labels.reviewing("ada", plan)
    for name in plan.rows:
        way.give(name, good=True)
    state = labels.state()
    assert state.status == "open" and state.n_judged == plan.n
    for name in plan.planted_rows:
        way.give(name, good=False, reason="wrong")
    assert labels.state().status == "accepted"


def test_rows_of_a_reviewer_who_left_wait_for_others_in_the_end(labels: Review) -> None:
    plan = labels.plan(max_bad=0, seed=1)
    judge(labels, plan, is_wrong, "bob", most=50)
    assert judge(labels, plan, is_wrong, "ada") == plan.n + 8
    assert labels.state().status == "accepted"


def test_no_build_and_no_later_plan_hears_of_planted_rows(labels: Review, path: Path) -> None:
    plan = labels.plan(max_bad=4, seed=1)
    judge(labels, plan, is_wrong)
    assert labels.state().n_bad == 0 and rows_found_bad(path) == frozenset()
    assert not Ledger.read(path).judged().keys() & plan.planted_rows.keys()
    assert labels.state().agreement.n == 0 and labels.state().bad == ()


def test_good_rows_of_a_careless_reviewer_are_not_known_later(labels: Review, path: Path) -> None:
    judge(labels, labels.plan(max_bad=0, seed=1), none)
    assert Review(path, "v2", labels.rows).plan(max_bad=0).n_known == 0


def test_where_one_answer_is_all_there_is_the_claim_says_that_nobody_was_tested(review: Review) -> None:
    plan = review.plan(max_bad=0)
    assert plan.planted == ()
    judge(review, plan, none)
    assert "No planted bad rows tested the reviewers" in review.state().summary


def test_answers_that_differ_in_marks_or_copies_of_a_question_are_not_planted(path: Path) -> None:
    rows = [answered(f"q{i}", ("Yes", "yes.", " YES ")[i % 3]) for i in range(100)]
    assert Review(path, "v1", rows).plan(max_bad=0).planted == ()
    pair = [answered("the same", "a"), answered("The same", "b"), *(answered("the same", "a") for _ in range(90))]
    assert Review(path, "v2", pair).plan(max_bad=0).planted == ()


def test_a_reviewer_who_misses_two_planted_rows_counts_and_one_who_misses_three_does_not(labels: Review) -> None:
    plan = labels.plan(max_bad=0, seed=1)
    for who, n_missed in (("ada", 2), ("bob", 3)):
        for number, name in enumerate(plan.planted_rows):
            labels.reviewing(who, plan).give(name, good=number < n_missed, reason="wrong")
    assert labels.state().distrusted == ("bob",)


# --- rebuilds and attempts -------------------------------------------------------------------------------------------


def test_every_plan_is_an_attempt_and_a_rebuilt_version_gets_fresh_rows(review: Review, path: Path) -> None:
    first = review.plan(max_bad=0)
    judge(review, first, lambda item: item.id == first.rows[20])
    seen = set(first.rows[:21])
    rebuilt = Review(path, "v2", [one for one in ROWS if content_of(one) not in rows_found_bad(path)])
    second = rebuilt.plan(max_bad=0)
    assert (second.attempt, second.alpha, second.n_known, second.n_known_bad) == (2, 0.0125, 20, 0)
    assert not seen & set(second.rows) and second.n > first.n
    assert rebuilt.state().attempts == 2
    third = Review(path, "v3", ROWS).plan(max_bad=0)  # the unfinished one counts, and so does the bad row
    assert (third.attempt, third.n_known, third.n_known_bad) == (3, 21, 1)


def test_a_rejected_version_stays_rejected_and_a_build_without_its_bad_rows_is_a_new_attempt(review: Review) -> None:
    first = review.plan(max_bad=0)
    judge(review, first, lambda _: True)
    assert review.plan() == first and review.state().status == "rejected"
    bad = rows_found_bad(review.path)
    second = Review(review.path, "v2", [row for row in ROWS if content_of(row) not in bad]).plan(max_bad=3)
    assert second.attempt == 2 and first.rows[0] not in second.rows and review.state().status == "rejected"


def test_a_row_that_was_changed_is_fresh_whatever_its_id_says(path: Path) -> None:
    rows = rows_of([f"{i}" for i in range(80)])
    review = Review(path, "v1", rows)
    judge(review, review.plan(max_bad=0), none)
    changed = Review(path, "v2", rows_of([f"{i}!" for i in range(80)])).plan(max_bad=0)
    assert changed.n_known == 0


def test_bad_rows_that_were_known_and_left_in_count(path: Path) -> None:
    review = Review(path, "v1", ROWS)
    plan = review.plan(max_bad=0)
    way = review.reviewing("ada", plan)
    for one in plan.rows[:21]:
        way.give(one, good=False, reason="no")
    with pytest.raises(UserError, match=r"21 are bad .at most 20 allowed"):
        Review(path, "v2", ROWS).plan(max_bad=0)


def accepted(review: Review, **more: Any) -> ReviewPlan:
    plan = review.plan(max_bad=0, **more)
    judge(review, plan, none)
    assert review.state().status == "accepted"
    return plan


def test_a_row_that_a_plan_counts_as_good_and_turns_out_bad_refutes_it(path: Path) -> None:
    first, second = Review(path, "v1", ROWS), Review(path, "v2", ROWS)
    old, new = accepted(first), accepted(second)
    assert sorted(new.known) == sorted(old.rows)
    assert second.reviewing("bob", new).waiting()
    first.reviewing("bob", old).give(old.rows[0], good=False, reason="wrong")
    state = second.state()
    assert (state.status, state.n_bad, state.n_refuted) == ("rejected", 0, 1)
    assert "the plan counted as good turned out to be bad (n = 1)" in state.summary
    assert [one.row for one in state.bad] == [old.rows[0]]
    assert Review(path, "v3", ROWS).plan(max_bad=0).n_known_bad == 1


def test_a_plan_without_the_rows_that_it_knew_is_still_read(path: Path) -> None:
    accepted(Review(path, "v1", ROWS))
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    del lines[0]["known"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert state_of(path, "v1").status == "accepted"


# --- several reviewers -----------------------------------------------------------------------------------------------


def test_two_reviewers_share_the_work_and_their_agreement_is_told(review: Review) -> None:
    plan = review.plan(max_bad=4)
    n_first = judge(review, plan, none, most=plan.n // 2)
    asked = judge(review, plan, lambda item: item.id == plan.rows[-1], who="bob")
    state = review.state()
    assert state.status == "accepted"
    both = state.agreement
    assert 30 > both.n > 5 and asked < plan.n and n_first + asked - both.n >= plan.n - 4
    again = review.reviewing("ada", plan)  # decided: only what bob judged of the shared rows is asked
    left = again.waiting()
    assert left and both.n + len(left) <= max(30, round(0.25 * plan.n))


def test_a_row_is_bad_if_anybody_says_so_and_disagreement_is_listed(review: Review) -> None:
    plan = review.plan(max_bad=4)
    judge(review, plan, none)
    way = review.reviewing("bob", plan)
    item = way.next()
    assert item is not None
    way.give(item.id, good=False, reason="no")
    state = review.state()
    assert (state.n_bad, state.agreement.n, state.agreement.n_agree) == (1, 1, 0)
    assert state.agreement.disagreements[0].labels == {"ada": "good", "bob": "bad"}


def test_a_reviewer_has_a_name(review: Review) -> None:
    with pytest.raises(UserError, match="No name"):
        review.reviewing(" ", review.plan())


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_cut_off_line_is_passed_over_and_a_wrong_one_is_told(review: Review, path: Path) -> None:
    plan = review.plan()
    judge(review, plan, none, most=3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert review.state().n_judged == 2
    judge(review, plan, none, most=1)
    assert review.state().n_judged == 3
    path.write_bytes(b'{"kind": "other"}\n' + whole)
    with pytest.raises(
        DataError, match=r"reviews.jsonl:1: expected a line whose kind is one of plan, verdict, undo, got"
    ):
        review.state()


def test_the_file_holds_no_text_of_a_row_and_the_state_needs_no_rows(review: Review, path: Path) -> None:
    judge(review, review.plan(), none, most=5)
    assert b'"content"' not in path.read_bytes()
    assert state_of(path, "v1").n_judged == 5 and state_of(path, "v2").status == "no_plan"
    assert review.state().to_dict()["plan"]["n"] == review.plan().n


# --- killed ----------------------------------------------------------------------------------------------------------


def killed(path: Path, after: int, moment: float) -> list[str]:
    """Review in a child that is killed (-9) `moment` seconds after `after` verdicts; return what it told of."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            review = Review(path, "v1", ROWS)
            way = review.reviewing("ada", review.plan(max_bad=2, seed=1))
            os.write(write, b"go\n")
            for number in range(10**6):
                item = way.next()
                if item is None:
                    break
                way.give(item.id, good=number % 90 != 40, reason="r" * 500)
                os.write(write, f"{item.id}\n".encode())
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert file.readline() == b"go\n"
        first = [file.readline() for _ in range(after)]
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return [line.decode().strip() for line in [*first, *file] if line]


@pytest.mark.slow
def test_kill_9_after_any_verdict_loses_none_at_20_moments(tmp_path: Path) -> None:
    choose = random.Random(3)
    path, told = tmp_path / "reviews.jsonl", []
    for _ in range(20):
        told += killed(path, choose.randrange(2, 6), choose.random() * 0.005)
        ledger = Ledger.read(path)
        (plan,) = ledger.plans
        given = [one.row for one in ledger.verdicts[plan.id]]
        assert set(told) <= set(given) and len(given) == len(set(given)) <= len(set(told)) + 20
    assert len(told) >= 40


@pytest.mark.parametrize(
    "call", [pytest.param(call, marks=[] if call in {0, 1, 7, 19} else pytest.mark.slow) for call in range(20)]
)
def test_a_writer_killed_before_any_of_its_calls_leaves_a_file_that_goes_on(tmp_path: Path, call: int) -> None:
    path = tmp_path / "reviews.jsonl"
    steps = [(os, "fsync"), (module, "write_line"), (module, "append_line")]

    def write() -> None:
        review = Review(path, "v1", ROWS)
        judge(review, review.plan(max_bad=0, seed=1), none)

    assert killed_at(call + 2, steps, write)
    review = Review(path, "v1", ROWS)
    before = review.state().n_judged
    plan = review.plan(max_bad=0, seed=1)
    assert judge(review, plan, none) == plan.n - before
    assert review.state().status == "accepted" and len(Ledger.read(path).plans) == 1
