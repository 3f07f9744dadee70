"""The outcome holds for every completion of the unknown facts."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice, product
from typing import Any

import pytest

from tuneworthy.money.serving import RunningCost
from tuneworthy.verdict import outcome as outcome_module
from tuneworthy.verdict.options import Option, best_unmet, best_within_bill, costs_at_most, is_saving, recommend
from tuneworthy.verdict.outcome import TRUE_UNLESS_LISTED, DecisionFacts, completions, decided, open_facts

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


@pytest.mark.parametrize(("rung", "is_open"), [("classical", True), ("model", True), ("prompt", False)])
def test_where_cost_decides_only_an_untried_option_that_may_be_cheaper_keeps_it_open(rung: str, is_open: bool) -> None:
    ruling = decided(facts(meets__today=True, cost__today=True, **{f"could_meet__{rung}": None}))
    assert (ruling is None) is is_open and (is_open or ruling.code == "cost")  # type: ignore[union-attr]


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
        chosen = recommend(options, lambda _: True, frozenset())
        assert chosen is faster
    assert recommend([cheaper, today], lambda _: True, frozenset()) is today
    assert recommend([cheaper, faster, today], lambda one: one is not today, frozenset()) is cheaper
    alike = replace(cheaper, option="a later rung", latency_p95_ms=980.0)  # as good at the same cost: noise of latency
    assert recommend([cheaper, alike, today], lambda one: one is not today, frozenset()) is cheaper


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
    kinds = ("eligible", "meets", "cost", "distil")
    classical = Option(option="words", rung="classical", kind="classical", usd_per_1k=0.0)
    for _ in range(300):
        options = draw.sample([TODAY, SMALL, classical], k=draw.choice([2, 3]))
        names = [(kind, option.option) for option in options for kind in kinds]
        values = {name: draw.choice([True, False]) for name in names} | {("pays", ""): draw.choice([True, False])}
        unknown = draw.sample(names, k=6)
        names_of = [one.option for one in options]
        better = {(one, other) for one in names_of for other in names_of if one < other and draw.random() < 0.3}
        found = DecisionFacts(values=values | dict.fromkeys(unknown), options=options, better=better)  # type: ignore[arg-type]
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


def table(draw: random.Random) -> tuple[list[Option], set[tuple[str, str]], set[str]]:
    """Return random options, which are shown to be better than which, and which work."""
    models = {name: draw.choice([0.0, 10 ** draw.uniform(-2, 2), None]) for name in "abc"}
    options, truth = [], {}
    for n in range(draw.randint(2, 9)):
        model = draw.choice("abc")
        usd = models[model]
        if usd and draw.random() < 0.5:  # shots, another prompt
            usd *= draw.choice([0.97, 1.04, 1.5, 3.0, 10 ** draw.uniform(-0.3, 0.5)])
        score = draw.uniform(0.4, 1.0)
        truth[f"o{n}"] = score
        options.append(
            Option(
                option=f"o{n}",
                rung="prompt",
                kind="today" if n == 0 else "variant",
                model=model,
                score=score,
                usd_per_month=usd,
                latency_p95_ms=draw.choice([None, 10 ** draw.uniform(1, 4)]),
            )
        )
    better = {
        (one, other) for one in truth for other in truth if truth[one] - truth[other] > 0.08 and draw.random() < 0.7
    }
    while more := {(a, d) for a, b in better for c, d in better if b == c} - better:
        better |= more
    target = draw.uniform(0.5, 1.0)
    return options, better, {name for name, score in truth.items() if score > target and draw.random() < 0.9}


def test_the_recommended_option_is_never_dominated_and_others_do_not_move_it() -> None:
    draw, moved, met = random.Random(11), 0, 0
    for _ in range(10_000):
        options, better, works = table(draw)
        mark = recommend(options, lambda one: one.option in works, better)  # noqa: B023
        if mark is None:
            continue
        met += 1
        ahead = [one for one in options if one.option in works and (one.option, mark.option) in better]
        assert not any(costs_at_most(one, mark) for one in ahead), (mark, ahead, options)
        others = [one for one in options if one is not mark and one.kind != "today"]
        if others:
            gone = draw.choice(others)
            fewer = [one for one in options if one is not gone]
            moved += recommend(fewer, lambda one: one.option in works, better) is not mark  # noqa: B023
    assert met > 5_000 and moved <= 0.001 * 10_000


def test_without_an_option_that_meets_the_target_only_shown_gains_move_it_from_today() -> None:
    options = [TODAY, SMALL, replace(SMALL, option="large", usd_per_1k=5.0)]

    def names(better: set[tuple[str, str]], barred: str = "") -> str:
        found = best_unmet(options, lambda one: one.option != barred, better)
        return found.option if found else ""

    assert names(set()) == "today" and names(set(), "today") == ""
    gains = {("small", "today"), ("large", "today")}
    assert names(gains) == "small" and names(gains | {("large", "small")}) == "large"
    assert names(gains, "small") == "large"


def test_the_highest_score_within_the_bill_needs_a_bill() -> None:
    scored = [replace(one, score=score) for one, score in ((TODAY, 0.8), (SMALL, 0.8), (TODAY, 0.95))]
    dear = replace(scored[2], option="dear", kind="variant", usd_per_1k=1.01)
    options = [*scored[:2], dear]
    found = best_within_bill(options, lambda _: True, scored[0])
    assert found is scored[0] and best_within_bill(options, lambda _: True, dear) is scored[1]
    same = replace(dear, usd_per_1k=1.0)
    assert best_within_bill([*options, same], lambda _: True, scored[0]) is same
    assert best_within_bill([replace(TODAY, usd_per_1k=None), *options[1:]], lambda _: True, None) is None


def test_a_latency_that_was_not_measured_is_no_slow_one() -> None:
    today = Option(option="today", rung="baseline", kind="today", usd_per_1k=1.0, score=0.97)
    rival = Option(option="rival", rung="prompt", kind="variant", usd_per_1k=1.0, score=0.93, latency_p95_ms=30_000.0)
    for p95, saves in ((None, False), (30_000.0, False), (60_000.0, True)):
        mark = replace(today, latency_p95_ms=p95)
        assert is_saving(rival, mark) is saves and not is_saving(mark, rival)
        assert recommend([mark, rival], lambda _: True, frozenset()) is (rival if saves else mark)


def test_without_traffic_a_server_or_upkeep_costs_more_than_an_answer_that_needs_neither() -> None:
    hosted = Option(option="hosted", rung="model", kind="variant", usd_per_1k=1.0, running=RunningCost(usd_per_1k=1.0))
    kept = replace(hosted, option="kept", running=RunningCost(usd_per_1k=0.5, upkeep_usd=100.0))
    assert costs_at_most(hosted, kept, 2.0) and not costs_at_most(kept, hosted)
    month = [replace(one, usd_per_month=usd) for one, usd in ((hosted, 1000.0), (kept, 600.0))]
    assert costs_at_most(month[1], month[0])
