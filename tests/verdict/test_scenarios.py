"""The worked scenarios: what the verdict must answer, row by row, on the pure core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.verdict.planted import RUNGS, TRAINED, failures, project, rung, with_rungs, worth_it

from tuneworthy.config.ladder import Constraints, Economics
from tuneworthy.ladder.adopt import AdoptionEvidence, decide_adoption
from tuneworthy.ladder.record import CandidateResult, DistinctScore, RungDifference
from tuneworthy.ladder.rung_details import Certificate, KeptLabel
from tuneworthy.money.serving import RunningCost
from tuneworthy.stats.intervals import effective_n, score_interval, target_status, wilson
from tuneworthy.stats.paired import compare, non_inferior
from tuneworthy.stats.ppi import correct_judge
from tuneworthy.types import RungStatus
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.base import LabelCeiling
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence, JudgeEvidence
from tuneworthy.verdict.gates import to_decide

NO_DOCUMENTS = {"retrieval": "no documents exist anywhere"}
OPEN: dict[str, Any] = {"kind": "short_answer", "answers_open": True, "errors": (failures("unexplained", 58),)}
BUSY = Economics(requests_per_month=20_000_000)


def all_tried(*rungs: Any, **more: Any) -> Evidence:
    """The rungs, and what is not named was compared and gains nothing."""
    named = {one.rung for one in rungs}
    low = min(one.score for one in rungs)
    rest = [replace(one, score=None) for one in RUNGS if one.rung not in named and one.rung != "classical"]
    tried = [rung(one.rung, one.name, low, status="no_gain", usd_per_1k=more.get("usd", 0.0)) for one in rest]
    more.pop("usd", None)
    order = {one.rung: n for n, one in enumerate(RUNGS)}
    rows = sorted([*rungs, *tried], key=lambda one: order[one.rung])
    return project(*rows, **({"has_examples": "classical" in named} | more))


# The rare label is never answered.
CONSTANT: dict[str, Any] = {
    "constant": True,
    "beats_majority": False,
    "recall": {"ok": 1.0, "fraud": 0.0},
    "status": "reference",
    "latency_p95_ms": 2.0,
}
STRONG = rung("model", "model/strong", 0.975, status="adopted", beats_majority=True)
PAID = {"usd_per_1k": 1.02555}
LARGE = rung("baseline", "baseline/large", 0.93, status="reference", **PAID)
SMALL = rung("model", "model/small", 0.74, usd_per_1k=0.05)
SLOW = rung("model", "model/strong", 0.93, status="violates_constraint", latency_p95_ms=1500.0, reason="p95 is 1500 ms")
HOSTED = rung("teacher", "model/hosted", 0.95, status="violates_constraint", hosted=True, reason="it is hosted")
TUNED = rung("fine_tune", "fine_tune/tuned", 0.91, status="inconclusive")


def tuned(*rungs: Any, rows: dict[tuple[str, str], tuple[float, float, float, bool]], **more: Any) -> Evidence:
    """A project whose tuned model was compared, with these differences."""
    from tuneworthy.ladder.record import RungDifference

    waived = {"shadow": "the old model ran beside it for a week"}
    evidence = project(*rungs, **({"training": TRAINED, "waivers": waived} | more))
    kept = [row for row in evidence.differences if (row.a, row.b) not in rows]
    new = [
        RungDifference(a=a, b=b, delta=delta, ci95=(low, high), no_worse=ok)
        for (a, b), (delta, low, high, ok) in rows.items()
    ]
    return replace(evidence, differences=(*kept, *new))


def balanced(*rungs: Any, **more: Any) -> Evidence:
    from tuneworthy.ladder.record import LabelBalance

    balance = LabelBalance(label="ok", share=0.93, n=80, score=0.93, rarest=0.07)
    return all_tried(*rungs, target=0.93, balance=balance, **more)


Row = tuple[Callable[[], Evidence], str, str | None, Callable[[Verdict], bool]]
TODAY = rung("baseline", "baseline/small", 0.93, status="reference", beats_majority=False)
CEILING = LabelCeiling(share=0.1, ci95=(0.07, 0.16), ceiling=0.9, n=66, decides=True)


def noisy_labels(**more: Any) -> Evidence:
    """All models score 87% against labels of which a tenth is wrong; people relabelled nine failures of dev."""
    return with_rungs(
        rung("model", "model/strong", 0.87, status="adopted"),
        target=0.95,
        errors=(failures("unexplained", 9, 9),),
        **({"suspects": 0, "relabelled": 9, "wrong_labels": (7, 9)} | more),
    )


ROWS: dict[str, Row] = {
    "1 majority": (
        lambda: balanced(rung("classical", "classical/majority", 0.93, **CONSTANT), TODAY, STRONG),
        "do_not_fine_tune",
        "model/strong",
        lambda v: (
            any("same answer" in note for note in v.options[0].notes)
            and any("`fraud`: 0.0%" in note for note in v.options[0].notes)
        ),
    ),
    "2 nearly majority": (
        lambda: balanced(
            rung("classical", "classical/linear", 0.93, **(CONSTANT | {"constant": False})), TODAY, STRONG
        ),
        "do_not_fine_tune",
        "model/strong",
        lambda v: v.options[0].target == "unresolved",
    ),
    "3 all tried": (
        lambda: all_tried(
            rung("prompt", "prompt/xml_contract", 0.65, status="adopted"),
            rung("few_shot", "few_shot/fixed-4", 0.6),
            target=0.85,
            errors=(failures("unexplained", 60),),
        ),
        "fine_tune",
        "prompt/xml_contract",
        lambda v: "untested" in v.reasons[0] and v.training.method == "sft",
    ),
    "4 facts": (
        lambda: all_tried(
            rung("baseline", "baseline/small", 0.11, status="reference"), rung("prompt", "prompt/xml", 0.11), **OPEN
        ),
        "undecided",
        "baseline/small",
        lambda v: "[documents]" in v.next_action.why and "waive" in v.next_action.why,
    ),
    "5 facts, waived": (
        lambda: all_tried(
            rung("baseline", "baseline/small", 0.11, status="reference"),
            rung("prompt", "prompt/xml", 0.11),
            waivers=NO_DOCUMENTS,
            **OPEN,
        ),
        "fine_tune",
        "baseline/small",
        lambda v: "slowly" in v.reasons[0] and "is measured" not in " ".join(v.reasons),
    ),
    "6 cost": (
        lambda: all_tried(LARGE, SMALL, target=0.88, economics=BUSY, usd=1.02555),
        "fine_tune",
        "baseline/large",
        lambda v: v.training.method == "distil" and "$20,511 a month" in v.reasons[0],
    ),
    "7 traffic unknown": (
        lambda: all_tried(LARGE, SMALL, target=0.88, usd=1.02555),
        "undecided",
        "baseline/large",
        lambda v: "requests_per_month" in v.next_action.why and "below about 1,2" in v.reasons[0],
    ),
    "8 small unresolved": (
        lambda: all_tried(
            rung("baseline", "baseline/large", 0.905, status="reference", **PAID),
            rung("model", "model/small", 0.889, usd_per_1k=0.1),
            target=0.9,
            economics=BUSY,
            usd=1.02555,
        ),
        "undecided",
        "baseline/large",
        lambda v: v.next_action.command == "tuneworthy cases add" and (v.next_action.chance_to_settle or 0) > 0.1,
    ),
    "10 labels suspected": (
        lambda: worth_it(errors=(failures("label_or_grader", 7, 7),), suspects=7),
        "undecided",
        "model/strong",
        lambda v: "suspects" in v.next_action.command and v.next_action.person_minutes == 14,
    ),
    "11 labels wrong": (
        lambda: worth_it(errors=(failures("label_or_grader", 20, 24),), suspects=20, labels_confirmed=True),
        "do_not_fine_tune",
        "model/strong",
        lambda v: "label" in v.next_action.command,
    ),
    "34 test not audited": (
        noisy_labels,
        "undecided",
        "model/strong",
        lambda v: (
            v.next_action.command == "tuneworthy label audit"
            and v.next_action.person_minutes == 2 * (26 + 40)
            and "7 of 9" in v.reasons[0]
        ),
    ),
    "34 ceiling below the target": (
        lambda: noisy_labels(label_ceiling=replace(CEILING, uncorrected=True)),
        "do_not_fine_tune",
        "model/strong",
        lambda v: (
            v.next_action.command == "tuneworthy label audit --apply"
            and "lower the target" in v.reasons[0]
            and v.to_dict()["label_ceiling"]["ceiling"] == 0.9
        ),
    ),
    "34 labels of test are right": (
        lambda: noisy_labels(label_ceiling=replace(CEILING, share=0.0, ceiling=1.0, decides=False)),
        "fine_tune",
        "model/strong",
        lambda v: v.reason_code == "levers_exhausted",
    ),
    "34 audit open": (
        lambda: noisy_labels(label_ceiling=replace(CEILING, decides=None, to_label=40)),
        "undecided",
        "model/strong",
        lambda v: v.next_action.command == "tuneworthy label audit" and v.next_action.person_minutes == 80,
    ),
    "12 lever spent": (
        lambda: with_rungs(rung("model", "model/strong", 0.8, status="adopted"), errors=(failures("reasoning", 36),)),
        "fine_tune",
        "model/strong",
        lambda v: v.reason_code == "levers_exhausted",
    ),
    "13 model not run": (
        lambda: with_rungs(without="model", errors=(failures("reasoning", 36),)),
        "undecided",
        "prompt/xml_contract",
        lambda v: "run --rung model" in v.next_action.command,
    ),
    "14 lever open": (
        lambda: with_rungs(without="few_shot", errors=(failures("format", 12, 24), failures("unexplained", 12, 24))),
        "undecided",
        "model/strong",
        lambda v: "few_shot" in v.next_action.command,
    ),
    "15 latency": (
        lambda: all_tried(
            rung("baseline", "baseline/small", 0.74, status="reference"),
            SLOW,
            target=0.88,
            limits=Constraints(p95_ms=800),
        ),
        "fine_tune",
        "baseline/small",
        lambda v: v.training.method == "distil" and reason(v, "latency") == "measured",
    ),
    "16 locality": (
        lambda: project(*RUNGS, HOSTED, limits=Constraints(on_device=True), other_models=0, barred_models=1),
        "fine_tune",
        "model/strong",
        lambda v: v.training.method == "distil" and reason(v, "locality") == "measured",
    ),
    "17 data stays": (
        lambda: worth_it(limits=Constraints(on_device=True, data_stays=True)),
        "fine_tune",
        "model/strong",
        lambda v: v.reason_code == "levers_exhausted" and reason(v, "locality") == "unknown",
    ),
    "18 no target": (
        lambda: worth_it(target=None),
        "undecided",
        "model/strong",
        lambda v: v.reason_code == "no_target" and "task.target" in v.next_action.why and len(v.options) > 5,
    ),
    "19 unresolved": (
        lambda: all_tried(
            rung("prompt", "prompt/xml", 0.82, status="adopted"),
            rung("few_shot", "few_shot/fixed-4", 0.6),
            target=0.85,
            n_test=150,
        ),
        "undecided",
        "prompt/xml",
        lambda v: v.next_action.command == "tuneworthy cases add" and v.next_action.chance_to_settle is not None,
    ),
    "20 free": (
        lambda: worth_it(economics=Economics(requests_per_month=100_000)),
        "fine_tune",
        "model/strong",
        lambda v: "a wrong answer" in v.economics.why,
    ),
    "21 little cheaper": (
        lambda: all_tried(
            rung("baseline", "baseline/large", 0.95, status="reference", usd_per_1k=1.0),
            rung("prompt", "prompt/half", 0.89, usd_per_1k=0.95),
            target=0.85,
            economics=BUSY,
            usd=1.0,
        ),
        "",
        "baseline/large",
        lambda v: True,
    ),
    "22 small meets": (
        lambda: all_tried(
            rung("baseline", "baseline/large", 0.95, status="reference", usd_per_1k=1.0),
            rung("model", "model/small", 0.88, usd_per_1k=0.1),
            target=0.85,
            economics=BUSY,
            usd=1.0,
        ),
        "do_not_fine_tune",
        "model/small",
        lambda v: "for $18,000 more a month; one more point of score costs $2,571.43 a month" in v.reasons[0],
    ),
    "22 at little traffic": (
        lambda: all_tried(
            rung("baseline", "baseline/large", 0.95, status="reference", usd_per_1k=1.0),
            rung("model", "model/small", 0.88, usd_per_1k=0.1),
            target=0.85,
            economics=Economics(requests_per_month=1000),
            usd=1.0,
        ),
        "do_not_fine_tune",
        "model/small",
        lambda v: "for $0.90 more a month; one more point of score costs $0.13 a month" in v.reasons[0],
    ),
    "26 not resolved": (
        lambda: tuned(
            *RUNGS[:2],
            rung("prompt", "prompt/xml", 0.88, status="adopted"),
            TUNED,
            rows={
                ("prompt", "fine_tune"): (0.03, -0.03, 0.09, True),
                ("fine_tune", "prompt"): (-0.03, -0.09, 0.03, False),
            },
            target=0.85,
        ),
        "undecided",
        "prompt/xml",
        lambda v: v.next_action.command == "tuneworthy cases add",
    ),
    "27 newly meets": (
        lambda: tuned(
            *RUNGS[:2],
            rung("prompt", "prompt/xml", 0.86, status="adopted"),
            replace(TUNED, score=0.92),
            rows={("prompt", "fine_tune"): (0.06, -0.01, 0.13, True)},
        ),
        "ship",
        "fine_tune/tuned",
        lambda v: "only option that meets the target" in v.reasons[0],
    ),
    "28 classical as good": (
        lambda: tuned(
            rung("classical", "classical/linear", 0.91, status="reference", latency_p95_ms=2.0),
            RUNGS[1],
            rung("prompt", "prompt/xml", 0.8, status="adopted"),
            replace(TUNED, latency_p95_ms=400.0),
            rows={
                ("classical", "fine_tune"): (0.0, -0.04, 0.06, True),
                ("fine_tune", "classical"): (0.0, -0.04, 0.04, True),
            },
        ),
        "do_not_ship",
        "classical/linear",
        lambda v: "classical/linear" in v.next_action.why and v.next_action.command == "tuneworthy export classifier",
    ),
    "29 no shadow": (
        lambda: tuned(
            *RUNGS[:2],
            rung("prompt", "prompt/xml", 0.8, status="adopted"),
            replace(TUNED, score=0.92),
            rows={("prompt", "fine_tune"): (0.12, 0.06, 0.18, True)},
            waivers={},
        ),
        "undecided",
        "fine_tune/tuned",
        lambda v: v.reason_code == "gate_shadow" and list(v.after_gates) == ["shadow"],
    ),
    "30 better at the same price": (
        lambda: all_tried(
            rung("baseline", "baseline/today", 0.848, status="reference", usd_per_1k=1.0),
            rung("few_shot", "few_shot/per_case-8", 0.988, status="adopted", usd_per_1k=1.0),
            target=0.8,
            economics=Economics(requests_per_month=20_000),
            usd=1.0,
        ),
        "do_not_fine_tune",
        "few_shot/per_case-8",
        lambda v: v.best_within_bill == v.recommendation and "highest within today's bill" in v.reasons[0],
    ),
    "40 after shadow": (
        lambda: tuned(
            rung("baseline", "baseline/small", 0.0, status="reference"),
            replace(TUNED, score=0.808, status="adopted", reason_code="better"),
            rows={("baseline", "fine_tune"): (0.808, 0.75, 0.86, True)},
            target=0.7,
            waivers={},
        ),
        "undecided",
        "fine_tune/tuned",
        lambda v: "shadow replay" in v.next_action.command and list(v.after_gates) == ["shadow"],
    ),
    "42 a critical label": (
        lambda: critical(11, 11),
        "undecided",
        "baseline/small",
        lambda v: targets(v) == ("missed", "unresolved") and "label `critical`" in v.next_action.why,
    ),
    "42 a critical label, enough cases": (
        lambda: critical(60, 59),
        "do_not_fine_tune",
        "model/strong",
        lambda v: targets(v) == ("missed", "met"),
    ),
}


def targets(verdict: Verdict) -> tuple[str | None, ...]:
    """Whether today's option and the strong model meet the target."""
    found = {one.option: one.target for one in verdict.options}
    return found["baseline/small"], found["model/strong"]


