"""Worlds whose truth is known: how often a verdict is wrong, that broken rules show, and that the next step settles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from types import ModuleType

import pytest
from scripts.simulations.__main__ import places
from scripts.simulations.answers import Answers
from scripts.simulations.follow import follow
from scripts.simulations.measure import Decided, candidates, simulate
from scripts.simulations.rules import Measured, is_near, right_answer
from scripts.simulations.table import Row, above, cell, cells, tables
from scripts.simulations.truth import BY, CAUSES, CONDITIONS, FIRM, TRUTHS, Condition, Truth, draw

from tuneworthy.verdict import outcome
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.gates import to_decide

N = 5


def clear(truth: Truth, condition: Condition = "balanced", n_test: int = 200) -> Iterator[Decided]:
    """Yield what was decided in worlds of a class that are not near a threshold."""
    for seed in range(100):
        found = simulate(draw(seed, truth, condition, n_test))
        if found.answer.by == BY[truth] and not found.near:
            yield found


@cache
def decided(truth: Truth) -> list[Decided]:
    """`N` worlds of a class."""
    return list(islice(clear(truth), N))


def wrong(some: list[Decided]) -> int:
    """How many get a firm wrong answer by the rules as they are now."""
    outcomes = [(decide(one.evidence).outcome, one.answer.outcome) for one in some]
    return sum(got not in {"undecided", right} for got, right in outcomes)


@pytest.mark.slow
def test_few_verdicts_are_firm_and_wrong_and_most_are_firm_where_the_keys_are_given() -> None:
    every = [one for truth in TRUTHS for one in decided(truth)]
    assert len(every) == N * len(TRUTHS)
    assert sum(one.wrong for one in every) <= 0.05 * len(every)
    firm = [one for truth in FIRM for one in decided(truth)]
    assert sum(not one.firm for one in firm) <= 0.3 * len(firm)


NEVER = dict.fromkeys(("met", "missed", "unresolved"), False)
FAULTS: dict[str, tuple[ModuleType, str, object, Truth]] = {
    "a target is never met": (outcome, "_MEETS", NEVER, "met"),
    "no lever counts": (outcome, "_levers", lambda *_: {}, "knowledge"),
    "cost is no reason": (outcome, "cost_is_a_reason", lambda *_: False, "cost"),
    "training always pays": (outcome, "can_pay", lambda *_: True, "money"),
    "documents are not asked for": (to_decide, "may_need_documents", lambda _: False, "documents_unknown"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rule_that_is_switched_off_shows_in_the_simulations(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, replacement, truth = FAULTS[fault]
    before = wrong(decided(truth))
    monkeypatch.setattr(module, name, replacement)
    assert wrong(decided(truth)) > before + 1


@pytest.mark.slow
def test_the_next_step_settles_the_question_within_twice_its_cost() -> None:
    undecided = [one for truth in TRUTHS for one in decided(truth) if not one.firm][::3]
    assert len(undecided) >= 8
    assert sum(follow(one).settled for one in undecided) >= 0.6 * len(undecided)


def test_a_world_is_the_same_each_time_and_grows_without_changing() -> None:
    world = draw(3, "quality", "noise", 200)
    assert simulate(world).verdict == simulate(world).verdict
    today = candidates(world, "baseline", None)[0]
    small, large = (Answers(one).given(today).tolist() for one in (world, replace(world, n_test=300)))
    assert len(small) < len(large) and large[: len(small)] == small


def test_every_class_and_condition_is_drawn_and_its_shares_add_up() -> None:
    for truth, condition, n_test in places(TRUTHS, CONDITIONS, [200]):
        world = draw(1, truth, condition, n_test)
        assert sum(world.causes[cause] for cause in CAUSES) == pytest.approx(1)
        assert sum(world.shares.values()) == pytest.approx(1)


def test_the_right_answer_follows_the_rules_of_the_contract() -> None:
    world = replace(draw(1, "quality", "balanced", 200), target=0.8, margin=0.05, requests=0.0)
    one = Measured(name="a", score=0.7, usd_per_1k=0.0, p95_ms=100.0, today=True)
    failures = dict.fromkeys((*CAUSES, "label"), 0.0) | {"unexplained": 1.0}
    assert right_answer(world, [one], failures, 0.0).by == "quality"
    assert right_answer(world, [replace(one, score=0.9)], failures, 0.0).by == "met"
    assert right_answer(world, [one], failures | {"label": 0.6}, 0.0).by == "labels"
    assert right_answer(world, [one, replace(one, score=0.9, tried=False)], failures, 0.0).by == "untried"
    assert is_near(world, [replace(one, score=0.79)], failures, 0.0)
    assert not is_near(world, [one], failures, 0.0)


def row(*, firm: bool, wrong: bool, near: bool = False) -> Row:
    return Row(
        truth="met", condition="noise", n_test=200, seed=1, of_class=True, near=near, firm=firm, wrong=wrong, code="x",
        settled=None if firm else True,
    )  # fmt: skip


def test_the_table_counts_wrong_ones_and_names_classes_above_the_limit() -> None:
    rows = [row(firm=True, wrong=True)] * 12 + [row(firm=True, wrong=False)] * 80 + [row(firm=False, wrong=False)] * 8
    counts = cell("", [*rows, row(firm=True, wrong=True, near=True)])
    assert (counts.n, counts.wrong, counts.undecided, counts.near, counts.settled) == (100, 12, 8, 1, 8)
    assert above(cells(rows)) == {"met, noise", "met, all"}
    assert not above(cells(rows[10:]))
    assert "**above**" in tables(rows)


def test_a_class_is_above_the_limit_where_no_condition_shows_it() -> None:
    rows = [row(firm=True, wrong=True)] * 3 + [row(firm=True, wrong=False)] * 17
    spread = [replace(one, condition=condition) for condition in CONDITIONS for one in rows]
    assert above(cells(spread)) == {"met, all"}
