"""Look plans: alpha is spent once, and never more than was planned in all."""

import json
from contextlib import suppress
from dataclasses import asdict
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tuneworthy.stats.comparisons import ALPHA, LEAST_ALPHA, ComparisonPlan, UsedUp
from tuneworthy.stats.paired import mcnemar_p_value
from tuneworthy.stats.power import detectable_gain

NAMES = st.sampled_from([f"rung{i}" for i in range(12)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("plan"), st.lists(NAMES, max_size=6)),
        st.tuples(st.just("share"), st.lists(NAMES, min_size=1, max_size=3)),
        st.tuples(st.just("take"), st.tuples(st.integers(0, 30).map(str), NAMES)),
        st.tuples(st.just("pass_on"), st.one_of(st.integers(0, 30).map(str), NAMES)),
    ),
    max_size=80,
)


def walk(plan, steps):
    for step, argument in steps:
        before = plan
        with suppress(UsedUp):
            plan = plan.take(*argument) if step == "take" else getattr(plan, step)(argument)
        yield before, plan


@given(STEPS)
def test_no_walk_of_plans_ever_spends_more_than_alpha(steps):
    for _, plan in walk(ComparisonPlan(), steps):
        assert plan.total_alpha <= ALPHA + 1e-15
        holding = [look for look, slot in plan.spent.items() if slot not in plan.passed]
        assert fsum(plan.alpha_for(look) for look in holding) + plan.reserve <= ALPHA + 1e-15
        assert len(set(plan.spent.values())) == len(plan.spent)


@given(STEPS)
def test_no_comparison_or_slot_ever_loses_alpha_nor_does_what_is_held_by_those_that_found_nothing(steps):
    for before, after in walk(ComparisonPlan(), steps):
        for look in [*before.spent, *before.slots]:
            assert after.alpha_for(look) >= before.alpha_for(look)


@given(STEPS)
def test_a_plan_survives_json(steps):
    for _, plan in walk(ComparisonPlan(), steps):
        assert TypeAdapter(ComparisonPlan).validate_json(json.dumps(asdict(plan))) == plan


def test_planned_looks_share_four_fifths_equally():
    plan = ComparisonPlan().plan(["prompt", "retrieval", "model", "few_shot"])
    assert plan.slots == dict.fromkeys(["prompt", "retrieval", "model", "few_shot"], 0.01)


def test_planning_again_adds_and_never_resets():
    first = ComparisonPlan().plan(["prompt", "model"])
    again = first.plan(["prompt", "model", "decoding", "fine_tune"])
    assert again.slots == {"prompt": 0.02, "model": 0.02, "decoding": 0.005, "fine_tune": 0.0025}


FOUR = ("prompt", "retrieval", "model", "classical")


def test_what_found_a_gain_and_what_is_not_compared_pass_alpha_on_in_the_order_of_the_plan():
    plan = ComparisonPlan().plan(FOUR).take("prompt:a", "prompt").pass_on("prompt:a").pass_on("retrieval")
    assert plan.slots == pytest.approx({"prompt": 0.01, "retrieval": 0.02, "model": 0.03, "classical": 0.01})
    plan = plan.take("model:a", "model")
    assert plan.alpha_for("model:a") == pytest.approx(0.03)
    assert plan.alpha_for("classical") == 0.01  # a comparison that found nothing keeps its alpha
    assert plan.pass_on("model") == plan  # and is not passed on by the name of its rung
    last = plan.pass_on("model:a").pass_on("classical")
    assert last.reserve == pytest.approx(0.05)
    assert last.open_slots == {"reserve": last.reserve / 2}


def test_what_is_passed_on_is_never_taken_back_and_a_rung_that_passed_its_part_takes_from_the_reserve():
    plan = ComparisonPlan().plan(FOUR).pass_on("prompt").take("retrieval:a", "retrieval")
    later = plan.take("prompt:a", "prompt")
    assert (later.alpha_for("retrieval:a"), later.alpha_for("prompt:a")) == (0.02, 0.005)


def test_out_of_order_alpha_is_the_same_or_smaller_and_in_the_end_the_same():
    alone = ComparisonPlan().plan(FOUR).take("model:a", "model")
    assert alone.alpha_for("model:a") == 0.01
    ordered = ComparisonPlan().plan(FOUR).pass_on("prompt").pass_on("retrieval").take("model:a", "model")
    assert alone.pass_on("retrieval").pass_on("prompt").slots == ordered.slots


def test_the_same_id_is_the_same_look_and_another_candidate_is_a_new_one():
    plan = ComparisonPlan().plan(["prompt", "model"]).take("prompt:a", "prompt")
    assert plan.take("prompt:a", "prompt") == plan
    later = plan.take("prompt:b", "prompt")
    assert (later.alpha_for("prompt:a"), later.alpha_for("prompt:b")) == (0.02, 0.005)


def test_a_thousand_added_looks_still_fit():
    plan = ComparisonPlan().plan(["prompt", "model", "few_shot"])
    for i in range(1000):
        plan = plan.share([f"again{i}"])
    assert plan.total_alpha <= ALPHA


def test_a_test_set_that_was_looked_at_too_often_is_used_up():
    plan = ComparisonPlan().plan(["prompt"]).take("first", "prompt")
    for n in range(9):
        plan = plan.take(f"again{n}", "prompt")
    with pytest.raises(UsedUp, match=r"an alpha of only 9.8e-06"):
        plan.take("again9", "prompt")
    assert min(plan.alpha_for(look) for look in plan.spent) >= LEAST_ALPHA
    assert plan.take("again0", "prompt") == plan  # what was looked at stays free


def test_the_least_alpha_shows_as_little_as_its_reason_says():
    shown = [100 * detectable_gain(n, LEAST_ALPHA) for n in (100, 300)]
    assert [round(points) for points in shown] == [30, 14]
    assert mcnemar_p_value(16, 0) <= LEAST_ALPHA < mcnemar_p_value(15, 0)


def test_an_unknown_look_and_an_overspent_plan_are_refused():
    with pytest.raises(KeyError, match="no comparison or slot"):
        ComparisonPlan().alpha_for("prompt")
    with pytest.raises(ValueError, match="in all"):
        ComparisonPlan(planned=("prompt",), added={"x": 0.02})
    with pytest.raises(ValueError, match="slot of its own"):
        ComparisonPlan(planned=("prompt",), spent={"a": "prompt", "b": "prompt"})
    with pytest.raises(ValueError, match="different names"):
        ComparisonPlan(planned=("prompt", "prompt"))