def critical(n: int, found: int, **more: Any) -> Evidence:
    """Today's option never finds a critical label; another one finds it in `found` of `n` cases."""
    cases = {"ok": 400 - n, "critical": n}
    return all_tried(
        rung(
            "baseline", "baseline/small", 0.973, status="reference", recall={"ok": 1.0, "critical": 0.0}, recall_n=cases
        ),
        rung("model", "model/strong", 0.98, recall={"ok": 0.98, "critical": found / n}, recall_n=cases),
        label_cases=cases,
        **({"critical": {"critical": 0.85}} | more),
    )


def test_a_missed_rare_label_is_named_in_the_first_sentence_and_decides_only_if_it_is_critical() -> None:
    found = decide(critical(11, 11, critical={}))
    assert found.recommendation == "baseline/small" and "`critical` (0 of 11)" in found.reasons[0]
    assert "model/strong finds 11 of 11" in found.reasons[0]


def reason(verdict: Verdict, name: str) -> str:
    return next(row.status for row in verdict.training.reasons if row.reason == name)


@pytest.mark.parametrize("name", ROWS)
def test_a_situation_gets_its_verdict(name: str) -> None:
    evidence, outcome, recommendation, also = ROWS[name]
    verdict = decide(evidence())
    if outcome:
        assert (verdict.outcome, verdict.reason_code, verdict.reasons) and verdict.outcome == outcome, verdict
    assert verdict.recommendation == recommendation
    assert also(verdict), (verdict.reason_code, verdict.reasons, verdict.next_action, verdict.training)


