"""Six projects made by hand, one for each answer: a run, its project file and the verdict on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.report import report_records as records
from tests.verdict.planted import (
    GUARD,
    PROMISING,
    TRAINED,
    ready,
    rung,
    trained,
    with_rungs,
    worth_it,
)

from tuneworthy.config import Project
from tuneworthy.config.ladder import Economics
from tuneworthy.config.project import load
from tuneworthy.dataset.card import CardRow, CheckEffect, DatasetCard, FunnelStep, Reason, RowCounts
from tuneworthy.graders.dev_answers import DevAnswer, DevCase
from tuneworthy.ladder.record import FieldScores, RungRecord, RunRecord
from tuneworthy.ladder.rung_details import CascadeDetail
from tuneworthy.types import Cascade, RungStatus, Shots, Variant, content_hash
from tuneworthy.verdict.answer import StoredVerdict
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence

TRAFFIC = 2_000_000.0
PRICES = {"baseline": 0.35, "prompt": 0.42, "model": 2.1, "few_shot": 2.9, "decoding": 2.1, "cascade": 0.62}
POINTS = tuple(
    (size, seed, score + 0.006 * seed)
    for size, score in ((94, 0.62), (188, 0.69), (375, 0.74), (750, 0.80))
    for seed in (0, 1)
)
FORECAST = replace(PROMISING, points=POINTS, ci95=(0.06, None), gain=0.1)
TOML = """
[task]
name = "tickets"
target = 0.9
[[graders]]
type = "exact"
[models.small]
provider = "openai"
model = "gpt-4.1-nano"
[ladder]
baseline = "small"
[economics]
requests_per_month = {traffic}
"""
FAILED = "14.0 points worse than the base, and the margin is 10.0 points"
LABELS = ("billing", "card lost", "login", "refund", "shipping")
SYSTEM = "You sort support tickets.\nAnswer with one label."
CONTRACT = (
    "<role>You sort support tickets.</role>\n<labels>billing, card lost, login, refund, shipping</labels>\n"
    "Answer with exactly one label and nothing else."
)


def priced(evidence: Evidence, traffic: float = TRAFFIC) -> Evidence:
    """The same with prices, traffic, and differences to today."""
    rungs = {name: replace(one, usd_per_1k=PRICES.get(name, 0.0)) for name, one in evidence.rungs.items()}
    for pair in evidence.differences:
        if pair.a == "baseline":
            rungs[pair.b] = replace(rungs[pair.b], delta_today=pair.delta, delta_today_ci=pair.ci95)
    # The tokens are those of the record.
    bills = {
        name: replace(bill, usd_per_1k=PRICES.get(name, 0.0), input_tokens=210.0, output_tokens=4.0)
        for name, bill in evidence.bills.items()
    }
    if "fine_tune" in bills:
        bills["fine_tune"] = replace(bills["fine_tune"], own_server=True, tuned=True)
    return replace(
        evidence,
        rungs=rungs,
        bills=bills,
        economics=Economics(requests_per_month=traffic, serve_hardware="l4"),
        smaller_usd=0.35,
    )


SENT = CascadeDetail(first="classical/linear", large="strong", threshold=0.8, sent=0.295)
EVIDENCE: dict[str, Evidence] = {
    "pilot_worthwhile": priced(worth_it()),
    "do_not_fine_tune": priced(
        with_rungs(
            rung("model", "model/strong", 0.95, status="adopted"),
            rung("cascade", "cascade/linear+strong", 0.945, status="adopted", reason_code="cheaper", detail=SENT),
        ),
        150_000.0,
    ),
    "undecided": priced(with_rungs(without="model", best="prompt")),
    "fine_tune": priced(ready(forecast=FORECAST)),
    "ship": priced(trained(forecast=FORECAST)),
    "do_not_ship": priced(
        trained(training=replace(TRAINED, regressions=(replace(GUARD, status="fail", detail=FAILED),)))
    ),
}


DEV = [
    DevCase(
        case=f"{i:08x}",
        question=f"My parcel number {i} shows as delivered, but it never arrived. Can I have my money back?",
        expected=LABELS[i % 5],
    )
    for i in range(20)
]


def answers(wrong: int, labels: Sequence[str] = LABELS) -> dict[str, DevAnswer]:
    """Answers to the dev cases, the first ones wrong."""
    return {
        case.case: DevAnswer(text="It sounds like this: shipping", score=0.0, failures=[f"{labels[i % 5]} → shipping"])
        if i < wrong
        else DevAnswer(text=labels[i % 5], score=1.0)
        for i, case in enumerate(DEV)
    }


def record_of(evidence: Evidence, **more: Any) -> RunRecord:
    """The run that the evidence is of."""
    rungs: list[RungRecord] = []
    model: RungRecord | None = None
    for one in evidence.rungs.values():
        base = records.rung(one.rung, one.name, round(200 * (one.score or 0.0)), RungStatus(one.status))
        delta: dict[str, Any] = {}
        if model is not None and one.score is not None and one.rung not in {"classical", "baseline"}:
            delta = records.gain(one.score - (model.score or 0.0), model.rung)
        if one.rung == "classical":
            delta = records.gain(one.score - 0.7, "model") if one.score else {}
        row = replace(
            base,
            score=one.score,
            ci95=one.ci95,
            usd_per_1k=one.usd_per_1k,
            dev_answers=answers(12 if one.rung == "baseline" else 4),
            recall={label: 0.6 + 0.05 * i for i, label in enumerate(LABELS)},
            latency_p50_ms=one.latency_p50_ms,
            **delta,
        )
        rungs.append(row)
        if one.rung == "baseline" or one.status == "adopted":
            model = row
    best = evidence.best if evidence.best in evidence.rungs else "baseline"
    run = records.record(*rungs, best=best, **({"task": "tickets", "target": evidence.target} | more))
    prompts: dict[str, Variant] = {}
    for row in rungs:
        shots = Shots(mode="fixed", k=4, pool_hash="p") if row.rung == "few_shot" else None
        system = SYSTEM if row.rung in {"baseline", "classical"} else CONTRACT
        prompts[row.variant or ""] = Variant(
            name=row.name or "",
            model="compact" if row.rung in {"baseline", "prompt"} else "strong",
            model_identity={"provider": "openai"},
            system=system,
            user="{{ input }}",
            shots=shots,
            cascade=Cascade(first=prompts["id-classical"], threshold=0.62) if row.rung == "cascade" else None,
        )
    return replace(run, variants=prompts, dev_cases=DEV)


@dataclass(frozen=True)
class ReportProject:
    """A project whose report is drawn."""

    record: RunRecord
    project: Project
    verdict: StoredVerdict


def report_project(name: str, folder: Path) -> ReportProject:
    """Return one of the six."""
    folder.mkdir(parents=True, exist_ok=True)
    evidence = EVIDENCE[name]
    (folder / "tuneworthy.toml").write_text(TOML.format(traffic=evidence.economics.requests_per_month))
    project, record = load(folder), record_of(evidence)
    same = replace(record.provenance, project=content_hash(project.model_dump(mode="json")))
    return ReportProject(replace(record, provenance=same), project, StoredVerdict(verdict=decide(evidence), changed=[]))


ROW = CardRow(
    source="logs/2026-10.jsonl:118",
    question="Hi, [PERSON_1] here, my card was stolen on holiday. What should I do now?",
    answer="card lost",
    detail="cosine 0.97",
    other="logs/2026-10.jsonl:12",
)
REASONS = (
    Reason("exact_duplicate", "exact_duplicate", "the same row again", "drop", 130, (ROW, ROW)),
    Reason("personal_data", "personal_data", "personal data", "mask", 210, (ROW,)),
    Reason("contamination", "overlap_ngram", "overlaps a case of test", "drop", 12, ()),
)


def card_project(name: str) -> tuple[DatasetCard, str]:
    """The card of the data of one of the six, and what its reviewers found."""
    failed = name in {"undecided", "do_not_ship"}
    gates = [(gate, "passed", "nothing found") for gate in ("exact_duplicate", "personal_data", "contamination")]
    steps = (
        ("import", 2000, 1980, 20, 4), ("exact_duplicate", 1980, 1850, 130, 0), ("near_duplicate", 1850, 1790, 60, 0),
        ("personal_data", 1790, 1790, 0, 210), ("contamination", 1790, 1778, 12, 0), ("refusal", 1778, 1771, 7, 0),
    )  # fmt: skip
    card = DatasetCard(
        task="tickets",
        version="3f9c2a7be1d04c55",
        created="2026-11-20",
        n_read=2000,
        n_rows=1771,
        summary="The checks dropped 209 of 1980 rows (most: exact_duplicate 130, near_duplicate 60, contamination 12)."
        " Dropping the 197 optional ones raises accuracy: +1.2 points [+0.1, +2.3] on dev.",
        unsafe=["contamination: 12 rows overlap"] if failed else [],
        funnel=[FunnelStep(check, n_in, n_out, gone, masked, 3, 0.42) for check, n_in, n_out, gone, masked in steps],
        reasons=list(REASONS),
        effects=[
            CheckEffect(
                "near_duplicate", 60, 0.03, "refund (12, 8.0%)", "+0.2 points [-0.6, +1.0] on dev (linear, n = 900)"
            ),
            CheckEffect("", 229, 0.115, "refund (31, 9.1%)", "+0.4 points [-0.5, +1.3] on dev (linear, n = 900)"),
        ],
        set_findings=[("balance", "The label `login` has 3.1% of the rows.")],
        distributions=[
            RowCounts("Length of questions (characters)", [("0 to 50", 210), ("50 to 100", 900), ("100 to 200", 661)]),
            RowCounts("Most frequent answers", [(label, 500 - 80 * i) for i, label in enumerate(LABELS)], "5 labels."),
        ],
        gates=[*gates[:2], ("contamination", "failed", "12 rows overlap test cases")] if failed else gates,
        provenance=[("files", "logs/2026-10.jsonl"), ("masking engine", "patterns"), ("teacher", "none")],
        licences=["Licences are not listed in the rows."],
        notes=["20 lines could not be read."] if failed else [],
    )
    review = "At least 95.0% of the 1,771 rows are good (95% bound, 120 rows reviewed)"
    return card, review if name in {"fine_tune", "ship", "do_not_ship"} else ""


def with_long_labels(record: RunRecord, n: int) -> RunRecord:
    """The same with `n` labels that have no place to break, in two scripts."""
    labels = [f"{i}_{'שאלה_על_חשבון' if i % 2 else 'account_closure_request'}_{'x' * 90}" for i in range(n)]
    rungs = [
        replace(row, dev_answers=answers(12, labels[:5]), recall=dict.fromkeys(labels, 0.5)) for row in record.rungs
    ]
    return replace(record, rungs=rungs)


def with_fields(record: RunRecord) -> RunRecord:
    """The same as a JSON task."""
    fields = {
        name: FieldScores(precision=0.9, recall=0.9, f1=f1)
        for name, f1 in (("date", 0.91), ("people", 0.72), ("time", 0.95), ("name_of_the_guest_who_books", 0.55))
    }
    rungs = [replace(row, fields=fields, recall={}) for row in record.rungs]
    return replace(record, rungs=rungs, kind="json", primary="json_fields")
