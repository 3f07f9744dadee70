"""Records of runs made by hand: what the report is tested on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tuneworthy.graders.dev_answers import DevAnswer, DevCase
from tuneworthy.ladder.record import (
    BestVariant,
    CandidateResult,
    ComparisonCount,
    FieldScores,
    OverlapCounts,
    Provenance,
    RungRecord,
    RunRecord,
    SplitRecord,
)
from tuneworthy.stats.intervals import wilson
from tuneworthy.types import RungStatus, Variant

N = 200


def candidate(variant: str, name: str, n: int, score: float, ci95: tuple[float, float]) -> CandidateResult:
    return CandidateResult(variant=variant, name=name, n=n, score=score, ci95=ci95, cost_usd=n / 12000)


def rung(name: str, variant: str, right: int, status: RungStatus = RungStatus.REFERENCE, **more: Any) -> RungRecord:
    """A rung that was put to test: `right` of 200 cases."""
    return replace(
        RungRecord(
            rung=name,
            status=status,
            reason=f"the reason of {name}",
            reason_code="reference",
            variant=f"id-{name}",
            name=variant,
            candidates_tried=2,
            n=N,
            score=right / N,
            ci95=wilson(right, N),
            n_effective=N,
            usd_per_1k=0.0,
            latency_p50_ms=12.0,
            latency_p95_ms=30.0,
            latency_n=32,
            input_tokens=210.0,
            output_tokens=4.0,
            graders={"exact": right / N},
            candidates=[
                candidate(f"id-{name}", variant, 120, right / N, wilson(right, N)),
                candidate(f"{variant}-lost", f"{variant}_lost", 80, 0.25, wilson(20, 80)),
            ],
        ),
        **more,
    )


def named(name: str, model: str, identity: dict[str, str]) -> Variant:
    return Variant(name=name, model=model, model_identity=identity, system=None, user="{{ input }}")


PROVENANCE = Provenance(
    tuneworthy="0.1.0",
    seed=7,
    project="5fd3c1d3e5d6be3e",
    split="5b1e",
    labels="1abe",
    groups="94f0",
    graders={"exact": "afa6"},
    examples="e8a3",
    documents="",
    models=["strong", "weak"],
    settings={"task.target": 0.85},
)


def gain(delta: float, against: str) -> dict[str, Any]:
    """The fields of a comparison at this look's alpha."""
    bounds = (delta - 0.07, delta + 0.07)
    return {"delta": delta, "delta_ci": bounds, "p_value": 0.0012, "alpha": 0.008, "compared_to": f"id-{against}"}


def record(*rungs: RungRecord, best: str | None, **more: Any) -> RunRecord:
    """A run of these rungs whose best variant is of the rung `best`."""
    fields: dict[str, Any] = {
        "task": "intents",
        "kind": "label",
        "primary": "exact",
        "target": 0.85,
        "margin": 0.05,
        "quick": False,
        "n_dev": 120,
        "n_test": N,
        "explored": True,
        "alpha": 0.008,
        "comparisons": ComparisonCount(5, 4),
        "cost_usd": 1.25,
        "rungs": list(rungs),
        "best": BestVariant(best, f"id-{best}") if best else None,
        "split": SplitRecord(origin="examples", reasons=["400 of 400 examples can be scored"], counts={"shots": 280}),
        "overlaps": OverlapCounts(cases={"exact": 3, "ngram": 1, "group": 0}, dev={"exact": 0, "ngram": 0, "group": 0}),
        "variants": {f"id-{r.rung}": named(r.name or "", "strong", {"provider": "openai"}) for r in rungs},
        "provenance": PROVENANCE,
    }
    return RunRecord(**(fields | more))


def plain() -> RunRecord:
    """A run whose stronger model is best and meets the target."""
    return record(
        rung("classical", "classical/linear", 150, **gain(-0.21, "model")),
        rung("baseline", "baseline/weak", 69, usd_per_1k=0.021, latency_p50_ms=400.0),
        rung("prompt", "prompt/xml_contract", 116, RungStatus.ADOPTED, usd_per_1k=0.034, **gain(0.235, "baseline")),
        rung("model", "model/strong", 192, RungStatus.ADOPTED, usd_per_1k=2.1, **gain(0.38, "prompt")),
        rung("few_shot", "few_shot/per_case-8", 193, RungStatus.INCONCLUSIVE, usd_per_1k=5.4, **gain(0.005, "model")),
        RungRecord(rung="decoding", status=RungStatus.SKIPPED, reason="strong takes no sampling parameters"),
        best="model",
    )