@pytest.mark.parametrize("change", ["dev waived", "dev unlike test", "not analysed", "corrected"])
def test_row_34_no_other_gate_erases_that_people_found_wrong_labels(change: str) -> None:
    candidates = [CandidateResult(variant="v", name="today", n=80, score=0.97, ci95=(0.92, 0.99))]
    today = rung("baseline", "baseline/small", 0.55, status="reference", candidates=candidates)
    evidence = noisy_labels()
    evidence = replace(evidence, rungs={**evidence.rungs, "baseline": today})
    if change == "dev waived":
        evidence = replace(evidence, waivers={"dev": "newer cases"})
    elif change == "not analysed":
        evidence = replace(evidence, errors=None)
    elif change == "corrected":  # of dev: the new analysis sees right labels
        evidence = replace(evidence, suspects=9, relabelled=0, waivers={"dev": "newer cases"})
    verdict = decide(evidence)
    assert (verdict.outcome, verdict.reason_code) == ("undecided", "errors_label_or_grader")
    assert verdict.next_action.command == "tuneworthy label audit"
    few = decide(replace(evidence, wrong_labels=(1, 9), labels_confirmed=False))
    assert few.reason_code != "errors_label_or_grader", few.reasons  # one of nine leaves a ceiling of 98.6%


@pytest.mark.parametrize(
    "named", [None, "quality", "cost", "latency", "locality", "format", "style", "ownership", "domain"]
)
@pytest.mark.parametrize("name", [name for name in ROWS if int(name.split()[0]) < 23])
def test_the_reason_that_the_team_has_in_mind_changes_no_outcome(name: str, named: Any) -> None:
    evidence = ROWS[name][0]()
    before, after = decide(evidence), decide(replace(evidence, motivation=named))
    assert (before.outcome, before.recommendation, before.next_action) == (
        after.outcome,
        after.recommendation,
        after.next_action,
    )
    if named:
        assert after.training.reasons[0].reason == named


