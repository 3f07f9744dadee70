"""Removing a fact gives the same outcome or `undecided`, whatever the project; what the team has in mind changes none.

The projects are drawn at random: scores, prices, traffic, limits, hosted models, failures, documents, rungs that were
not run. Two things are not drawn, because there the key means something else once the fact is gone: a waiver of a rung
whose subject the project names (it says nothing until the subject is removed), and traffic above what nobody is taken
to leave out (`economics.MOST_REQUESTS`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.verdict.planted import RUNGS, differences, failures, project, rung, trained

from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.config.serving import violation
from tuneworthy.money.economics import MOST_REQUESTS
from tuneworthy.verdict import outcome as outcome_module
from tuneworthy.verdict.base import Outcome
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.options import options_of
from tuneworthy.verdict.outcome import Ruling, decided, facts_of

PROJECTS = 300
ORDER = ("classical", "baseline", "prompt", "retrieval", "model", "few_shot", "decoding", "teacher")
WAIVABLE = ("few_shot", "decoding", "prompt", "classical")


def drawn(seed: int) -> Evidence:
    """A project drawn at random."""
    rng = np.random.default_rng(seed)

    def chance(p: float) -> bool:
        return bool(rng.random() < p)

    limits = Constraints(
        p95_ms=500.0 if chance(0.25) else None,
        on_device=chance(0.25),
        data_stays=chance(0.1),
        usd_per_1k=0.5 if chance(0.1) else None,
    )
    answers_open = chance(0.4)
    documents = answers_open and chance(0.5)
    named, best = chance(0.75), float(rng.choice([0.6, 0.7, 0.95]))
    barred = named and (limits.on_device or limits.data_stays) and chance(0.6)
    usd, target = float(rng.choice([0.0, 0.2, 1.0, 3.0])), float(rng.choice([0.5, 0.7, 0.8, 0.9, 0.99]))
    tried = [one for one in RUNGS if one.rung != "model" or (named and not barred)]
    if documents:
        tried.append(rung("retrieval", "retrieval/hybrid", 0.5))
    if barred and not limits.data_stays:
        tried.append(rung("teacher", "model/hosted", 0.5))
    rungs = []
    for one in sorted(tried, key=lambda one: ORDER.index(one.rung)):
        if chance(0.06) and one.rung != "baseline":
            continue
        lift = 0.4 if one.rung in {"teacher", "retrieval", "model"} and chance(0.3) else 0.0
        score = round(min(1.0, float(rng.uniform(0.4, best)) + lift), 3)
        cheaper = 1.0 if one.rung == "retrieval" else 0.1  # documents only make a prompt longer
        price = 0.0 if one.rung == "classical" else usd * float(rng.choice([1.0, 1.0, cheaper, 4.0]))
        slow = float(rng.choice([100.0, 900.0])) if one.rung in {"model", "baseline", "teacher"} else 100.0
        status = one.status if one.status == "reference" else str(rng.choice(["adopted", "no_gain", "inconclusive"]))
        hosted = one.rung == "teacher"
        broken = violation(limits, model=one.name, hosted=hosted, p95_ms=slow, usd_per_1k=price)
        measured = rung(one.rung, one.name, score, usd_per_1k=price, latency_p95_ms=slow, hosted=hosted)
        rungs.append(replace(measured, status="violates_constraint" if broken else status, violated=broken))
    n = int(rng.integers(8, 60))
    k = int(rng.integers(0, n + 1))
    cause: Any = str(rng.choice(["label_or_grader", "reasoning", "unexplained", "format", "instability"]))
    if documents and chance(0.4):
        cause = "knowledge"
    rest: Any = "unexplained" if cause != "unexplained" else "format"
    confirmed = None if chance(0.5) else chance(0.5)
    evidence = project(
        *rungs,
        target=target,
        margin=float(rng.choice([0.01, 0.05, 0.1])),
        kind="short_answer" if answers_open else "label",
        answers_open=answers_open,
        documents=documents,
        errors=None if chance(0.1) else (failures(cause, k, n), failures(rest, n - k, n)),
        labels_confirmed=confirmed if cause == "label_or_grader" else None,
        suspects=k if cause == "label_or_grader" else 0,
        limits=limits,
        other_models=int(named and not barred),
        barred_models=int(barred),
        waivers={name: "known beforehand" for name in (*WAIVABLE, *_absent(named, documents)) if chance(0.2)},
        economics=Economics(
            requests_per_month=float(rng.choice([1e3, 1e5, 1e6, MOST_REQUESTS])) if chance(0.7) else None,
            usd_per_wrong_answer=float(rng.choice([0.001, 1.0])) if chance(0.3) else None,
        ),
        has_examples=chance(0.9),
        motivation=rng.choice([None, "cost", "latency", "style"]),
    )
    return _with_money(evidence, rng)


def _with_money(evidence: Evidence, rng: np.random.Generator) -> Evidence:
    """The same with tokens, servers of one's own, and ranges drawn too."""

    def pair(low: float, high: float) -> tuple[float, float]:
        return (float(rng.uniform(low, 1.0)), float(rng.uniform(1.0, high))) if rng.random() < 0.3 else (1.0, 1.0)

    bills = {}
    for name, bill in evidence.bills.items():
        hosted = evidence.rungs[name].hosted
        own = not bill.usd_per_1k and not hosted and name != "classical" and rng.random() < 0.5
        tokens = {"input_tokens": float(rng.uniform(50, 1500)), "output_tokens": float(rng.uniform(1, 150))}
        bills[name] = replace(bill, own_server=bool(own), **(tokens if rng.random() < 0.7 else {}))
    ranges = {"traffic": pair(0.5, 2.0), "price": pair(0.5, 1.2), "wrong_answer": pair(0.2, 3.0)}
    numbers: dict[str, Any] = {"ranges": ranges, "serve_hardware": str(rng.choice(["cpu", "consumer", "l4", "h100"]))}
    numbers |= {"serve_params_b": float(rng.choice([0.5, 8.0]))}
    if rng.random() < 0.3:  # costs of one's own, which are no range
        numbers |= {"upkeep_usd_per_month": 0.0, "hours_retrain": 0.0, "hours_data": 1.0, "hours_engineering": 0.0}
        numbers |= {"serve_capacity_per_month": float(rng.choice([1e4, 1e6, 1e8]))}
    known = {name: getattr(evidence.economics, name) for name in ("requests_per_month", "usd_per_wrong_answer")}
    return replace(evidence, bills=bills, economics=Economics(**known, **numbers))