def classical_best() -> RunRecord:
    """A run in which a classifier beats every prompt."""
    return record(
        rung("classical", "classical/linear", 168, latency_p50_ms=0.8, reason_code="better", **gain(0.13, "prompt")),
        rung("baseline", "baseline/small", 88, latency_p50_ms=310.0, latency_p95_ms=520.0),
        rung("prompt", "prompt/contract", 142, RungStatus.ADOPTED, latency_p50_ms=420.0, **gain(0.27, "baseline")),
        rung("few_shot", "few_shot/fixed-4", 130, RungStatus.NO_GAIN, latency_p50_ms=900.0, **gain(-0.06, "prompt")),
        rung("decoding", "decoding/greedy", 141, RungStatus.NO_GAIN, latency_p50_ms=420.0, **gain(0.0, "prompt")),
        best="classical",
    )


def every_status() -> RunRecord:
    """A run with a rung of each status."""
    return record(
        rung("classical", "classical/majority", 60, **gain(-0.3, "prompt")),
        rung("baseline", "baseline/weak", 100),
        rung("prompt", "prompt/role", 120, RungStatus.ADOPTED, **gain(0.1, "baseline")),
        rung("model", "model/big", 119, RungStatus.NO_GAIN, **gain(0.0, "prompt")),
        rung("few_shot", "few_shot/fixed-4", 125, RungStatus.INCONCLUSIVE, **gain(0.02, "prompt")),
        rung(
            "decoding",
            "decoding/hot",
            140,
            RungStatus.VIOLATES_CONSTRAINT,
            reason="p95 is 900 ms",
            **gain(0.1, "prompt"),
        ),
        RungRecord(rung="retrieval", status=RungStatus.SKIPPED, reason="no documents"),
        RungRecord(
            rung="fine_tune", status=RungStatus.FAILED, reason="nothing could be scored", name="fine_tune/lora", n=N
        ),
        best="prompt",
    )


def json_task() -> RunRecord:
    """A JSON task with two graders and fields."""

    def graded(right: int, valid: float) -> dict[str, Any]:
        fields = {name: FieldScores(precision=0.9, recall=0.8, f1=right / N) for name in ("name", "date", "total")}
        fields["apology"] = FieldScores(precision=0.0, recall=None, f1=0.0)
        return {"graders": {"json_fields": right / N, "json_schema": valid}, "fields": fields}

    return record(
        rung("classical", "classical/field_tagger", 120, **graded(120, 1.0)),
        rung("baseline", "baseline/small", 100, usd_per_1k=0.4, **graded(100, 0.7)),
        rung("prompt", "prompt/contract", 170, RungStatus.ADOPTED, usd_per_1k=0.5, **graded(170, 0.95)),
        best="prompt",
        kind="json",
        primary="json_fields",
    )


def quick() -> RunRecord:
    """A quick run: dev only."""
    untested = {
        "n": 0,
        "score": None,
        "ci95": None,
        "n_effective": None,
        "graders": {},
        "usd_per_1k": None,
    }
    return record(
        rung("classical", "classical/linear", 150, **untested, latency_p50_ms=None, latency_p95_ms=None, latency_n=0),
        rung("baseline", "baseline/weak", 69, **untested, latency_p50_ms=None, latency_p95_ms=None, latency_n=0),
        rung("prompt", "prompt/xml", 116, RungStatus.INCONCLUSIVE, **untested, latency_p50_ms=None, latency_n=0),
        best=None,
        quick=True,
        n_dev=120,
        alpha=None,
        comparisons=ComparisonCount(5, 0),
    )


HOSTILE = "</td><script>alert(1)</script>]]>\x1b[31mred\x1b[0m\u202eevil\u200b\x07|*b*`c`[x](https://evil.example/x)"


def hostile() -> RunRecord:
    """A run whose texts were all written by an enemy."""
    bad = plain()
    rungs = [
        replace(
            r,
            name=f"{r.rung}/{HOSTILE}",
            reason=HOSTILE,
            notes=[HOSTILE],
            graders={HOSTILE: 0.5, "b" + HOSTILE: 0.4},
            fields={HOSTILE: FieldScores(precision=None, recall=0.5, f1=0.5)},
            dev_answers={HOSTILE: DevAnswer(text=HOSTILE, score=0.0, failures=[HOSTILE])},
            candidates=[replace(c, name=HOSTILE) for c in r.candidates],
        )
        for r in bad.rungs
    ]
    return replace(
        bad,
        task=HOSTILE,
        primary=HOSTILE,
        rungs=rungs,
        notes=[HOSTILE],
        dev_cases=[DevCase(case=HOSTILE, question=HOSTILE, expected=HOSTILE)],
        split=SplitRecord(origin=HOSTILE, reasons=[HOSTILE]),
        overlaps=OverlapCounts(cases={HOSTILE: 2}),
        provenance=replace(PROVENANCE, project=HOSTILE, graders={HOSTILE: HOSTILE}, settings={HOSTILE: HOSTILE}),
        variants={f"id-{r.rung}": named(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}) for r in rungs},
    )