N = 400
ONES = np.ones(N)


def answers(*wrong: int) -> np.ndarray:
    """Right answers, but for the cases up to the first number, and between further pairs of numbers."""
    right = np.ones(N)
    right[: wrong[0]] = 0
    for low, high in zip(wrong[1::2], wrong[2::2], strict=True):
        right[low:high] = 0
    return right


def test_row_9_a_cheaper_variant_that_loses_the_target_is_not_adopted_and_not_recommended() -> None:
    today, small = answers(32), answers(44)  # 92% and 89%: every case that is lost is one more
    gain, bound = compare(today, ONES, small, ONES), non_inferior(today, ONES, small, ONES, margin=0.05)
    assert gain.ci[1] < 0 and bound.holds  # significantly worse, inside the margin
    cheap = AdoptionEvidence(
        gain=gain, no_creep=bound, costs=(RunningCost(usd_per_1k=0.1), RunningCost(usd_per_1k=1.0)), loses_target=True
    )
    assert decide_adoption(cheap, 0.05).status is not RungStatus.ADOPTED
    assert decide_adoption(replace(cheap, loses_target=False), 0.05).status is RungStatus.ADOPTED
    verdict = decide(
        all_tried(
            rung("baseline", "baseline/large", 0.96, status="reference", **PAID),
            rung("model", "model/small", 0.84, usd_per_1k=0.05),
            target=0.9,
            economics=Economics(requests_per_month=1000),
            usd=1.02555,
        )
    )
    assert (verdict.outcome, verdict.recommendation) == ("do_not_fine_tune", "baseline/large")