def _absent(named: bool, documents: bool) -> list[str]:
    """Gates of what the project does not have."""
    return [name for name, there in (("other_models", named), ("retrieval", documents)) if not there]


def _with_rungs(evidence: Evidence, gone: set[str], **more: Any) -> Evidence:
    rungs = {name: one for name, one in evidence.rungs.items() if name not in gone}
    adopted = [one.rung for one in rungs.values() if one.status == "adopted"]
    prices = [one.usd_per_1k for one in rungs.values() if one.usd_per_1k is not None]
    return replace(
        evidence,
        rungs=rungs,
        best=adopted[-1] if adopted else "baseline",
        differences=differences(rungs.values(), evidence.margin),
        bills={name: bill for name, bill in evidence.bills.items() if name in rungs},
        **({"smaller_usd": min(prices, default=None)} | more),
    )


def without_prices(evidence: Evidence, of: Collection[str] | None = None) -> Evidence:
    """Take the prices of the language models away, or those of some rungs alone."""
    gone = {name for name in evidence.rungs if name != "classical"} if of is None else of

    def unpriced(one: RungEvidence) -> RungEvidence:
        violated = "" if "$" in one.violated else one.violated
        status = "inconclusive" if one.violated and not violated else one.status
        return replace(one, usd_per_1k=None, violated=violated, status=status)

    rungs = {name: unpriced(one) if name in gone else one for name, one in evidence.rungs.items()}
    bills = {
        name: replace(one, usd_per_1k=None, price=None) if name in gone else one for name, one in evidence.bills.items()
    }
    prices = [one.usd_per_1k for name, one in rungs.items() if name != "classical" and one.usd_per_1k is not None]
    return replace(evidence, rungs=rungs, bills=bills, smaller_usd=min(prices, default=None))


def without_documents(evidence: Evidence) -> Evidence:
    """What only a document explained is not explained any more."""
    errors = evidence.errors
    if errors is not None and evidence.documents:
        counts: Counter[Any] = Counter()
        for row in errors:
            counts["unexplained" if row.name == "knowledge" else row.name] += row.n_failed
        errors = tuple(failures(name, n, errors[0].n) for name, n in counts.items())
    return _with_rungs(evidence, {"retrieval"}, documents=False, errors=errors, smaller_usd=evidence.smaller_usd)


REMOVED: dict[str, Callable[[Evidence], Evidence]] = {
    "motivation": lambda one: replace(one, motivation=None),
    "traffic": lambda one: replace(one, economics=one.economics.model_copy(update={"requests_per_month": None})),
    "prices": without_prices,
    "the price of one model": lambda one: without_prices(one, {"model"}),
    "documents": without_documents,
    "models": lambda one: _with_rungs(one, {"model", "teacher"}, other_models=0, barred_models=0),
    "waivers": lambda one: replace(one, waivers={}),
    "target": lambda one: replace(one, target=None),
}


Answers = list[tuple[Evidence, Ruling | None]]


def ruling_of(evidence: Evidence) -> Ruling | None:
    """What decides, as in `decide`, without its texts and its next step."""
    facts = facts_of(evidence, run_gates(evidence), options_of(evidence))
    return decided(facts) if evidence.target is not None else None


