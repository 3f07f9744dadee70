"""Evidence made by hand: a project that is worth training for, and changes of it that a gate or a rule must see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from math import sqrt
from typing import Any

from tuneworthy.config.ladder import Economics
from tuneworthy.dataset.records import Difference, Effect
from tuneworthy.ladder.record import RungDifference
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.money.serving import Bill
from tuneworthy.regressions.compare import RegressionResult
from tuneworthy.stats.intervals import clopper_pearson, wilson
from tuneworthy.verdict.base import ErrorClass, ErrorShare, Forecast
from tuneworthy.verdict.error_analysis import FIXED_BY
from tuneworthy.verdict.evidence import (
    DatasetEvidence,
    Evidence,
    PilotEvidence,
    ProofEvidence,
    RungEvidence,
    TrainingEvidence,
)

N_TEST = 200


def rung(name: str, variant: str, score: float | None, **more: Any) -> RungEvidence:
    """A rung that was measured on test (or not, without a score)."""
    ci95 = None if score is None else wilson(score * N_TEST, N_TEST)
    base: dict[str, Any] = {"rung": name, "status": "inconclusive", "name": variant, "variant": variant}
    measured = {"score": score, "ci95": ci95, "n": N_TEST, "n_effective": float(N_TEST), "usd_per_1k": 0.0}
    return RungEvidence(**(base | {"latency_p50_ms": 100.0, "latency_p95_ms": 200.0} | measured | more))


RUNGS = (
    rung("classical", "classical/linear", 0.5, status="reference"),
    rung("baseline", "baseline/small", 0.55, status="reference"),
    rung("prompt", "prompt/xml_contract", 0.65, status="adopted"),
    rung("model", "model/strong", 0.7, status="adopted"),
    rung("few_shot", "few_shot/fixed-4", 0.68),
    rung("decoding", "decoding/greedy", 0.69, status="no_gain"),
)


def failures(name: ErrorClass, n_failed: int, n: int = 60) -> ErrorShare:
    """A class of `n_failed` of `n` failures."""
    return ErrorShare(
        name=name,
        n_failed=n_failed,
        n=n,
        share=n_failed / n,
        ci95=clopper_pearson(n_failed, n),
        fixed_by=FIXED_BY[name],
        probe="",
    )


def differences(rungs: Iterable[RungEvidence], margin: float = 0.05) -> tuple[RungDifference, ...]:
    """Paired differences as if a tenth of the cases differed."""
    tested = [one for one in rungs if one.score is not None]
    rows = []
    for a, b in permutations(tested, 2):
        delta = (b.score or 0.0) - (a.score or 0.0)
        error = sqrt(max(0.03, abs(delta)) / N_TEST)
        low, high = delta - 1.96 * error, delta + 1.96 * error
        rows.append(
            RungDifference(a=a.rung, b=b.rung, delta=delta, ci95=(low, high), no_worse=delta - 1.645 * error > -margin)
        )
    return tuple(rows)


def project(*rungs: RungEvidence, **more: Any) -> Evidence:
    """Evidence of these rungs; the best is the last one adopted."""
    adopted = [one.rung for one in rungs if one.status == "adopted" and one.score is not None]
    rungs_by_name, last = {}, next((one.variant for one in rungs if one.rung == "baseline"), None)
    for one in rungs:  # one that was adopted is better than the one before, unless it says why else
        row = replace(one, compared_to=one.compared_to or last) if one.score is not None else one
        if one.status == "adopted":
            row, last = replace(row, reason_code=one.reason_code or "better"), one.variant
        rungs_by_name[one.rung] = row
    fields: dict[str, Any] = {
        "target": 0.9,
        "margin": 0.05,
        "kind": "label",
        "rungs": rungs_by_name,
        "best": adopted[-1] if adopted else "baseline",
        "alpha": 0.008,
        "n_test": N_TEST,
        "options": max(1, sum(one.score is not None and one.rung != "fine_tune" for one in rungs)),
        "other_models": 1,
        "differences": differences(rungs, more.get("margin", 0.05)),
        "errors": (failures("unexplained", 50), failures("format", 10)),
        "bills": {one.rung: Bill(name=one.name, usd_per_1k=one.usd_per_1k) for one in rungs if one.score is not None},
        "smaller_usd": min((one.usd_per_1k or 0.0 for one in rungs if one.score is not None), default=None),
        "economics": Economics(serve_hardware="l4"),
        "expires": (("2027-02-22", "prices and models should be checked again"),),
    }
    return Evidence(**(fields | more))


def worth_it(**more: Any) -> Evidence:
    """A project whose every cheaper lever was tried and misses the target."""
    return project(*RUNGS, **more)


def with_rungs(*changed: RungEvidence, without: str = "", **more: Any) -> Evidence:
    """The same with other rungs."""
    rungs = {one.rung: one for one in RUNGS if one.rung != without} | {one.rung: one for one in changed}
    return project(*rungs.values(), **more)


EFFECT = Effect(
    status="measured", n_rows=1600, n_dropped=100, dev=Difference(0.0, (-0.01, 0.01), 900), baseline="linear"
)
DATASET = DatasetEvidence(
    version="d" * 16,
    n_rows=1500,
    review="accepted",
    review_words="at least 0.95 of the 1500 rows are good",
    bound=0.95,
    effect=EFFECT,
    effect_words="+0.0 points",
    terms="not_applicable",
    terms_words="no model wrote rows",
)
PROVEN = ProofEvidence(status="pass", detail="8 checks passed")
GUARD = RegressionResult(
    name="general", hash="h", status="pass", n=64, unscored=0, margin=0.1, detail="no loss beyond the margin"
)
TUNED_DETAIL = TunedDetail(
    engine="", adapter="a" * 16, gguf="g" * 16, dataset=DATASET.version, base="b" * 16, compared_base="b" * 16
)
TRAINED = TrainingEvidence(
    dataset=DATASET,
    pilot=PilotEvidence(n=8),
    parity=PROVEN,
    serving=PROVEN,
    adapter="a" * 16,
    tuned=TUNED_DETAIL,
    regressions=(GUARD,),
)
PROMISING = Forecast(
    status="measured", baseline=0.7, gain=0.2, ci95=(0.1, 0.3), n_examples=1500, points=((750, 0, 0.85),)
)
TUNED = rung(
    "fine_tune",
    "fine_tune/greedy",
    0.85,
    status="adopted",
    reason="better on the same cases",
    reason_code="better",
    delta=0.15,
    delta_ci=(0.08, 0.22),
)
TUNED = replace(TUNED, variant="tuned")


def ready(training: TrainingEvidence = TRAINED, **more: Any) -> Evidence:
    """Worth training for, and every gate before training holds."""
    untried = replace(training, adapter=None, tuned={}, parity=None, serving=None, regressions=())
    return worth_it(**({"training": untried, "forecast": PROMISING} | more))


def trained(tuned: RungEvidence = TUNED, training: TrainingEvidence = TRAINED, **more: Any) -> Evidence:
    """A tuned variant that was put to test and may be shipped; that no traffic was mirrored to it is waived."""
    waived = {"waivers": {"shadow": "the old model ran beside it for a week"}, "best": "fine_tune"}
    return with_rungs(tuned, **({"training": training, "forecast": PROMISING} | waived | more))