@pytest.mark.parametrize("n", [50, 200, 300])
def test_row_23_eight_options_at_the_target_less_the_margin_are_hardly_ever_met(n: int) -> None:
    rng, target, margin, most = np.random.default_rng(23), 0.85, 0.05, 8
    right = rng.binomial(n, target - margin, size=(4000, most))

    def share(options: int) -> float:
        met = [target_status(k / n, n, target, margin, options=options) == "met" for k in range(n + 1)]
        return float(np.array(met)[right].any(axis=1).mean())

    assert share(most) <= 0.05 + 2 * (0.05 * 0.95 / 4000) ** 0.5
    assert share(1) > 0.08  # without a level for each of the eight it is


def test_row_24_people_correct_a_judge_that_likes_long_answers() -> None:
    rng = np.random.default_rng(24)
    short, long = (rng.random(N) < 0.8).astype(float), (rng.random(N) < 0.6).astype(float)  # what people say
    fooled = np.maximum(long, rng.random(N) < 0.9)  # the judge lets most long answers pass
    asked = np.arange(N) < 180
    blind = compare(short, ONES, fooled, ONES)
    corrected = correct_judge(short, fooled, np.where(asked, short, np.nan), np.where(asked, long, np.nan))
    assert blind.delta > 0 and blind.ci[0] > 0
    assert corrected.delta < 0 and corrected.interval()[1] < 0


