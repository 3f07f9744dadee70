"""The outcome holds for every completion of the unknown facts."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice, product
from typing import Any

import pytest

from tuneworthy.verdict import outcome as outcome_module
from tuneworthy.verdict.facts import TRUE_UNLESS_LISTED, DecisionFacts
from tuneworthy.verdict.options import Option, rank, recommend
from tuneworthy.verdict.outcome import completions, decided, open_facts

TODAY = Option(option="today", rung="baseline", kind="today", usd_per_1k=1.0)
SMALL = Option(option="small", rung="model", kind="variant", usd_per_1k=0.1)


def facts(**values: Any) -> DecisionFacts:
    named = {tuple(name.split("__")): value for name, value in values.items()}
    full = {(kind, *rest) if rest else (kind, ""): value for (kind, *rest), value in named.items()}
    return DecisionFacts(values=full, options=(TODAY, SMALL))  # type: ignore[arg-type]


def test_an_outcome_needs_every_completion_to_agree() -> None:
    for values in product([True, False, None], repeat=4):
        names = ["meets__today", "meets__small", "cost__today", "could_meet__prompt"]
        found = facts(**dict(zip(names, values, strict=True)))
        unknown = [name for name, value in found.values.items() if value is None]
        outcomes = set()
        for completion in product([True, False], repeat=len(unknown)):
            whole = found
            for name, value in zip(unknown, completion, strict=True):
                whole = whole.suppose(name, value)
            ruling = decided(whole)
            assert ruling is not None
            outcomes.add(ruling.outcome)
        ruling = decided(found)
        assert (ruling.outcome if ruling else None) == (next(iter(outcomes)) if len(outcomes) == 1 else None)


def test_an_option_without_a_price_that_does_leaves_it_open_whether_to_train_for_the_cost_of_another() -> None:
    unpriced = replace(SMALL, usd_per_1k=None)
    dear = facts(meets__today=True, meets__small=True, cost__today=True, cost__small=None)
    found = replace(dear, options=(TODAY, unpriced))
    assert decided(found) is None and open_facts(found) == [("cost", "small")]
    same = replace(found, options=tuple(replace(one, model="m", usd_per_1k=None) for one in found.options))
    assert open_facts(same) == []  # the price that is missing is that of both
    ruling = decided(found.suppose(("meets", "small"), False))
    assert ruling is not None and ruling.code == "cost"


def test_an_option_that_saves_nothing_hides_none_that_does() -> None:
    today = replace(TODAY, latency_p95_ms=1000.0)
    cheaper = replace(SMALL, option="a little cheaper", usd_per_1k=0.95, latency_p95_ms=990.0)
    faster = replace(SMALL, option="twice as fast", usd_per_1k=0.97, latency_p95_ms=500.0)
    for options in ([faster, today], [cheaper, faster, today]):
        chosen = recommend(rank(options), lambda _: True, lambda _: True)
        assert chosen is faster
    assert recommend(rank([cheaper, today]), lambda _: True, lambda _: True) is today
    assert recommend(rank([cheaper, faster, today]), lambda one: one is not today, lambda _: True) is cheaper


def test_what_cannot_matter_is_never_enumerated() -> None:
    many = {("lever", f"l{n}"): None for n in range(60)}
    found = DecisionFacts(values={("meets", "today"): True, **many}, options=(TODAY,))  # type: ignore[dict-item]
    assert len(list(completions(found))) == 1 and open_facts(found) == []
    missed = DecisionFacts(values={("meets", "today"): False, **many}, options=(TODAY,))  # type: ignore[dict-item]
    assert len(list(completions(missed))) == 61


def test_a_rule_that_guesses_an_unknown_fact_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = facts(meets__today=None)
    assert decided(found) is None
    monkeypatch.setattr(DecisionFacts, "known", lambda self, kind, subject="": kind in TRUE_UNLESS_LISTED)
    assert decided(found) is not None
    assert outcome_module.CHEAPER_RUNGS


def test_an_outcome_is_that_of_every_completion_of_all_facts_of_the_options() -> None:
    draw = random.Random(7)
    kinds = ("eligible", "meets", "cost", "distil", "as_good")
    classical = Option(option="words", rung="classical", kind="classical", usd_per_1k=0.0)
    for _ in range(300):
        options = draw.sample([TODAY, SMALL, classical], k=draw.choice([2, 3]))
        names = [(kind, option.option) for option in options for kind in kinds]
        values = {name: draw.choice([True, False]) for name in names} | {("pays", ""): draw.choice([True, False])}
        unknown = draw.sample(names, k=6)
        found = DecisionFacts(values=values | dict.fromkeys(unknown), options=options)  # type: ignore[arg-type]
        completed = [
            decided(replace(found, values=values | dict(zip(unknown, completion, strict=True))))  # type: ignore[arg-type]
            for completion in product([True, False], repeat=len(unknown))
        ]
        outcomes = {ruling.outcome for ruling in completed if ruling}
        ruling = decided(found)
        assert (ruling.outcome if ruling else None) == (outcomes.pop() if len(outcomes) == 1 else None)


def test_the_options_make_a_chain_of_questions_and_not_a_product() -> None:
    options = [Option(option=f"o{n}", rung="prompt", kind="variant", usd_per_1k=1.0 + n) for n in range(12)]
    kinds = ("eligible", "meets", "cost", "distil")
    found = DecisionFacts(values={(kind, one.option): None for one in options for kind in kinds}, options=options)  # type: ignore[misc]
    assert len(list(islice(completions(found), 1000))) < 50
    assert decided(found) is None and len(open_facts(found)) == 48