def outcome(ruling: Ruling | None) -> Outcome:
    return ruling.outcome if ruling else Outcome.UNDECIDED


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Projects drawn at random with what decides them."""
    return [(evidence, ruling_of(evidence)) for evidence in map(drawn, range(PROJECTS))]


def turned(fact: str, answers: Answers) -> list[tuple[Any, ...]]:
    """Return the projects whose outcome is neither the same nor open once the fact is gone."""
    found: list[tuple[Any, ...]] = []
    for seed, (evidence, before) in enumerate(answers):
        after = ruling_of(REMOVED[fact](evidence))
        same = outcome(after) is outcome(before)
        if not same and (fact == "motivation" or outcome(after) is not Outcome.UNDECIDED):
            found.append((seed, before, after))
    return found


@pytest.mark.parametrize("fact", REMOVED)
def test_removing_a_fact_never_turns_an_answer_around(fact: str, answers: Answers) -> None:
    assert not turned(fact, answers), turned(fact, answers)


MORE = range(10_000, 10_600)


def both(evidence: Evidence) -> Evidence:
    return REMOVED["traffic"](without_prices(evidence))


@pytest.mark.parametrize("remove", [REMOVED["traffic"], without_prices, both])
def test_without_traffic_or_prices_what_was_undecided_stays_undecided(remove: Callable[[Evidence], Evidence]) -> None:
    firm = []
    for evidence in map(drawn, MORE):
        if ruling_of(evidence) is None and (after := ruling_of(remove(evidence))) is not None:
            firm.append((evidence.economics, after))
    assert not firm, firm


def shipped(seed: int) -> Evidence:
    """A tuned model on a server of one's own, against an option that is paid by the answer or has a server too."""
    rng = np.random.default_rng(seed)
    evidence = trained()
    usd = float(rng.choice([0.0, 0.1, 1.0, 5.0]))
    delta = float(rng.uniform(-0.08, 0.12))
    tuned = replace(
        evidence.rungs["fine_tune"],
        score=round(0.7 + delta, 3),
        reason_code=str(rng.choice(["better", "no_worse"])),
        latency_p95_ms=float(rng.choice([100.0, 200.0, 400.0])),
    )
    rungs = {**evidence.rungs, "fine_tune": tuned, "model": replace(evidence.rungs["model"], usd_per_1k=usd)}
    bills = {**evidence.bills, "model": replace(evidence.bills["model"], usd_per_1k=usd, own_server=usd == 0)}
    bills["fine_tune"] = replace(bills["fine_tune"], own_server=True, tuned=True)
    margin = float(rng.choice([0.05, 0.1]))
    traffic = float(10 ** rng.uniform(2, 7)) if rng.random() < 0.9 else None
    return replace(
        evidence,
        rungs=rungs,
        bills=bills,
        margin=margin,
        differences=differences(rungs.values(), margin),
        economics=Economics(requests_per_month=traffic),
    )


@pytest.mark.parametrize("fact", ["traffic", "prices"])
def test_after_training_removing_traffic_or_prices_never_turns_an_answer_around(fact: str) -> None:
    outcomes, turns = Counter(), []
    for seed in range(150):
        evidence = shipped(seed)
        before, after = decide(evidence), decide(REMOVED[fact](evidence))
        outcomes[before.outcome] += 1
        if after.outcome not in {before.outcome, Outcome.UNDECIDED}:
            turns.append((seed, before.outcome, after.outcome))
    assert not turns, turns
    assert min(outcomes[one] for one in (Outcome.SHIP, Outcome.DO_NOT_SHIP, Outcome.UNDECIDED)) >= 5, outcomes


def test_the_drawn_projects_have_all_outcomes_by_many_rules(answers: Answers) -> None:
    counts = Counter(outcome(ruling) for _, ruling in answers)
    assert min(counts[one] for one in (Outcome.FINE_TUNE, Outcome.DO_NOT_FINE_TUNE, Outcome.UNDECIDED)) >= 20, counts
    codes = {ruling.code for _, ruling in answers if ruling}
    assert {"target_met", "cost", "constraint", "levers_exhausted", "economics"} <= codes, codes


def test_every_open_project_has_a_next_step_that_may_settle_it(answers: Answers) -> None:
    for evidence, ruling in answers[:40]:
        verdict = decide(evidence)
        assert verdict.outcome is outcome(ruling)
        assert verdict.next_action.command or verdict.next_action.why, verdict
        if verdict.outcome is Outcome.UNDECIDED:
            assert verdict.next_action.chance_to_settle is not None or verdict.reason_code.startswith("gate_"), verdict


@pytest.mark.parametrize("fact", ["documents", "models", "waivers"])
def test_a_rule_that_ignores_what_is_missing_is_found(
    fact: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_module, "RUNG_OF", {})  # nothing could meet the target that was not compared
    assert turned(fact, answers)