def test_row_24_a_variant_that_people_did_not_judge_decides_nothing() -> None:
    strong = [rung("baseline", "baseline/small", 0.97, status="reference")]
    covered = JudgeEvidence(valid=True, detail="kappa 0.8")
    bare = JudgeEvidence(valid=False, detail="people rated no answers of the rung model", fix="Rate them.")
    assert decide(all_tried(*strong, judge=covered)).outcome == "do_not_fine_tune"
    verdict = decide(all_tried(*strong, judge=bare))
    assert (verdict.outcome, verdict.reason_code) == ("undecided", "gate_judge")


def test_row_25_forty_sources_of_five_rewordings_count_as_forty_cases() -> None:
    sources = np.repeat(np.arange(40), 5)
    right = (np.random.default_rng(25).random(40) < 0.8).astype(float)[sources]  # rewordings share their fate
    ones = np.ones(200)
    assert effective_n(right, ones, None) == 200
    assert effective_n(right, ones, sources) < 50
    grouped, alone = score_interval(right, ones, sources), score_interval(right, ones)
    assert grouped.hi - grouped.lo > 1.8 * (alone.hi - alone.lo)


def test_too_few_shots_are_named_and_not_a_prompt_that_was_compared() -> None:
    low = [
        rung("baseline", "baseline/small", 0.3, status="reference"),
        rung("prompt", "prompt/xml_contract", 0.3, status="no_gain"),
        rung("classical", "classical/linear", 0.3, status="reference"),
    ]
    verdict = decide(all_tried(*low, rung("few_shot", "few_shot/per_case-2", 0.3, status="no_gain"), has_examples=True))
    assert (verdict.outcome, verdict.reason_code) == ("undecided", "rung_prompt")
    assert "at least 3 few-shot examples" in str(verdict) and "The rung prompt has not" not in str(verdict)
    assert (verdict.next_action.command, verdict.next_action.why[:29]) == (
        "tuneworthy run",
        "Set `k` in [few_shot] to 3 or",
    )
    enough = decide(all_tried(*low, rung("few_shot", "few_shot/per_case-3", 0.3, status="no_gain"), has_examples=True))
    assert enough.reason_code != "rung_prompt"


def repeated(score: float, n: int, rival: float | None = None, **more: Any) -> Evidence:
    """A third of the cases are near-duplicates; classical scores .93, `score` on the distinct cases, like a rival."""
    part = DistinctScore(n=n, score=score, ci95=wilson(score * n, n), n_effective=n)
    low = [rung("baseline", "baseline/small", 0.7, status="reference"), rung("prompt", "prompt/xml", 0.7)]
    low += [] if rival is None else [rung("model", "model/strong", 0.9, usd_per_1k=9.0, beats_majority=True)]
    gap = RungDifference(a="classical", b="model", delta=(rival or 0) - score, ci95=(0.01, 0.3), no_worse=True)
    gaps = () if rival is None else (replace(gap, p_value=0.5 if rival < score + 0.1 else 1e-4),)
    evidence = all_tried(
        rung("classical", "classical/linear", 0.93, on_distinct_cases=part), *low, target=0.85, has_examples=True
    )
    everywhere = [replace(one, delta=-0.03, p_value=0.9) for one in gaps]
    return replace(evidence, **{"distinct_differences": gaps, "differences": everywhere} | more)


