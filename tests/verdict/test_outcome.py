"""The outcome holds for every completion of the unknown facts, and removing a fact never turns an answer around."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from tests.verdict.planted import RUNGS, differences, failures, project, rung

from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.verdict import outcome as outcome_module
from tuneworthy.verdict.base import Option, Outcome, Verdict
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.economics import Bill
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.facts import ABSENT, DecisionFacts
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


def test_what_cannot_matter_is_never_enumerated() -> None:
    many = {("lever", f"l{n}"): None for n in range(60)}
    found = DecisionFacts(values={("meets", "today"): True, **many}, options=(TODAY,))  # type: ignore[dict-item]
    assert len(list(completions(found))) == 1 and open_facts(found) == []
    missed = DecisionFacts(values={("meets", "today"): False, **many}, options=(TODAY,))  # type: ignore[dict-item]
    assert len(list(completions(missed))) == 61


def test_a_rule_that_guesses_an_unknown_fact_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = facts(meets__today=None)
    assert decided(found) is None
    monkeypatch.setattr(DecisionFacts, "known", lambda self, kind, subject="": bool(ABSENT[kind]))
    assert decided(found) is not None
    assert outcome_module.CHEAPER_RUNGS


def drawn(seed: int) -> Evidence:
    """A project drawn at random: scores, prices, limits, failures, waivers."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["label", "short_answer"])
    usd = float(rng.choice([0.0, 0.2, 1.0, 3.0]))
    rungs, best = [], float(rng.choice([0.6, 0.7, 0.95]))
    for one in RUNGS:
        if rng.random() < 0.04 and one.rung != "baseline":
            continue
        score = round(float(rng.uniform(0.4, best)), 3)
        price = 0.0 if one.rung == "classical" else usd * float(rng.choice([1.0, 1.0, 0.1]))
        status = one.status if one.status == "reference" else str(rng.choice(["adopted", "no_gain", "inconclusive"]))
        slow = float(rng.choice([100.0, 900.0])) if one.rung == "model" else 100.0
        rungs.append(rung(one.rung, one.name, score, status=status, usd_per_1k=price, latency_p95_ms=slow))
    n = int(rng.integers(8, 60))
    k = int(rng.integers(0, n + 1))
    cause: Any = rng.choice(["label_or_grader", "reasoning", "unexplained", "format"])
    errors = (failures(cause, k, n), failures("unexplained" if cause != "unexplained" else "format", n - k, n))
    limits = Constraints(p95_ms=500.0 if rng.random() < 0.3 else None)
    rungs = [
        replace(one, violated="too slow") if limits.p95_ms and (one.latency_p95_ms or 0) > limits.p95_ms else one
        for one in rungs
    ]
    worth = float(rng.choice([0.001, 1.0])) if rng.random() < 0.3 else None
    traffic = float(rng.choice([1e3, 1e6, 3e7])) if rng.random() < 0.7 else None
    return project(
        *rungs,
        target=float(rng.choice([0.7, 0.8, 0.9])),
        kind=str(kind),
        answers_open=kind != "label",
        documents=bool(rng.random() < 0.3),
        errors=errors,
        limits=limits,
        waivers={name: "known beforehand" for name in ("few_shot", "other_models", "decoding") if rng.random() < 0.2},
        economics=Economics(requests_per_month=traffic, usd_per_wrong_answer=worth),
        motivation=rng.choice([None, "cost", "latency", "style"]),
    )


def without(evidence: Evidence) -> dict[str, Evidence]:
    """The same project with one fact removed."""
    unpriced = {
        name: one if name == "classical" else replace(one, usd_per_1k=None) for name, one in evidence.rungs.items()
    }
    bills = {
        name: one if name == "classical" else Bill(name=one.name, usd_per_1k=None)
        for name, one in evidence.bills.items()
    }
    rungs = {name: one for name, one in evidence.rungs.items() if name != "model"}
    adopted = [one.rung for one in rungs.values() if one.status == "adopted"]
    return {
        "motivation": replace(evidence, motivation=None),
        "traffic": replace(evidence, economics=evidence.economics.model_copy(update={"requests_per_month": None})),
        "prices": replace(evidence, rungs=unpriced, bills=bills, smaller_usd=None),
        "documents": replace(evidence, documents=False),
        "models": replace(
            evidence,
            rungs=rungs,
            best=adopted[-1] if adopted else "baseline",
            differences=differences(rungs.values()),
            other_models=0,
            smaller_usd=evidence.rungs["baseline"].usd_per_1k,
        ),
        "waivers": replace(evidence, waivers={}),
        "target": replace(evidence, target=None),
    }


SEEDS = 200


@pytest.fixture(scope="module")
def answers() -> list[tuple[Evidence, Verdict]]:
    """Projects drawn at random with their verdicts."""
    return [(evidence, decide(evidence)) for evidence in map(drawn, range(SEEDS))]


@pytest.mark.parametrize("fact", ["motivation", "traffic", "prices", "documents", "models", "waivers", "target"])
def test_removing_a_fact_never_turns_an_answer_around(fact: str, answers: list[tuple[Evidence, Verdict]]) -> None:
    turned = []
    for seed, (evidence, before) in enumerate(answers):
        after = decide(without(evidence)[fact])
        same, was_open = after.outcome is before.outcome, before.outcome is Outcome.UNDECIDED
        if not same and (fact == "motivation" or not (was_open or after.outcome is Outcome.UNDECIDED)):
            turned.append((seed, before.outcome, after.outcome, before.reason_code, after.reason_code))
    assert not turned, turned


def test_the_drawn_projects_have_all_outcomes(answers: list[tuple[Evidence, Verdict]]) -> None:
    counts = Counter(verdict.outcome for _, verdict in answers)
    assert min(counts[one] for one in (Outcome.FINE_TUNE, Outcome.DO_NOT_FINE_TUNE, Outcome.UNDECIDED)) >= 10, counts
