"""Evidence made by hand: a project that is worth training for, and changes of it that a gate or a rule must see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.stats import clopper_pearson
from tuneworthy.verdict.base import EconomicsResult, ErrorClass, ErrorShare, Fact, Forecast
from tuneworthy.verdict.error_analysis import FIXED_BY
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.training_facts import (
    DatasetEvidence,
    PilotEvidence,
    ProofEvidence,
    RegressionEvidence,
    TrainingEvidence,
)

PAYS = EconomicsResult(
    status="pays",
    break_even_requests_per_month=100_000,
    break_even_month=4,
    assumptions={"requests_per_month": Fact(200_000.0), "horizon_months": Fact(12.0)},
)


def rung(name: str, variant: str, score: float | None, **more: Any) -> RungEvidence:
    """A rung that was put to test (or not, without a score)."""
    bounds = {} if score is None else {"lower": score - 0.04, "upper": score + 0.04}
    base = {"rung": name, "status": "inconclusive", "name": variant, "names": (variant,), "score": score}
    return RungEvidence(**(base | bounds | more))


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


def worth_it(**more: Any) -> Evidence:
    """A project whose every cheaper lever was tried and misses the target, with a reason to train that is shown."""
    fields: dict[str, Any] = {
        "target": 0.9,
        "margin": 0.05,
        "motivation": "style_persona",
        "rungs": {one.rung: one for one in RUNGS},
        "best": "model",
        "alpha": 0.008,
        "n_test": 200,
        "other_models": 1,
        "errors": (failures("unexplained", 40), failures("format", 20)),
        "economics": PAYS,
        "expires": (("2027-02-22", "prices and models are to be looked at again"),),
    }
    return Evidence(**(fields | more))


def with_rungs(*changed: RungEvidence, without: str = "", **more: Any) -> Evidence:
    """The same with other rungs."""
    rungs = {name: one for name, one in worth_it().rungs.items() if name != without}
    return replace(worth_it(**more), rungs=rungs | {one.rung: one for one in changed})


DATASET = DatasetEvidence(
    version="d" * 16,
    n_rows=1500,
    review="accepted",
    review_words="at least 0.95 of the 1500 rows are good",
    bound=0.95,
    terms="not_applicable",
    terms_words="no model wrote rows",
)
PROVEN = ProofEvidence(status="pass", detail="8 checks passed")
GUARD = RegressionEvidence(name="general", status="pass", n=64, margin=0.1, detail="no loss beyond the margin")
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
PROMISING = Forecast(status="measured", gain=0.2, ci95=(0.1, 0.3), n_examples=1500, points=((750, 0, 0.85),))
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
