"""Each gate and each line of the decision has a world that needs it: switched off, the world gets another answer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from tests.verdict.planted import PAYS, RUNGS, failures, rung, with_rungs, worth_it

from tuneworthy.config.ladder import Constraints
from tuneworthy.rules import Finding, Status
from tuneworthy.verdict import decide as decide_module
from tuneworthy.verdict.base import EconomicsResult, Outcome
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence, JudgeEvidence, RungEvidence, best_eligible
from tuneworthy.verdict.gates import GATES, NEVER_WAIVED, run_gates

FINE_TUNE, DO_NOT, NOT_ENOUGH = Outcome.FINE_TUNE, Outcome.DO_NOT_FINE_TUNE, Outcome.UNDECIDED
NEVER = EconomicsResult(status="never")
STRADDLING = {"score": 0.88, "lower": 0.84, "upper": 0.92}
KNOWS = rung("retrieval", "retrieval/hybrid", 0.7)
MET = rung("model", "model/strong", 0.95, status="adopted")

TRIPPED: dict[str, Evidence] = {
    "test_set": worth_it(n_test=40),
    "baseline": with_rungs(rung("baseline", "baseline/small", None, status="failed")),
    "contamination": worth_it(overlaps={"development cases in test": 2}),
    "classical": with_rungs(without="classical"),
    "prompt": with_rungs(rung("prompt", "prompt/role", 0.65)),
    "few_shot": with_rungs(rung("few_shot", "few_shot/fixed-4", None, status="skipped")),
    "other_models": with_rungs(without="model", best="prompt"),
    "retrieval": worth_it(documents=True),
    "decoding": with_rungs(without="decoding"),
    "judge": worth_it(judge=JudgeEvidence(valid=False, detail="kappa 0.1")),
    "power": with_rungs(KNOWS, replace(RUNGS[3], **STRADDLING), problem="factual_knowledge"),
    "reason": worth_it(motivation=None),
    "economics": worth_it(economics=NEVER),
}
"""Gate to a world that only this gate keeps from another answer."""
PASSING: dict[str, Evidence] = {
    **dict.fromkeys(TRIPPED, worth_it()),
    "retrieval": with_rungs(KNOWS, documents=True),
    "judge": worth_it(judge=JudgeEvidence(valid=True, detail="kappa 0.8")),
}


def outcome(evidence: Evidence) -> Outcome:
    return decide(evidence).outcome


def status(name: str, evidence: Evidence) -> Status:
    return next(result.status for result in run_gates(evidence) if result.gate == name)


def switch_off(name: str, monkeypatch: pytest.MonkeyPatch, status: Status = "pass") -> None:
    """Let a gate see nothing any more."""
    real = GATES.get

    def get(wanted: str) -> Any:
        found = real(wanted)
        silent = Finding(status=status, message="Switched off.")
        return replace(found, examine=lambda _: silent) if wanted == name else found

    monkeypatch.setattr(GATES, "get", get)


def test_all_gates_before_training_are_planted() -> None:
    assert list(TRIPPED) == [result.gate for result in run_gates(worth_it())]


def test_the_simulation_without_a_fault_is_worth_training_for() -> None:
    found = decide(worth_it())
    assert (found.outcome, found.reason_code, found.target) == (FINE_TUNE, "levers_exhausted", "missed")
    assert "dataset_frozen" in found.next_action and "pilot" in found.next_action
    assert found.valid_until == "2027-02-22"


@pytest.mark.parametrize("name", TRIPPED)
def test_a_gate_trips_in_its_planted_simulation_and_passes_without_the_fault(name: str) -> None:
    assert status(name, TRIPPED[name]) in {"fail", "unknown"}
    assert status(name, PASSING[name]) in {"pass", "not_applicable"}
    assert outcome(PASSING[name]) is FINE_TUNE


@pytest.mark.parametrize("off", ["pass", "not_applicable"])
@pytest.mark.parametrize("name", TRIPPED)
def test_a_gate_that_is_switched_off_changes_the_answer(name: str, off: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outcome(TRIPPED[name])
    assert before is (DO_NOT if name in {"reason", "economics"} else NOT_ENOUGH)
    switch_off(name, monkeypatch, off)
    assert outcome(TRIPPED[name]) is not before


@pytest.mark.parametrize("name", TRIPPED)
def test_the_reason_code_names_the_gate_that_blocks(name: str) -> None:
    found = decide(TRIPPED[name])
    assert found.reason_code in {f"gate_{name}", name}
    assert found.reasons[0]


@pytest.mark.parametrize("name", TRIPPED)
def test_a_waiver_opens_a_gate_with_its_reason_but_five_are_never_waived(name: str) -> None:
    waived = replace(TRIPPED[name], waivers={name: "it is known beforehand"})
    found = next(result for result in run_gates(waived) if result.gate == name)
    if name in NEVER_WAIVED:
        assert outcome(waived) is NOT_ENOUGH and found.status != "waived"
    else:
        assert found.status == "waived" and "it is known beforehand" in found.detail
        assert decide(waived).reason_code not in {f"gate_{name}", name}


OPEN = "errors_unresolved"
LINES: dict[str, tuple[Evidence, Outcome, str]] = {
    "_gates": (worth_it(overlaps={"development cases in test": 1}), NOT_ENOUGH, "gate_contamination"),
    "_target_met": (with_rungs(MET), DO_NOT, "target_met"),
    "_not_a_training_problem": (with_rungs(KNOWS, problem="factual_knowledge"), DO_NOT, "guide"),
    "_another_lever": (
        worth_it(motivation="strict_format", errors=(failures("format", 48),)),
        DO_NOT,
        "errors_format",
    ),
    "_never_pays": (worth_it(economics=NEVER), DO_NOT, "economics"),
    "_unresolved": (
        with_rungs(replace(RUNGS[3], **STRADDLING), waivers={"power": "no more cases can be had"}),
        NOT_ENOUGH,
        "target_unresolved",
    ),
    "_open_rung": (
        with_rungs(replace(RUNGS[4], score=0.85, lower=0.8, upper=0.9)),
        NOT_ENOUGH,
        "rung_unresolved",
    ),
    "_open_lever": (worth_it(errors=(failures("unexplained", 11, 20), failures("reasoning", 9, 20))), NOT_ENOUGH, OPEN),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_decision_that_is_taken_out_changes_the_answer(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence, wanted, code = LINES[line]
    found = decide(evidence)
    assert (found.outcome, found.reason_code) == (wanted, code)
    rest = tuple(one for one in decide_module._TABLE if one.__name__ != line)
    assert len(rest) == len(decide_module._TABLE) - 1
    monkeypatch.setattr(decide_module, "_TABLE", rest)
    assert outcome(evidence) is FINE_TUNE


def test_most_failures_are_more_than_half_of_those_that_were_looked_at() -> None:
    def answer(n_failed: int, n: int) -> str:
        rows = (failures("reasoning", n_failed, n), failures("unexplained", n - n_failed, n))
        return decide(worth_it(errors=rows)).reason_code

    assert [answer(k, 20) for k in (11, 10, 7, 6)] == ["errors_reasoning", OPEN, OPEN, "levers_exhausted"]
    assert [answer(k, 60) for k in (31, 30, 25, 24)] == ["errors_reasoning", OPEN, OPEN, "levers_exhausted"]
    assert "add dev cases" in decide(LINES["_open_lever"][0]).next_action


def test_nobody_trains_before_the_failures_were_looked_at() -> None:
    found = decide(
        with_rungs(
            replace(RUNGS[3], latency_p95_ms=900.0),
            limits=Constraints(p95_ms=500.0),
            errors=None,
            motivation="latency_hard_constraint",
        )
    )
    assert (found.outcome, found.reason_code) == (NOT_ENOUGH, "errors_unknown")
    assert "decide --probe" in found.next_action


def test_what_a_constraint_forbids_leaves_nothing_open() -> None:
    near = replace(RUNGS[4], score=0.85, lower=0.8, upper=0.9)
    assert decide(with_rungs(near)).reason_code == "rung_unresolved"
    assert outcome(with_rungs(replace(near, violated="p95 is 900 ms, the limit is 500 ms"))) is FINE_TUNE


def test_the_last_line_is_the_only_one_that_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.__name__ for one in decide_module._TABLE} == {*LINES, "_fine_tune"}
    monkeypatch.setattr(decide_module, "_TABLE", decide_module._TABLE[:-1])
    with pytest.raises(StopIteration):
        decide(worth_it())


def test_the_lines_come_in_the_order_of_the_contract() -> None:
    both = with_rungs(MET, KNOWS, problem="factual_knowledge", economics=NEVER)
    assert decide(both).reason_code == "target_met"
    assert decide(replace(both, overlaps={"development cases in test": 1})).reason_code == "gate_contamination"
    missed = with_rungs(KNOWS, problem="factual_knowledge", economics=NEVER)
    assert decide(missed).reason_code == "guide"


def test_a_met_target_needs_no_levers_that_were_not_tried() -> None:
    rungs = {"baseline": rung("baseline", "baseline/small", 0.95, status="reference")}
    found = decide(worth_it(rungs=rungs, best="baseline", motivation=None, errors=None))
    assert (found.outcome, found.reason_code) == (DO_NOT, "target_met")


def test_a_classical_baseline_that_is_best_needs_other_levers_only_if_it_misses_the_target() -> None:
    best = rung("classical", "classical/linear", 0.95, status="reference", reason_code="better")
    alone = {"classical": best, "baseline": RUNGS[1]}
    found = decide(worth_it(rungs=alone, best="classical"))
    assert (found.reason_code, found.outcome) == ("target_met_by_classical", DO_NOT)
    assert "the classical baseline (linear)" in found.reasons[0]
    short = {**alone, "classical": replace(best, score=0.7, lower=0.66, upper=0.74)}
    assert decide(worth_it(rungs=short, best="classical")).reason_code == "gate_prompt"
    lost = with_rungs(replace(best, score=0.8, lower=0.76, upper=0.84), best="classical")
    assert outcome(lost) is FINE_TUNE
    for name in ("few_shot", "decoding", "model"):
        without = replace(lost, rungs={key: one for key, one in lost.rungs.items() if key != name})
        assert outcome(without) is NOT_ENOUGH


SLOW = "p95 is 900 ms, the limit is 500 ms"


@pytest.mark.parametrize("forbidden", [{"violated": SLOW}, {"status": "violates_constraint", "reason": SLOW}])
def test_what_a_constraint_forbids_never_meets_the_target(forbidden: dict[str, Any]) -> None:
    fast = rung("baseline", "baseline/dear", 0.95, status="reference")
    slow = replace(fast, **forbidden)
    assert decide(with_rungs(fast, best="baseline")).target == "met"
    found = decide(with_rungs(slow, best="baseline"))
    assert (found.target, found.outcome) == ("missed", FINE_TUNE)
    assert SLOW in found.reasons[1]
    nothing_else = decide(worth_it(rungs={"baseline": slow}, best="baseline"))
    assert (nothing_else.target, nothing_else.outcome) == ("unresolved", NOT_ENOUGH)


def ladder(*rungs: RungEvidence) -> dict[str, RungEvidence]:
    return {one.rung: one for one in rungs}


def test_a_score_in_words_says_what_its_interval_is_and_counts_only_what_was_scored() -> None:
    one = replace(rung("model", "model/strong", 0.84), n=200, unscored=3)
    assert one.score_on(200) == "84.0% (90% interval 80.0% to 88.0%, 197 test cases)"


@pytest.mark.parametrize("best", ["classical", "few_shot"])
def test_no_target_counts_as_met_that_a_copied_answer_meets(best: str) -> None:
    copied = rung("classical", "classical/nearest", 0.95, status="reference", reason_code="better")
    shots = rung("few_shot", "few_shot/fixed-4", 0.96, status="adopted")
    found = decide(with_rungs(copied, shots, best=best, kind="free_text"))
    assert (found.outcome, found.reason_code) == (NOT_ENOUGH, "gate_classical")
    for other in ({"kind": "label"}, {"waivers": {"classical": "the answers are canned"}, "kind": "free_text"}):
        assert decide(with_rungs(copied, shots, best=best, **other)).target == "met"
        assert decide(with_rungs(copied, shots, best=best, **other)).outcome is DO_NOT
    weak = with_rungs(replace(copied, score=0.6, lower=0.56, upper=0.64), shots, best="few_shot", kind="free_text")
    assert decide(weak).outcome is DO_NOT


def test_the_best_that_may_be_used_is_the_runs_else_the_last_adopted_else_the_first_else_the_classical_baseline() -> (
    None
):
    classical, base, prompt, model, shots, _ = RUNGS
    barred = replace(base, violated=SLOW)
    tried = replace(prompt, status="no_gain")

    def name(best: str | None, *rungs: RungEvidence) -> str:
        found = best_eligible(ladder(*rungs), best)
        return found.rung if found else ""

    assert name("baseline", classical, base, prompt, model) == "baseline"
    assert name("baseline", classical, barred, prompt, model, shots) == "model"
    assert name("baseline", classical, barred, tried, shots) == "prompt"
    assert name("baseline", classical, barred) == "classical"
    assert name("baseline", barred) == ""
    assert name("classical", replace(classical, violated=SLOW), base) == "baseline"
    assert name(None, base) == ""


@pytest.mark.parametrize("problem", ["reasoning", "tool_calls"])
def test_a_row_of_the_guide_without_a_source_does_not_decide_alone(problem: Any) -> None:
    assert decide(worth_it(problem=problem)).outcome is FINE_TUNE


def test_what_no_longer_holds_is_named_and_not_used() -> None:
    found = decide(worth_it(stale=["the judge changed"]))
    assert (found.outcome, found.reason_code) == (NOT_ENOUGH, "gate_baseline")
    assert "the judge changed" in found.reasons[0] and found.stale == ["the judge changed"]
    looked = worth_it(motivation="strict_format", errors=None, errors_stale=["the documents"])
    assert "Changed since: the documents" in decide(looked).reasons[0]
    assert decide(looked).stale == ["the documents"]


MOTIVATED: dict[str, tuple[Evidence, Evidence, Evidence]] = {
    "style_persona": (
        worth_it(),
        worth_it(errors=(failures("unexplained", 6), failures("format", 30))),
        worth_it(errors=None),
    ),
    "strict_format": (
        worth_it(errors=(failures("format", 22), failures("unexplained", 38))),
        worth_it(errors=(failures("unexplained", 60),)),
        worth_it(errors=None),
    ),
    "distillation": (
        with_rungs(replace(MET, violated=SLOW), best="prompt"),
        worth_it(),
        with_rungs(without="model", best="prompt"),
    ),
    "latency_hard_constraint": (
        with_rungs(replace(RUNGS[3], latency_p95_ms=900.0), limits=Constraints(p95_ms=500.0)),
        with_rungs(replace(RUNGS[3], latency_p95_ms=400.0), limits=Constraints(p95_ms=500.0)),
        worth_it(),
    ),
}
"""Motivation to simulations in which it is shown, refuted and not measured."""


@pytest.mark.parametrize("name", MOTIVATED)
def test_a_motivation_must_be_measured(name: Any) -> None:
    shown, refuted, unknown = (replace(world, motivation=name) for world in MOTIVATED[name])
    assert status("reason", shown) == "pass" and outcome(shown) is FINE_TUNE
    assert status("reason", refuted) == "fail" and outcome(refuted) is DO_NOT
    assert status("reason", unknown) == "unknown" and outcome(unknown) is NOT_ENOUGH


def test_money_is_told_in_the_words_of_its_reason() -> None:
    def told(found: EconomicsResult) -> str:
        return next(result.detail for result in run_gates(worth_it(economics=found)) if result.gate == "economics")

    def because(status: Any, words: str) -> EconomicsResult:
        return replace(PAYS, status=status, why=words)

    assert told(because("unknown", "No answer is billed today.")) == "No answer is billed today."
    assert told(PAYS) == "Training breaks even in month 4 at 200,000 requests per month."
    assert told(because("never", "It pays at no volume.")) == (
        "Training does not break even within 12 months at 200,000 requests per month. It pays at no volume."
    )
    assert "on the device" in told(because("not_applicable", "The task must run on the device."))


def test_open_cases_are_told_with_their_number_and_what_n_can_show() -> None:
    found = {result.gate: result for result in run_gates(with_rungs(replace(RUNGS[3], **STRADDLING)))}
    needed = found["power"].evidence["n_needed"]
    assert 200 < needed < 2000 and f"{needed:,}" in found["power"].detail
    assert found["test_set"].evidence["detectable"] == pytest.approx(0.11, abs=0.02)
    assert "With 200 cases at alpha 0.008, the smallest detectable difference is" in found["test_set"].detail


TOOLS_WORDS = re.compile(r"\b(incumbent|headroom|floor|put to test|mend\w*)\b")


@pytest.mark.parametrize("name", [*TRIPPED, *LINES])
def test_reasons_are_in_plain_words_with_n_and_interval(name: str) -> None:
    evidence = TRIPPED[name] if name in TRIPPED else LINES[name][0]
    found = decide(evidence)
    for sentence in found.reasons:
        assert not TOOLS_WORDS.search(re.sub(r"`[^`]*`", "", sentence)), sentence
    assert 1 <= len(found.reasons) <= 3
    for score in re.findall(r"\d\d\.\d%(?! of)(?: \(|$)", " ".join(found.reasons)):
        assert score.endswith("(")


def test_a_verdict_is_plain_data() -> None:
    content = decide(worth_it()).to_dict()
    keys = {"outcome", "stage", "reason_code", "reasons", "target", "gates", "errors", "forecast", "economics"}
    assert keys | {"next_action", "valid_until"} <= set(content)
    assert {"class", "share", "ci95", "fixed_by"} <= set(content["errors"][0])


def test_a_score_that_leaves_out_what_could_not_be_scored_meets_no_target() -> None:
    assert decide(with_rungs(replace(MET, n=200, unscored=4), best="model")).reason_code == "target_met"
    found = decide(with_rungs(replace(MET, n=200, unscored=5), best="model"))
    assert (found.outcome, found.reason_code, found.target) == (NOT_ENOUGH, "gate_power", "unresolved")
    assert "5 of 200 test cases could not be scored" in found.reasons[0]


def test_a_missed_target_is_not_missed_for_sure_where_many_could_not_be_scored() -> None:
    assert decide(with_rungs(replace(RUNGS[3], n=200, unscored=20))).reason_code == "gate_power"