def test_rows_32_and_33_the_cases_without_a_near_duplicate_may_contradict_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(**about: Any) -> tuple[str, str, str]:
        verdict = decide(repeated(**about))
        gate = next(row for row in verdict.gates if row.gate == "contamination")
        return verdict.outcome, verdict.reason_code, gate.status

    settled, refuted = ("do_not_fine_tune", "target_met", "pass"), ("undecided", "gate_contamination", "fail")
    assert found(score=0.91, n=120) == settled
    assert decide(repeated(score=0.91, n=120)).options[0].on_distinct_cases.n == 120  # type: ignore[union-attr]
    assert found(score=0.72, n=120) == refuted
    assert "cases add" in decide(repeated(score=0.72, n=120)).next_action.command
    assert found(score=0.72, n=25) == settled  # too few distinct cases
    assert found(score=0.84, n=120) == settled  # losing significance contradicts nothing
    # Of six options: the upper bound is 0.855 at level 0.05 / 6 and 0.832 at 0.05.
    assert found(score=0.77, n=120) == settled
    assert found(score=0.86, n=120, rival=0.97) == refuted  # another option that meets the target is better there
    assert found(score=0.86, n=120, rival=0.9) == settled
    world = repeated(score=0.86, n=120, rival=0.97)
    few = [replace(one, p_value=0.02) for one in world.distinct_differences]  # below 0.05, and not below 0.05 / 6
    assert found(score=0.86, n=120, rival=0.97, distinct_differences=few)[2] == "pass"
    barred = {**world.rungs, "model": replace(world.rungs["model"], violated="the model is hosted")}
    assert found(score=0.86, n=120, rival=0.97, rungs=barred)[2] == "pass"
    gaps = repeated(score=0.86, n=120, rival=0.97).distinct_differences
    assert found(score=0.86, n=120, rival=0.97, differences=gaps)[2] == "pass"  # it is better on all cases, too
    almost = [replace(one, delta=0.08, p_value=0.06) for one in gaps]  # almost shown on all cases: not a contradiction
    assert found(score=0.86, n=120, rival=0.97, differences=almost)[2] == "pass"
    behind = [replace(one, delta=0.05, p_value=0.06) for one in gaps]  # higher there by more than the margin
    assert found(score=0.86, n=120, rival=0.97, differences=behind) == refuted
    assert found(score=0.72, n=120, waivers={"contamination": "customers repeat"}) == (*settled[:2], "waived")
    copies = {"waivers": {"contamination": "customers repeat"}, "overlaps": {"examples near test cases": 1}}
    assert found(score=0.72, n=120, **copies) == refuted
    monkeypatch.setattr(to_decide, "MIN_DISTINCT", 1000)  # switched off
    assert found(score=0.72, n=120) == settled


def test_row_44_without_labels_there_is_a_certificate_and_no_verdict() -> None:
    certificate = Certificate(
        variant="c", name="classical/linear", threshold=0.8, share=0.78, difference=0.025, upper=0.04, n=608,
        n_calibration=780, labels={"refund": KeptLabel(n=300, differ=4, upper=0.03)},
    )  # fmt: skip
    world = all_tried(
        rung("baseline", "baseline/today", 0.99, status="reference", usd_per_1k=2.0),
        rung("classical", "classical/linear", 0.93, certificate=certificate),
        target=0.9,
        economics=Economics(requests_per_month=20_000),
        n_test=780,
    )
    verdict = decide(replace(world, agreement="openai:today"))
    assert (verdict.outcome, verdict.reason_code) == ("undecided", "agreement_only")
    first = " ".join(verdict.reasons)
    assert "agreement with openai:today, not accuracy" in first
    assert "may answer 78% of the traffic" in first and "at most 4.0%" in first and "90% confidence" in first
    assert f"${0.78 * 40:,.2f} a month" in first  # of $2 per 1,000 of 20,000 answers
    assert "Label 100 test cases" in verdict.next_action.why and verdict.next_action.command == "tuneworthy label"
    assert verdict.recommendation is None
    assert decide(world).outcome == "do_not_fine_tune"  # the same scores as right answers
